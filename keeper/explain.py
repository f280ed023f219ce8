# SPDX-License-Identifier: Apache-2.0
"""Why an account's margin is what it is, and why it is or is not liquidated."""

from __future__ import annotations

from dataclasses import dataclass

from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from risk.onchain import Assessment, ChainMarket, assess_words, grid
from risk.onchain_words import AccountState, lane, parse_words

WAD = 10**18
VOLATILITY = ("down", "unchanged", "up")
FLAGS = {
    1: "a price used is dead",
    2: "a page or the joint scenarios are expired",
    4: "an option has no row",
    8: "several underlyings and no joint scenarios",
    16: "a price is off the grid",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One holding; ``value_wad`` USD at mark where it has one of its own."""

    what: str
    amount: str
    value_wad: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything ``ballast explain`` prints; amounts USD wad."""

    account: int
    status: str
    assessment: Assessment
    holdings: tuple[Line, ...]
    worst: tuple[str, ...]
    flags: tuple[str, ...]


def explain(snapshot: Snapshot, account: int) -> Explanation | Unknown:
    """Explain one account of a snapshot; `Unknown` where it cannot be judged."""
    words, market = snapshot.accounts.get(account), snapshot.market
    if isinstance(market, Unknown):
        return market
    if words is None or isinstance(words, Unknown):
        return words or Unknown(f"account {account} is not in the snapshot", snapshot.block.timestamp)
    result = assess_words(words, market)
    state = parse_words(words)
    return Explanation(
        account=account,
        status=status(result, snapshot.auctions.get(account)),
        assessment=result,
        holdings=_holdings(state, market, snapshot),
        worst=_worst(words, state, market, result, snapshot),
        flags=tuple(text for bit, text in FLAGS.items() if result.flags & bit),
    )


def status(result: Assessment, auction: AuctionState | Unknown | None) -> str:
    """One sentence: liquidatable or not, and by how much."""
    health = result.mm_health / WAD
    if isinstance(auction, AuctionState) and auction.phase != Phase.NONE:
        return f"in auction, {auction.phase.name.lower()} phase since {auction.started_at}; health {health:,.2f} USD"
    if result.mm_health < 0:
        return f"liquidatable: {-health:,.2f} USD below maintenance margin"
    if result.im_health < 0:
        return f"safe from liquidation by {health:,.2f} USD, but may only reduce risk (below initial margin)"
    return f"healthy: {health:,.2f} USD above maintenance and {result.im_health / WAD:,.2f} above initial margin"


def _symbol(snapshot: Snapshot, underlying: int) -> str:
    infos = snapshot.underlyings
    known = None if isinstance(infos, Unknown) else infos.get(underlying)
    return f"underlying {underlying}" if known is None else known.symbol


def _holdings(state: AccountState, market: ChainMarket, snapshot: Snapshot) -> tuple[Line, ...]:
    lines = [Line("cash", f"{state.cash / WAD:,.2f}", state.cash)]
    for item in state.collaterals:
        value = item.amount * market.collateral_prices[item.asset].price // 10**item.decimals
        haircut = lane(market.collateral_words[item.asset], 1) / 100
        amount = f"{item.amount / 10**item.decimals:,.6f}"
        lines.append(Line(f"collateral {item.asset} (haircut {haircut:.2f} %)", amount, value))
    for u, perp in sorted(state.perps.items()):
        owed = perp.lots * (market.funding[u] - perp.funding_entry)
        pnl = (perp.lots * market.prices[u].price + perp.quote - owed) // 10**6
        lines.append(Line(f"{_symbol(snapshot, u)} perpetual", f"{perp.lots / 10**6:+,.6f}", pnl))
    for u, options in sorted(state.options.items()):
        for option in options:
            name = _option_name(snapshot, u, option.slot)
            lines.append(Line(name, f"{option.lots / 10**6:+,.6f}", None))
    return tuple(lines)


def _option_name(snapshot: Snapshot, underlying: int, slot: int) -> str:
    options = snapshot.options
    info = None if isinstance(options, Unknown) else options.get(underlying << 8 | slot)
    if info is None:
        return f"{_symbol(snapshot, underlying)} option in slot {slot}"
    kind = "call" if info.is_call else "put"
    return f"{_symbol(snapshot, underlying)} {info.strike_wad / WAD:,.0f} {kind}, expiry {info.expiry}"


def _worst(
    words: tuple[int, ...], state: AccountState, market: ChainMarket, result: Assessment, snapshot: Snapshot
) -> tuple[str, ...]:
    """Worst move of each active underlying alone, then the worst joint scenario."""
    linked = {item.linked - 1 for item in state.collaterals if item.linked and item.amount}
    found = []
    for u in sorted({*state.perps, *state.options, *linked}):
        points = grid(words, market, u)
        at = min(range(27), key=points.__getitem__)
        move = (at % 9 - 4) * lane(market.underlying_words[u], 0) / 400
        loss = max(0, -points[at]) / WAD
        found.append(
            f"{_symbol(snapshot, u)} {move:+.2f} %, volatility {VOLATILITY[at // 9]}: loss {loss:,.2f} USD alone"
        )
    joint = market.joint
    if joint is not None and result.worst_joint < joint.count:
        moves = []
        for u in sorted({*state.perps, *state.options, *linked}):
            price, vol = joint.bytes_of(result.worst_joint, u)
            percent = price / 127 * lane(market.underlying_words[u], 0) / 100
            moves.append(f"{_symbol(snapshot, u)} {percent:+.2f} %, volatility {vol / 127:+.2f}")
        found.append(f"worst joint scenario {result.worst_joint}: {'; '.join(moves)}")
    return tuple(found)
