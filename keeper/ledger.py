# SPDX-License-Identifier: Apache-2.0
"""Every account as it was last read, and as it stands at a later block as long as no event has touched it.

Between two changes only interest and the use of deposit caps move an account's words, and both follow from numbers that
are read once for all (``risk.onchain_cash``): so a book of any size is read once and then by what changed. Beside the
words the ledger keeps the accounts as arrays, for judging all of them at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keeper.domain import Unknown
from risk.onchain_cash import WAD, Indices, carried_words, scaled_cash
from risk.onchain_words import HEAD_BITS, PERPETUAL, signed
from risk.packed import Layout, Packed, join, pack_accounts

MOST_LOOSE = 256  # changed accounts that are packed anew in every cycle before they join the rest


class Held(NamedTuple):
    """Words of an account and the interest indices of the block they were read at."""

    words: tuple[int, ...]
    then: Indices


class Part(NamedTuple):
    """Rows of the book, (A,) each: account numbers, indices of cash as it was read, arrays, and which rows count."""

    numbers: NDArray[np.int64]
    then: NDArray[np.float64]
    packed: Packed
    live: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class AccountBook(Mapping[int, "tuple[int, ...] | Unknown"]):
    """Accounts at one block, in order of their numbers: what ``Snapshot.accounts`` is when nobody read them all again.

    ``now`` are the indices of the block, ``use_bps`` the use of deposit caps. ``parts`` are the same accounts as
    arrays, but for the unknown; ``fresh`` are accounts to which something has happened since the last block.
    """

    held: Mapping[int, Held]
    unknown: Mapping[int, Unknown]
    now: Indices
    use_bps: Mapping[int, int]
    parts: tuple[Part, ...]
    linked: Mapping[int, int]
    timestamp: int
    fresh: frozenset[int] = frozenset()

    def __getitem__(self, account: int) -> tuple[int, ...] | Unknown:
        """Words of an account at the block."""
        if account in self.unknown:
            return self.unknown[account]
        words, then = self.held[account]
        found = carried_words(words, then, self.now, self.use_bps)
        return found or Unknown("its cash must be read again after a loss of lenders", self.timestamp)

    def __iter__(self) -> Iterator[int]:
        """Account numbers, ascending."""
        return iter(sorted({*self.held, *self.unknown}) if self.unknown else sorted(self.held))

    def __len__(self) -> int:
        """Accounts, the unknown too."""
        return len(self.held) + sum(account not in self.held for account in self.unknown)

    def __contains__(self, account: object) -> bool:
        """Whether the account exists."""
        return account in self.held or account in self.unknown

    def positions(self) -> Iterator[tuple[NDArray[np.int64], Packed]]:
        """(account numbers, arrays at the block) of each part, rows that do not count included."""
        for part in self.parts:
            yield part.numbers, self.present(part)

    def present(self, part: Part) -> Packed:
        """Arrays of a part with cash and the use of caps of the block."""
        book = part.packed.book
        index = np.where(book.cash >= 0.0, self.now.supply_wad / WAD, self.now.borrow_wad / WAD)
        use = book.collateral_use.copy()
        for asset, bps in self.use_bps.items():
            if asset < use.shape[1]:
                use[:, asset] = bps / 10_000
        return Packed(replace(book, cash=book.cash * (index / part.then), collateral_use=use), part.packed.odd)

    def holding(self, instruments: Collection[int]) -> list[int]:
        """Accounts that may hold one of the instruments, ascending; the unknown are not among them."""
        found: set[int] = set()
        for part in self.parts:
            mine = part.packed.odd.copy()
            for instrument in instruments:
                u, slot = divmod(instrument, 256)
                if u >= len(part.packed.book.options):
                    continue
                if slot > PERPETUAL - len(HEAD_BITS):
                    mine |= part.packed.book.units[:, u, PERPETUAL - slot] != 0.0
                else:
                    mine[part.packed.book.options[u][:, [slot]].nonzero()[0]] = True
            found.update(part.numbers[mine & part.live].tolist())
        return sorted(found)


@dataclass(slots=True)
class Ledger:
    """The keeper's copy of all accounts; not safe between threads.

    ``vague`` are accounts that must be read in every cycle: what they show does not tell what is stored.
    """

    held: dict[int, Held] = field(default_factory=dict)
    unknown: dict[int, Unknown] = field(default_factory=dict)
    vague: set[int] = field(default_factory=set)
    _layout: Layout | None = None
    _main: Part | None = None
    _loose: set[int] = field(default_factory=set)
    _lent: bool = False

    def put(self, accounts: Mapping[int, tuple[int, ...] | Unknown], then: Indices) -> list[int]:
        """Take accounts as they were read at the block of ``then``; returns those whose words are others than before.

        Interest and the use of caps are no difference.
        """
        if self._lent:  # a snapshot still looks at it
            self.held, self.unknown, self._lent = dict(self.held), dict(self.unknown), False
        changed = []
        for account, words in accounts.items():
            if isinstance(words, Unknown):
                self.unknown[account] = words
                changed.append(account)
                continue
            self.unknown.pop(account, None)
            before = self.held.get(account)
            self.held[account] = Held(words, then)
            (self.vague.add if scaled_cash(signed(words[1], 256), then) is None else self.vague.discard)(account)
            if before is None or not same_account(before, words, then):
                changed.append(account)
                self._loose.add(account)
        return changed

    @property
    def size(self) -> int:
        """Accounts that were seen, the unknown too."""
        return len(self.held) + sum(account not in self.held for account in self.unknown)

    @property
    def doubtful(self) -> set[int]:
        """Accounts to read in every block."""
        return {*self.unknown, *self.vague}

    def has(self, account: int) -> bool:
        """Whether the account was seen."""
        return account in self.held or account in self.unknown

    def drop_from(self, count: int) -> None:
        """Forget accounts from this number on: a fork has undone them."""
        gone = {account for account in (*self.held, *self.unknown) if account >= count} if self.size >= count else set()
        if not gone:
            return
        self.held = {account: item for account, item in self.held.items() if account not in gone}
        self.unknown = {account: item for account, item in self.unknown.items() if account not in gone}
        self.vague -= gone
        self._lent, self._main, self._loose = False, None, set(self.held)

    def forget(self) -> None:
        """Know nothing any more: every account must be read again."""
        self.held, self.unknown, self.vague, self._lent = {}, {}, set(), False
        self._main, self._loose = None, set()

    def book(
        self, now: Indices, use_bps: Mapping[int, int], underlyings: int, collaterals: int, at: int
    ) -> AccountBook:
        """The accounts at a block; ``at`` its time (unix s). What changed later does not show in it."""
        if self._layout is None or (self._layout.underlyings, self._layout.collaterals) != (underlyings, collaterals):
            self._layout, self._main, self._loose = Layout(underlyings, collaterals), None, set(self.held)
        if len(self._loose) > MOST_LOOSE:
            self.tidy()
        self._lent = True
        parts = [] if self._main is None else [self._main._replace(live=~_among(self._main.numbers, self._loose))]
        if self._loose:
            parts.append(self._pack(self._layout))
        known = (part._replace(live=part.live & ~_among(part.numbers, self.unknown)) for part in parts)
        return AccountBook(self.held, self.unknown, now, use_bps, tuple(known), self._layout.linked, at)

    def tidy(self) -> None:
        """Bring changed accounts among the rest, so that they need not be packed in each cycle."""
        if not self._loose or self._layout is None:
            return
        parts = [self._pack(self._layout)]
        if self._main is not None:
            parts.append(_rows(self._main, np.flatnonzero(~_among(self._main.numbers, self._loose))))
        self._main, self._loose = _joined(parts), set()

    def _pack(self, layout: Layout) -> Part:
        accounts = sorted(self._loose)
        held = [self.held[account] for account in accounts]
        packed = pack_accounts([item.words for item in held], layout)
        then = np.array([_index(item) for item in held], dtype=np.float64)
        return Part(np.array(accounts, dtype=np.int64), then, packed, np.ones(len(accounts), dtype=bool))


def _among(numbers: NDArray[np.int64], accounts: Collection[int]) -> NDArray[np.bool_]:
    return np.isin(numbers, np.fromiter(accounts, dtype=np.int64, count=len(accounts)))


def _rows(part: Part, rows: NDArray[np.int64]) -> Part:
    return Part(part.numbers[rows], part.then[rows], part.packed.take(rows), part.live[rows])


def same_account(before: Held, words: tuple[int, ...], then: Indices) -> bool:
    """Whether an account is as it was, but for interest and the use of caps."""
    carried = carried_words(before.words, before.then, then, _uses(words))
    # the nonce in the head rises with every change
    return before.words[0] == words[0] if carried is None else carried == words


def _uses(words: tuple[int, ...]) -> dict[int, int]:
    """Use of caps by asset as the words say."""
    assets = [asset for asset in range(16) if words[0] >> (144 + asset) & 1]
    return {asset: word >> 128 & 0xFFFF for asset, word in zip(assets, words[2:], strict=False)}


def _index(held: Held) -> float:
    return (held.then.supply_wad if signed(held.words[1], 256) >= 0 else held.then.borrow_wad) / WAD


def _joined(parts: Sequence[Part]) -> Part:
    """One part of several, rows in the order of the accounts."""
    numbers, then, live = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("numbers", "then", "live")
    )
    whole = Part(numbers, then, join(part.packed for part in parts), live)
    return _rows(whole, np.argsort(numbers, kind="stable"))
