"""What can go wrong in this room.

RlhfError
 |- SettingsError      a setting that does not exist or makes no sense
 |- WorkerBusy         another worker has this folder
 |- JobNotFound        no job of this id
 '- CheckFailed        there are no models, or one is not what it was
"""


class RlhfError(Exception):
    """Base of the room."""


class SettingsError(RlhfError):
    """A setting that does not exist or makes no sense."""


class WorkerBusy(RlhfError):
    """Another worker has this folder."""


class JobNotFound(RlhfError):
    """No job of this id."""


class CheckFailed(RlhfError):
    """There are no models, or one is not what it was."""
