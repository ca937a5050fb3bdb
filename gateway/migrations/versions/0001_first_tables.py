"""accounts, projects, documents, databases, conversations"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _own() -> list[sa.Column[object]]:
    """What every table has. Written out here, because a migration must not change when the code does."""
    return [
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _text(*names: str, null: bool = False) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(), nullable=null) for name in names]


def _time(*names: str, null: bool = True) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.DateTime(timezone=True), nullable=null) for name in names]


def _json(*names: str, null: bool = False) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.JSON(), nullable=null) for name in names]


def _of(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{table}.id"], ondelete="CASCADE")


def upgrade() -> None:
    op.create_table("accounts", *_own(), *_text("name"), sa.UniqueConstraint("name"))
    op.create_table(
        "users",
        *_own(),
        *_text("account_id", "name", "role"),
        *_time("suspended_at"),
        _of("accounts", "account_id"),
        sa.UniqueConstraint("account_id", "name"),
    )
    op.create_table(
        "api_keys",
        *_own(),
        *_text("user_id", "name", "prefix", "hash"),
        *_json("scopes"),
        *_text("project_id", null=True),
        *_time("expires_at", "revoked_at", "last_used_at"),
        _of("users", "user_id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "projects",
        *_own(),
        *_text("account_id", "name", "title", "icon", "colour"),
        _of("accounts", "account_id"),
        sa.UniqueConstraint("account_id", "name"),
    )
    _project_tables()
    _conversation_tables()
    for table, column in INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def _project_tables() -> None:
    numbers = [sa.Column(name, sa.Integer(), nullable=False) for name in ("bytes", "done", "total")]
    counts = [sa.Column(name, sa.Integer(), nullable=True) for name in ("pages", "chunks")]
    op.create_table(
        "documents",
        *_own(),
        *_text("project_id", "name", "media_type", "sha256", "state"),
        *_text("title", "error", null=True),
        *numbers,
        *counts,
        *_time("updated_at"),
        _of("projects", "project_id"),
        sa.UniqueConstraint("project_id", "name"),
    )
    op.create_table(
        "databases",
        *_own(),
        *_text("project_id", "name", "dialect"),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column("tables", sa.Integer(), nullable=False),
        _of("projects", "project_id"),
        sa.UniqueConstraint("project_id", "name"),
    )


def _conversation_tables() -> None:
    op.create_table(
        "conversations",
        *_own(),
        *_text("project_id", "user_id", "title", "agent"),
        *_time("updated_at", null=False),
        *_text("fingerprint", null=True),
        _of("projects", "project_id"),
        _of("users", "user_id"),
    )
    op.create_table(
        "messages",
        *_own(),
        *_text("conversation_id", "role", "content", "state", "agent", "trace_id"),
        *_text("generation_id", null=True),
        *_json("steps", "sources"),
        *_json("usage", "timings", "error", null=True),
        _of("conversations", "conversation_id"),
    )


INDEXES = (
    ("api_keys", "user_id"),
    ("documents", "project_id"),
    ("documents", "sha256"),
    ("databases", "project_id"),
    ("conversations", "project_id"),
    ("conversations", "fingerprint"),
    ("messages", "conversation_id"),
    ("messages", "state"),
)


def downgrade() -> None:
    tables = "messages conversations databases documents projects api_keys users accounts"
    for table in tables.split():
        op.drop_table(table)
