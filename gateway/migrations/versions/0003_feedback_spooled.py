"""feedback remembers whether its scores are on their way"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("spooled_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_feedback_spooled_at", "feedback", ["spooled_at"])
    # What was given before was sent before.
    op.execute("UPDATE feedback SET spooled_at = updated_at")


def downgrade() -> None:
    op.drop_index("ix_feedback_spooled_at", "feedback")
    op.drop_column("feedback", "spooled_at")
