# SPDX-License-Identifier: Apache-2.0
"""What the publisher built but did not send, what a person approved, and what a publisher's key has signed."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Epochs and pushes get a row for each content; kept rows stay, as sent ones."""
    _rebuild("epochs", _epochs(more=True), {"verdict": "sent"})
    _rebuild("pushes", _pushes(more=True), {"digest": bytes(32)})
    op.create_table(
        "approvals",
        _key("chain_id", sa.BigInteger()),
        _key("digest", sa.LargeBinary(32)),
        sa.Column("what", sa.String(128), nullable=False),
        sa.Column("accounts", sa.JSON(), nullable=False),
        sa.Column("approved_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "commitments",
        _key("chain_id", sa.BigInteger()),
        _key("contract", sa.String(42)),
        _key("signer", sa.String(42)),
        _key("underlying", sa.Integer()),
        _key("epoch", sa.BigInteger()),
        sa.Column("content_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("observed_at", sa.BigInteger(), nullable=False),
        sa.Column("dead_at", sa.BigInteger(), nullable=False),
        sa.Column("requester", sa.String(42), nullable=False),
        sa.Column("signed_at", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Keep one content of each number, the one that was sent where there is; what was never to be sent is left out."""
    op.drop_table("commitments")
    op.drop_table("approvals")
    _rebuild("epochs", _epochs(more=False), {}, left_out=("shadow", "refused", "waiting"))
    _rebuild("pushes", _pushes(more=False), {}, left_out=("shadow", "refused", "waiting"))


def _key(name: str, kind: sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False)


def _epochs(*, more: bool) -> list[sa.Column[Any]]:
    hashed: sa.Column[Any] = (
        _key("content_hash", sa.LargeBinary(32))
        if more
        else sa.Column("content_hash", sa.LargeBinary(32), nullable=False)
    )
    columns: list[sa.Column[Any]] = [
        _key("chain_id", sa.BigInteger()),
        _key("underlying", sa.Integer()),
        _key("epoch", sa.BigInteger()),
        hashed,
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
    ]
    return [*columns, *([sa.Column("verdict", sa.String(16), nullable=False)] if more else [])]


def _pushes(*, more: bool) -> list[sa.Column[Any]]:
    return [
        _key("chain_id", sa.BigInteger()),
        _key("nonce", sa.BigInteger()),
        *([_key("digest", sa.LargeBinary(32))] if more else []),
        sa.Column("built_at", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
    ]


def _rebuild(
    name: str, columns: Sequence[sa.Column[Any]], added: dict[str, object], left_out: tuple[str, ...] = ()
) -> None:
    """Make the table anew with another key and carry its rows over; of two of one key that which was sent, or later."""
    connection = op.get_bind()
    old = sa.Table(name, sa.MetaData(), autoload_with=connection)
    query = sa.select(old).order_by(old.c.built_at)
    rows = [dict(row) | added for row in connection.execute(query).mappings()]
    op.drop_table(name)
    new = op.create_table(name, *columns)
    keys = [column.name for column in new.primary_key.columns]
    names = [column.name for column in new.columns]
    kept: dict[tuple[object, ...], dict[str, object]] = {}
    for row in sorted(rows, key=lambda row: row.get("verdict") == "sent"):
        if row.get("verdict") not in left_out:
            kept[tuple(row[key] for key in keys)] = {column: row[column] for column in names}
    if kept:
        connection.execute(sa.insert(new), list(kept.values()))
