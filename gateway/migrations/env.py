"""Alembic's environment: runs on the connection that it is given (gateway/db/migrate.py)."""

from __future__ import annotations

from alembic import context

from gateway.accounts import store as accounts
from gateway.conversations import store as conversations
from gateway.databases import store as databases
from gateway.db.base import Base
from gateway.documents import store as documents
from gateway.feedback import store as feedback
from gateway.projects import store as projects

TABLES = (accounts, conversations, databases, documents, feedback, projects)
"""Imported for their tables."""

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite cannot alter most things in place; batch mode copies the table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
