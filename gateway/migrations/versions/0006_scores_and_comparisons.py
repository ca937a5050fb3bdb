"""scores wait in a table of their own; two answers to one question of a chat"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from gateway.ids import new_id

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KINDS = {"thumb": "BOOLEAN", "stars": "NUMERIC", "comment": "TEXT", "correction": "CORRECTION"}
WAITING = sa.text(
    "SELECT f.id, f.thumb, f.stars, f.comment, f.correction, m.trace_id, m.generation_id, m.id AS message "
    "FROM feedback f JOIN messages m ON m.id = f.message_id WHERE f.spooled_at IS NULL ORDER BY f.updated_at"
)


def upgrade() -> None:
    changes = op.create_table(
        "score_changes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("scores", sa.JSON(), nullable=False),
        sa.Column("gone", sa.JSON(), nullable=False),
    )
    for row in op.get_bind().execute(WAITING).mappings().all():
        scores = [_score(dict(row), name) for name in KINDS if row[name]]
        kept = {"id": new_id(), "created_at": datetime.now(UTC), "scores": scores, "gone": []}
        op.get_bind().execute(sa.insert(changes), kept)
    op.drop_index("ix_feedback_spooled_at", "feedback")
    op.drop_column("feedback", "spooled_at")
    op.create_table(
        "comparisons",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("task", sa.JSON(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.Column("choice", sa.String(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], ondelete="CASCADE"),
    )
    op.create_index("ix_comparisons_message_id", "comparisons", ["message_id"])


def downgrade() -> None:
    op.drop_table("comparisons")
    op.add_column("feedback", sa.Column("spooled_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_feedback_spooled_at", "feedback", ["spooled_at"])
    op.drop_table("score_changes")


def _score(row: dict[str, object], name: str) -> dict[str, object]:
    """As the gateway makes them."""
    said = "thumbs" if name == "thumb" else name
    span = row["generation_id"]
    about = {"observationId": span} if isinstance(span, str) and len(span) == 16 else {}
    value = int(row[name] == "up") if name == "thumb" else row[name]
    whose = {"traceId": row["trace_id"], **about, "metadata": {"message_id": row["message"]}}
    return {**whose, "id": f"{row['id']}-{said}", "name": said, "dataType": KINDS[name], "value": value}
