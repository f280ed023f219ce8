# SPDX-License-Identifier: Apache-2.0
"""Expiries that have passed: the oracle rounds that settle them, who is paid out, and which slots are free after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keeper.actions import RetireInstrument, SettleMany
from keeper.chain.rounds import Feed, round_at
from keeper.domain import ContractCall, Listing, Snapshot, Unknown
from keeper.errors import KeeperError
from keeper.ledger import AccountBook
from keeper.ports import Chain
from risk.errors import BadInput
from risk.onchain_words import AccountState, instrument_id, parse_words

ORACLE = "PriceOracle"
UNDERLYING = 0
MAX_ACCOUNTS = 32  # of one settle_many
MAX_SETTLED = 64  # positions of one settle_many, so that it fits into a block
Expiry = tuple[int, int]
Rounds = tuple[int, int]


def listings(snapshot: Snapshot) -> dict[int, Listing]:
    """Listed instruments of every kind that could be read, by id."""
    kinds = (snapshot.options, snapshot.delta_ones)
    return {i: item for kind in kinds if not isinstance(kind, Unknown) for i, item in kind.items()}


def open_expiries(snapshot: Snapshot) -> tuple[Expiry, ...]:
    """(underlying, expiry) of listed instruments that have expired and are not settled, oldest first."""
    now = snapshot.block.timestamp
    found = {
        (item.underlying, item.expiry)
        for item in listings(snapshot).values()
        if 0 < item.expiry <= now and not item.settlement_wad
    }
    return tuple(sorted(found, key=lambda item: (item[1], item[0])))


def find_rounds(chain: Chain, snapshot: Snapshot) -> Mapping[Expiry, Rounds | Unknown]:
    """The two round ids that settle each open expiry, as the oracle itself accepts them at the block, or why not."""
    found: dict[Expiry, Rounds | Unknown] = {}
    feeds: dict[int, Feed] = {}  # what one expiry's search has read serves the next one's
    for underlying, expiry in open_expiries(snapshot):
        try:
            if underlying not in feeds:
                config = chain.call(ContractCall(ORACLE, "feed_of", (UNDERLYING, underlying)), snapshot.block)[0]
                feeds[underlying] = Feed(chain, config[0], snapshot.block)
            proof = round_at(feeds[underlying], expiry)
            numbers = (proof.current.number, proof.following.number)
            chain.call(ContractCall(ORACLE, "price_at", (underlying, *numbers, expiry)), snapshot.block)
            found[underlying, expiry] = numbers
        except KeeperError as error:
            found[underlying, expiry] = Unknown(str(error), expiry)
    return found


def settlements(snapshot: Snapshot) -> tuple[SettleMany, ...]:
    """Accounts that still hold something of a settled expiry, many to a transaction."""
    settled = {i for i, item in listings(snapshot).items() if item.settlement_wad}
    holders: dict[int, list[tuple[int, int, int]]] = {}  # (account, nonce, positions) by underlying
    for account in _holding(snapshot, settled):
        state = _state(snapshot.accounts[account])
        if state is None:
            continue
        due = [instrument >> 8 for instrument in held(state) if instrument in settled]
        for underlying in sorted(set(due)):
            holders.setdefault(underlying, []).append((account, state.nonce, due.count(underlying)))
    return tuple(
        SettleMany(underlying, batch) for underlying, found in sorted(holders.items()) for batch in _batches(found)
    )


def _batches(holders: list[tuple[int, int, int]]) -> list[tuple[tuple[int, int], ...]]:
    batches: list[list[tuple[int, int]]] = []
    room = 0
    for account, nonce, positions in holders:
        if not batches or positions > room or len(batches[-1]) == MAX_ACCOUNTS:
            batches.append([])
            room = MAX_SETTLED
        batches[-1].append((account, nonce))
        room -= positions
    return [tuple(batch) for batch in batches]


def retirements(snapshot: Snapshot, limit: int) -> tuple[RetireInstrument, ...]:
    """Settled instruments that no account holds, at most ``limit``; none while an account cannot be read.

    Both sides must be gone: an instrument of which one is left would lose what it is settled by.
    """
    settled = [item for item in listings(snapshot).values() if item.settlement_wad]
    if not settled:
        return ()
    if isinstance(snapshot.accounts, AccountBook) and snapshot.accounts.unknown:
        return ()
    taken: set[int] = set()
    for account in _holding(snapshot, {item.instrument for item in settled}):
        state = _state(snapshot.accounts[account])
        if state is None:
            return ()
        taken.update(held(state))
    free = sorted((item.instrument, item.serial) for item in settled if item.instrument not in taken)
    return tuple(RetireInstrument(instrument, serial) for instrument, serial in free[:limit])


def _holding(snapshot: Snapshot, instruments: set[int]) -> Sequence[int]:
    """Accounts that may hold one of the instruments, ascending: of a book that the ledger keeps, those that do."""
    if not instruments:
        return ()
    if isinstance(snapshot.accounts, AccountBook):
        return snapshot.accounts.holding(instruments)
    return sorted(snapshot.accounts)


def _state(words: Sequence[int] | Unknown) -> AccountState | None:
    """The account, None where it could not be read."""
    if isinstance(words, Unknown):
        return None
    try:
        return parse_words(words)
    except BadInput:
        return None


def held(state: AccountState) -> list[int]:
    """Instruments that an account has."""
    options = [instrument_id(u, position.slot) for u, positions in state.options.items() for position in positions]
    return [*state.delta_ones, *options]
