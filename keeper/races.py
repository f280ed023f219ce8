# SPDX-License-Identifier: Apache-2.0
"""Which reverts mean that somebody else was first: no error, and nothing that may stop the keeper.

Whoever can get ahead of it in a block (the owner of an account in auction with a deposit of one unit, a competitor)
decides how many of its transactions revert. Were these counted as failures, a handful of deposits would stop it.
"""

from __future__ import annotations

# The state moved between the snapshot and the send, mostly because somebody else was first: not an error.
OVERTAKEN = frozenset(
    {
        "auction: running",
        "auction: none",
        "auction: healthy",
        "auction: unhealthy",
        "auction: data too old",
        "auction: nonce",
        "auction: price above limit",
        "auction: insolvent",
        "auction: more than needed",
        "auction: no relief",
        "engine: doubt",
        "params: nonce",
        "params: proposal not open",
        "params: stale proposal",
        "params: too soon",
        "params: observed not newer",
        "registry: not tradable",
        "registry: settled before",
        "table: epoch",
        "table: not in force",
        "table: too soon",
        "table: observed not newer",
    }
)

# Anybody may do these, so a revert mostly means that somebody was first.
CONTESTED = frozenset(
    {
        "start_auction",
        "bid",
        "bid_legs",
        "end_auction",
        "tick_auction",
        "settle_many",
        "settle_expiry",
        "retire",
        "execute_proposal",
        "challenge_row",
    }
)


def lost_race(kind: str, reason: str) -> bool:
    """Whether an action of this kind that reverted for this reason has only come too late."""
    return kind in CONTESTED and reason in OVERTAKEN
