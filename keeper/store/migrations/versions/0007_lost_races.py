# SPDX-License-Identifier: Apache-2.0
"""Transactions that reverted only because somebody else was first."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; what reverted so far counts as a failure, as it did."""
    op.add_column("transactions", sa.Column("lost", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("transactions", "lost")
