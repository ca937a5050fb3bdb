"""stars for each answer of a judged pair"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = ("left_stars", "right_stars")


def upgrade() -> None:
    for name in COLUMNS:
        op.add_column("annotation_judgements", sa.Column(name, sa.Integer(), nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("annotation_judgements", name)
