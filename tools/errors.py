"""What can go wrong in this room, and what to do about it.

    ToolsError
    ├── SettingsError           the environment is incomplete or contradicts itself
    ├── OwnedElsewhere          another process holds the data folder
    ├── NotPermitted            the caller's scopes do not reach this tool
    ├── DocumentError
    │   ├── UnreadableDocument  broken, protected, empty, too large, of an unknown kind
    │   └── UnknownDocument     no such document in this project
    ├── StorageError            the disk is full or refuses to write
    ├── EmbeddingsUnavailable   llm_server gave no vectors; the caller may go on without
    ├── GatewayError
    │   ├── GatewayUnavailable  the gateway does not answer
    │   └── GatewayRefused      the gateway refused, its text says why
    └── DatabaseError
        ├── UnknownDatabase     no such name in this project, or an address that cannot be used
        ├── QueryRefused        the statement is not one that may run here
        ├── QueryFailed         the engine refused it, the text says what to change
        └── QueryStopped        it ran out of time

Every text names the value and the remedy, because a model reads it and has to choose its next step.
"""


class ToolsError(Exception):
    """Base of the room; the edge hands its text to the caller as an MCP `ToolError`."""


class SettingsError(ToolsError):
    """The environment is incomplete or contradicts itself."""


class OwnedElsewhere(ToolsError):
    """Another process holds the data folder; two writers would corrupt the indexes."""


class NotPermitted(ToolsError):
    """The caller's scopes do not reach this tool."""


class DocumentError(ToolsError):
    """Base of what concerns one document."""


class UnreadableDocument(DocumentError):
    """The content cannot be turned into text; nothing of it was stored."""


class UnknownDocument(DocumentError):
    """No such document in this project."""


class StorageError(ToolsError):
    """The disk is full or refuses to write; what was there before is untouched."""


class EmbeddingsUnavailable(ToolsError):
    """No vectors could be had from the embeddings service."""


class GatewayError(ToolsError):
    """Base of what goes wrong where a tool acts through the gateway."""


class GatewayUnavailable(GatewayError):
    """The gateway does not answer; the same call may succeed later."""


class GatewayRefused(GatewayError):
    """The gateway refused; its text says what to change."""


class DatabaseError(ToolsError):
    """Base of what concerns a project's own database."""


class UnknownDatabase(DatabaseError):
    """No such name in this project, or an address that cannot be used."""


class QueryRefused(DatabaseError):
    """The statement is not one that may run here; it was not sent to the database."""


class QueryFailed(DatabaseError):
    """The database refused the statement."""


class QueryStopped(DatabaseError):
    """The statement ran out of time and was stopped."""
