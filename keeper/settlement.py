# SPDX-License-Identifier: Apache-2.0
"""Expiries that have passed without a settlement price, and the oracle rounds that prove one."""

from __future__ import annotations

from collections.abc import Mapping

from keeper.chain.rounds import Feed, round_at
from keeper.domain import ContractCall, Snapshot, Unknown
from keeper.errors import KeeperError
from keeper.ports import Chain

ORACLE = "PriceOracle"
UNDERLYING = 0
Expiry = tuple[int, int]


def open_expiries(snapshot: Snapshot) -> tuple[Expiry, ...]:
    """(underlying, expiry) of listed options that have expired and are not settled, oldest first."""
    options, now = snapshot.options, snapshot.block.timestamp
    if isinstance(options, Unknown):
        return ()
    found = {(o.underlying, o.expiry) for o in options.values() if 0 < o.expiry <= now and not o.settlement_wad}
    return tuple(sorted(found, key=lambda item: (item[1], item[0])))


def find_rounds(chain: Chain, snapshot: Snapshot) -> Mapping[Expiry, int | Unknown]:
    """Round id that settles each open expiry, as the oracle itself accepts it at the block, or why there is none."""
    found: dict[Expiry, int | Unknown] = {}
    feeds: dict[int, Feed] = {}  # what one expiry's search has read serves the next one's
    for underlying, expiry in open_expiries(snapshot):
        try:
            if underlying not in feeds:
                address = chain.call(ContractCall(ORACLE, "feed_of", (UNDERLYING, underlying)), snapshot.block)[0]
                feeds[underlying] = Feed(chain, address, snapshot.block)
            number = round_at(feeds[underlying], expiry).number
            chain.call(ContractCall(ORACLE, "price_at", (underlying, number, expiry)), snapshot.block)
            found[underlying, expiry] = number
        except KeeperError as error:
            found[underlying, expiry] = Unknown(str(error), expiry)
    return found
