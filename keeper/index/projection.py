# SPDX-License-Identifier: Apache-2.0
"""Which accounts exist and when each last changed, out of events; and what must be undone after a fork.

The rows are a function of the stored events alone, so a rewind deletes events and projects the rest again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from keeper.domain import Event
from keeper.store.models import AccountRow, BlockRow, CursorRow, EventRow

OPENED, CLOSED = "AccountOpened", "AccountClosed"
MOST_AT_ONCE = 500  # numbers in one statement
NOBODY = "0x" + "00" * 20
_COLUMNS = (
    AccountRow.chain_id,
    AccountRow.account,
    AccountRow.owner,
    AccountRow.opened_block,
    AccountRow.changed_block,
)
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


def touched(contract: str, name: str, args: Mapping[str, Any]) -> list[int]:
    """Accounts whose state an event says has changed."""
    return [int(args[field]) for field in ACCOUNT_FIELDS.get(contract, {}).get(name, ())]


def opened(contract: str, name: str, args: Mapping[str, Any]) -> list[int]:
    """Account that an event opens."""
    return [int(args["account"])] if (contract, name) == ("MarginAccounts", OPENED) else []


def store_events(session: Session, chain_id: int, events: Sequence[Event]) -> int:
    """Write events and what they mean for accounts; returns how many."""
    rows: list[dict[str, Any]] = [
        {
            "chain_id": chain_id,
            "block_number": event.block_number,
            "log_index": event.log_index,
            "block_hash": event.block_hash,
            "tx_hash": event.tx_hash,
            "contract": event.contract,
            "name": event.name,
            "args": {name: storable(value) for name, value in event.args.items()},
        }
        for event in events
    ]
    if rows:
        session.execute(insert(EventRow), rows)
        project(session, chain_id, (_Seen(r["contract"], r["name"], r["args"], r["block_number"]) for r in rows))
    return len(rows)


class _Seen(NamedTuple):
    """What a projection needs of an event."""

    contract: str
    name: str
    args: dict[str, Any]
    block: int


def project(session: Session, chain_id: int, events: Iterable[_Seen]) -> None:
    """Bring the rows of accounts up to date with events, which come in order; reads and writes each row once."""
    seen = list(events)
    named = {a for e in seen for a in (*touched(e.contract, e.name, e.args), *opened(e.contract, e.name, e.args))}
    rows = _account_rows(session, chain_id, named)
    for event in seen:
        for account in opened(event.contract, event.name, event.args):
            rows[account] = {
                "chain_id": chain_id,
                "account": account,
                "owner": event.args["owner"],
                "opened_block": event.block,
                "changed_block": event.block,
            }
        for account in touched(event.contract, event.name, event.args):
            known = rows.get(account)
            if known is not None:  # account 0, the protocol's own, is never opened
                known["changed_block"] = max(known["changed_block"], event.block)
                known["owner"] = NOBODY if event.name == CLOSED else known["owner"]
    if not rows:
        return
    for some in _shares(sorted(rows)):
        session.execute(delete(AccountRow).where(AccountRow.chain_id == chain_id, AccountRow.account.in_(some)))
    session.execute(insert(AccountRow), list(rows.values()))


def _account_rows(session: Session, chain_id: int, accounts: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Rows of accounts that exist, by number."""
    found: dict[int, dict[str, Any]] = {}
    for some in _shares(sorted(accounts)):
        query = select(*_COLUMNS).where(AccountRow.chain_id == chain_id, AccountRow.account.in_(some))
        found.update((row["account"], dict(row)) for row in session.execute(query).mappings())
    return found


def _shares(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Parts of a list that fit one statement."""
    for k in range(0, len(numbers), MOST_AT_ONCE):
        yield numbers[k : k + MOST_AT_ONCE]


def rewind(session: Session, chain_id: int, number: int) -> None:
    """Forget every event and block above ``number`` and project the accounts again."""
    for table, column in ((EventRow, EventRow.block_number), (BlockRow, BlockRow.number)):
        session.execute(delete(table).where(table.chain_id == chain_id, column > number))
    rebuild(session, chain_id)


def rebuild(session: Session, chain_id: int) -> None:
    """Project the accounts from the stored events."""
    session.execute(delete(AccountRow).where(AccountRow.chain_id == chain_id))
    session.expire_all()
    order = (EventRow.block_number, EventRow.log_index)
    query = select(EventRow.contract, EventRow.name, EventRow.args, EventRow.block_number)
    rows = session.execute(query.where(EventRow.chain_id == chain_id).order_by(*order))
    project(session, chain_id, (_Seen(*row) for row in rows))


def undone(session: Session, chain_id: int, number: int) -> set[int]:
    """Accounts that stored events above a block opened or changed."""
    query = select(EventRow.contract, EventRow.name, EventRow.args)
    rows = session.execute(query.where(EventRow.chain_id == chain_id, EventRow.block_number > number)).all()
    return {a for contract, name, args in rows for a in (*touched(contract, name, args), *opened(contract, name, args))}


def forget(session: Session, chain_id: int) -> None:
    """Forget all that was read of a chain."""
    for table in (EventRow, BlockRow, AccountRow, CursorRow):
        session.execute(delete(table).where(table.chain_id == chain_id))
