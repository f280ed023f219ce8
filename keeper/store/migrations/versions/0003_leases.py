# SPDX-License-Identifier: Apache-2.0
"""The lease in a table of its own: who may send, with which fencing token, until when."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

marks = sa.table(
    "marks", sa.column("chain_id", sa.BigInteger), sa.column("name", sa.String), sa.column("value", sa.String)
)
leases = sa.table(
    "leases",
    sa.column("chain_id", sa.BigInteger),
    sa.column("holder", sa.String),
    sa.column("token", sa.BigInteger),
    sa.column("until_ms", sa.BigInteger),
)


def upgrade() -> None:
    """Create the table; tokens go on from where the old rows left them, so that none is given out twice."""
    op.create_table(
        "leases",
        sa.Column("chain_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=True),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("chain_id"),
    )
    connection = op.get_bind()
    tokens = connection.execute(sa.select(marks.c.chain_id, marks.c.value).where(marks.c.name == "lease:token"))
    for chain_id, token in tokens.all():
        connection.execute(leases.insert().values(chain_id=chain_id, holder=None, token=int(token), until_ms=0))
    connection.execute(marks.delete().where(marks.c.name.like("lease:%")))


def downgrade() -> None:
    """Put the tokens back where they were."""
    connection = op.get_bind()
    for chain_id, token in connection.execute(sa.select(leases.c.chain_id, leases.c.token)).all():
        connection.execute(marks.insert().values(chain_id=chain_id, name="lease:token", value=str(token)))
    op.drop_table("leases")
