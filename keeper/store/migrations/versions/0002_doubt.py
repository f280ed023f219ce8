# SPDX-License-Identifier: Apache-2.0
"""Doubt of an assessment: by how much old data may understate an account's equity."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; rows of before have none, and the next cycle replaces them."""
    op.add_column("assessments", sa.Column("doubt", sa.String(80), nullable=True))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("assessments", "doubt")
