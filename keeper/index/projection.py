# SPDX-License-Identifier: Apache-2.0
"""Which accounts exist and when each last changed, out of events; and what must be undone after a fork.

The rows are a function of the stored events alone, so a rewind deletes events and projects the rest again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from keeper.domain import Event
from keeper.store.models import AccountRow, BlockRow, CursorRow, EventRow

OPENED, CLOSED = "AccountOpened", "AccountClosed"
NOBODY = "0x" + "00" * 20
ACCOUNT_FIELDS = {
    "MarginAccounts": {
        "CollateralDeposited": ("account",),
        "CollateralWithdrawn": ("account",),
        "CashDeposited": ("account",),
        "CashWithdrawn": ("account",),
        "Filled": ("buyer", "seller"),
        "DeltaSettled": ("account",),
        "OptionSettled": ("account",),
        "Transferred": ("from_account", "to_account"),
        "Seized": ("account", "bidder"),
        "LegSeized": ("account", "bidder"),
        "RewardPaid": ("account", "to_account"),
        "AccountClosed": ("account",),
    },
    "LiquidationAuction": {
        "AuctionStarted": ("account",),
        "BidMade": ("account", "bidder_account"),
        "LegsTaken": ("account", "bidder_account"),
        "AuctionPhaseChanged": ("account",),
        "AuctionEnded": ("account",),
    },
}


def storable(value: Any) -> Any:
    """Turn an event's value into JSON without loss: integers beyond 53 bits and bytes become text."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


def touched(contract: str, name: str, args: dict[str, Any]) -> list[int]:
    """Accounts whose state an event says has changed."""
    return [int(args[field]) for field in ACCOUNT_FIELDS.get(contract, {}).get(name, ())]


def store_events(session: Session, chain_id: int, events: Iterable[Event]) -> int:
    """Write events and what they mean for accounts; returns how many."""
    count = 0
    for event in events:
        row = EventRow(
            chain_id=chain_id,
            block_number=event.block_number,
            log_index=event.log_index,
            block_hash=event.block_hash,
            tx_hash=event.tx_hash,
            contract=event.contract,
            name=event.name,
            args={name: storable(value) for name, value in event.args.items()},
        )
        session.add(row)
        _project(session, row)
        count += 1
    return count


def _project(session: Session, row: EventRow) -> None:
    if row.contract == "MarginAccounts" and row.name == OPENED:
        session.merge(
            AccountRow(
                chain_id=row.chain_id,
                account=int(row.args["account"]),
                owner=row.args["owner"],
                opened_block=row.block_number,
                changed_block=row.block_number,
            )
        )
        return
    for account in touched(row.contract, row.name, row.args):
        known = session.get(AccountRow, (row.chain_id, account))
        if known is not None:  # account 0, the protocol's own, is never opened
            known.changed_block = max(known.changed_block, row.block_number)
            known.owner = NOBODY if row.name == CLOSED else known.owner


def rewind(session: Session, chain_id: int, number: int) -> None:
    """Forget every event and block above ``number`` and project the accounts again."""
    for table, column in ((EventRow, EventRow.block_number), (BlockRow, BlockRow.number)):
        session.execute(delete(table).where(table.chain_id == chain_id, column > number))
    rebuild(session, chain_id)


def rebuild(session: Session, chain_id: int) -> None:
    """Project the accounts from the stored events."""
    session.execute(delete(AccountRow).where(AccountRow.chain_id == chain_id))
    session.expire_all()
    rows = session.scalars(
        select(EventRow).where(EventRow.chain_id == chain_id).order_by(EventRow.block_number, EventRow.log_index)
    )
    for row in rows.all():
        _project(session, row)


def forget(session: Session, chain_id: int) -> None:
    """Forget all that was read of a chain."""
    for table in (EventRow, BlockRow, AccountRow, CursorRow):
        session.execute(delete(table).where(table.chain_id == chain_id))
