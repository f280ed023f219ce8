# SPDX-License-Identifier: Apache-2.0
"""Judgement of a large book: floats say who certainly holds margin, the integer twin judges whoever is asked about.

To its readers this is a mapping from account to the twin's result, like any other: what is looked up is exact, computed
when it is looked up. Only the questions about all accounts at once are answered from the screen (``risk.screen``), and
even these ask the twin wherever the screen leaves a sign open.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keeper.domain import Unknown
from keeper.ledger import AccountBook
from risk.errors import RiskError
from risk.onchain import Assessment, ChainMarket, assess_words
from risk.screen import Screened, screen

BPS = 10_000
WAD = 10**18
SCREEN_FIELDS = ("equity_mark", "equity_im", "equity_mm", "im", "mm", "doubt", "flags")
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def judge(words: Sequence[int] | Unknown, market: ChainMarket, now: int) -> Assessment | Unknown:
    """Assess one account with the integer twin; ``now`` is the block's time (unix s)."""
    if isinstance(words, Unknown):
        return words
    try:
        return assess_words(words, market)
    except KeyError as error:
        return Unknown(f"the snapshot lacks input {error} of the account", now)
    except RiskError as error:
        return Unknown(str(error), now)


class Judged(Mapping[int, "Assessment | Unknown"]):
    """Assessments of all accounts of a book under one market.

    ``numbers`` (A,) are the accounts that were screened, ``health``, ``error`` and ``doubt`` (A,) what the screen says,
    USD; ``sound``, ``below``, ``startable`` (A,) what it says for certain; ``least`` (A,) the lowest a health may be.
    """

    def __init__(self, accounts: AccountBook, market: ChainMarket, screened: Sequence[Screened]) -> None:
        self._accounts = accounts
        self._market = market
        self._exact: dict[int, Assessment | Unknown] = {}
        live = [part.live for part in accounts.parts]
        self.numbers: IntArray = np.concatenate(
            [part.numbers[kept] for part, kept in zip(accounts.parts, live, strict=True)]
        )

        def taken(name: str) -> NDArray[Any]:
            return np.concatenate([getattr(item, name)[kept] for item, kept in zip(screened, live, strict=True)])

        self.health, self.error, self.doubt = taken("health"), taken("error"), taken("doubt")
        self.sound, self.below, self.startable = (taken(name).astype(bool) for name in ("sound", "below", "startable"))
        self.least = np.where(np.isfinite(self.error), self.health - self.error, -np.inf)
        self._results = [(item.result, kept) for item, kept in zip(screened, live, strict=True)]

    @classmethod
    def of(cls, accounts: AccountBook, market: ChainMarket) -> Judged | None:
        """Judge a book; None where floats cannot say the market, so that the twin must judge everybody."""
        threads, found = os.cpu_count() or 1, []
        for _, packed in accounts.positions():
            screened = screen(packed, market, accounts.linked, threads=threads)
            if screened is None:
                return None
            found.append(screened)
        return cls(accounts, market, found) if found else None

    def __getitem__(self, account: int) -> Assessment | Unknown:
        """The twin's result for an account, or why there is none."""
        if account not in self._exact:
            self._exact[account] = judge(self._accounts[account], self._market, self._accounts.timestamp)
        return self._exact[account]

    def __iter__(self) -> Iterator[int]:
        """Account numbers, ascending."""
        return iter(self._accounts)

    def __len__(self) -> int:
        """Accounts, the unknown too."""
        return len(self._accounts)

    def __contains__(self, account: object) -> bool:
        """Whether the account exists."""
        return account in self._accounts

    @property
    def fresh(self) -> frozenset[int]:
        """Accounts that were read in this cycle because something happened to them."""
        return self._accounts.fresh

    @property
    def market(self) -> ChainMarket:
        """What the accounts were judged by."""
        return self._market

    def under(self, market: ChainMarket) -> Judged | None:
        """The same accounts under another market."""
        return Judged.of(self._accounts, market)

    def unknown(self) -> dict[int, Unknown]:
        """Accounts that could not be read, or for which the twin lacks something."""
        found = dict(self._accounts.unknown)
        found.update({account: result for account, result in self.exact().items() if isinstance(result, Unknown)})
        return found

    def exact(self) -> dict[int, Assessment | Unknown]:
        """What the twin has judged so far."""
        return dict(self._exact)

    def worst_first(self) -> Iterator[int]:
        """Accounts below maintenance margin by the twin, lowest health first, equal ones by number.

        The twin is asked as far as the caller goes: an account is handed out when no other can be lower.
        """
        waiting: list[tuple[int, int]] = []
        rows = np.flatnonzero(~self.sound)
        for row in rows[np.argsort(self.least[rows], kind="stable")]:
            bound = _wad_down(self.least[row])
            while waiting and (bound is not None and waiting[0][0] < bound):
                yield heapq.heappop(waiting)[1]
            account = int(self.numbers[row])
            result = self[account]
            if not isinstance(result, Unknown) and result.mm_health < 0:
                heapq.heappush(waiting, (result.mm_health, account))
        while waiting:
            yield heapq.heappop(waiting)[1]

    def liquidatable(self) -> tuple[int, ...]:
        """Accounts whose auction may start: where the screen leaves it open, by the twin; lowest health first."""
        open_rows = ~self.sound & ~self.startable & ~(self.health + self.doubt > 3.0 * self.error)
        mine = self.startable.copy()
        for row in np.flatnonzero(open_rows):
            result = self[int(self.numbers[row])]
            mine[row] = not isinstance(result, Unknown) and result.liquidatable
        return self._by_health(np.flatnonzero(mine))

    def in_doubt(self) -> tuple[int, ...]:
        """Accounts below maintenance margin that might not be if old data were replaced, by number."""
        below = self.below.copy()
        for row in np.flatnonzero(~self.sound & ~self.below):
            result = self[int(self.numbers[row])]
            below[row] = not isinstance(result, Unknown) and result.mm_health < 0
        return tuple(sorted({*self.numbers[below].tolist()} - {*self.liquidatable()}))

    def near(self, near_bps: int, limit: int) -> tuple[int, ...]:
        """The ``limit`` accounts nearest to the line whose health is below a share of their requirement."""
        mm = self._field("mm")
        rows = np.flatnonzero((self.health * BPS < near_bps * mm) & (mm > 0.0))
        nearest = rows[np.argsort(np.abs(self.health[rows]), kind="stable")[:limit]]
        return tuple(self.numbers[nearest].tolist())

    @cached_property
    def worst(self) -> tuple[int, int] | None:
        """(account, health in wad by the twin) of the lowest."""
        order = np.argsort(self.least, kind="stable")[:8]
        judged = ((self[int(self.numbers[row])], int(self.numbers[row])) for row in order)
        found = [(result.mm_health, account) for result, account in judged if not isinstance(result, Unknown)]
        return None if not found else (min(found)[1], min(found)[0])

    def least_share(self) -> float:
        """Least health as a share of the requirement, as floats have it; NaN where nobody has a requirement."""
        mm = self._field("mm")
        held = (mm > 0.0) & np.isfinite(self.error)
        return float((self.health[held] / mm[held]).min(initial=np.inf)) if held.any() else float("nan")

    def shown(self, accounts: Iterable[int]) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(account, SCREEN_FIELDS in wad) of screened accounts, as floats have them: to show, never to act on."""
        wanted = np.isin(self.numbers, np.fromiter(accounts, dtype=np.int64))
        columns = [self._field(name)[wanted] for name in SCREEN_FIELDS]
        for account, *values in zip(
            self.numbers[wanted].tolist(), *(column.tolist() for column in columns), strict=True
        ):
            *amounts, flags = values
            yield account, (*(round(value * WAD) for value in amounts), int(flags))

    def rough(self) -> Iterator[Assessment | Unknown]:
        """All accounts in order, to show: the twin's result where there is one, else what the screen says."""
        exact = {**self.exact(), **self.unknown()}
        screened = dict(self.shown(set(self.numbers.tolist()) - exact.keys()))
        for account in self:
            if account in exact:
                yield exact[account]
            else:
                mark, im_equity, mm_equity, im, mm, doubt, flags = screened[account]
                yield Assessment(mark, im_equity, mm_equity, im, mm, 0, 0, 255, flags, doubt, ())

    def equity_above_wad(self, accounts: Sequence[int]) -> int:
        """An upper bound of the sum of these accounts' positive mark equities, wad."""
        wanted = np.isin(self.numbers, np.array(accounts, dtype=np.int64))
        marks = np.maximum(self._field("equity_mark")[wanted], 0.0) + self.error[wanted]
        if not np.isfinite(marks).all():
            found = (self[account] for account in accounts)
            return sum(max(0, result.equity_mark) for result in found if not isinstance(result, Unknown))
        return int(np.ceil(marks.sum() * (1.0 + 1e-9))) * WAD

    def _field(self, name: str) -> FloatArray:
        return np.concatenate([getattr(result, name)[kept] for result, kept in self._results])

    def _by_health(self, rows: IntArray) -> tuple[int, ...]:
        order = np.lexsort((self.numbers[rows], self.health[rows]))
        return tuple(self.numbers[rows[order]].tolist())


def _wad_down(usd: float) -> int | None:
    """A lower bound in wad, None where there is none."""
    return int(usd * WAD) - 1 if np.isfinite(usd) else None
