# SPDX-License-Identifier: Apache-2.0
"""Budgets and withdrawals of intents, who signed a transaction, and intents by block."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; the signer of a transaction so far is that of its intent."""
    op.add_column("intents", sa.Column("gas_budget_wei", sa.String(length=80), nullable=True))
    op.add_column("intents", sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index("ix_intents_block", "intents", ["chain_id", "sender", "block_number"])
    op.add_column("transactions", sa.Column("sender", sa.String(length=42), nullable=True))
    op.execute("UPDATE transactions SET sender = (SELECT i.sender FROM intents i WHERE i.id = transactions.intent_id)")


def downgrade() -> None:
    """Drop what was added."""
    op.drop_column("transactions", "sender")
    op.drop_index("ix_intents_block", table_name="intents")
    op.drop_column("intents", "withdrawn")
    op.drop_column("intents", "gas_budget_wei")
