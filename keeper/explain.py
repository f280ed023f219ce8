# SPDX-License-Identifier: Apache-2.0
"""Why an account's margin is what it is, and why it is or is not liquidated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keeper.domain import AuctionState, Phase, Snapshot, Unknown
from keeper.explain_account import instrument_name
from risk.onchain import Assessment, ChainMarket, UnderlyingResult, assess_words, underlying_results
from risk.onchain_collateral import collateral_values
from risk.onchain_explain import breakdown
from risk.onchain_words import PERPETUAL, AccountState, lane, parse_words

WAD = 10**18
LOTS_PER_UNIT = 10**6
WIDEN_LANE, RESERVE_LANE = 12, 4
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
class CollateralLine:
    """One asset held: USD wad at mark, and what counts of it for either margin after haircut."""

    name: str
    value_wad: int
    counted_im_wad: int
    counted_mm_wad: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything ``ballast explain`` prints of the account itself; amounts USD wad.

    ``binding`` names the term of the market risk that decides, ``parts`` are the profits of all positions under the
    moves that it looks at. ``data`` says what old data, changes to come and contracts in their last day add to the
    margin, and what is in reserve.
    """

    account: int
    status: str
    assessment: Assessment
    holdings: tuple[Line, ...]
    collateral: tuple[CollateralLine, ...]
    binding: str
    parts: tuple[tuple[str, int], ...]
    worst: tuple[str, ...]
    data: tuple[str, ...]
    flags: tuple[str, ...]


def explain(snapshot: Snapshot, account: int, names: Mapping[int, str] | None = None) -> Explanation | Unknown:
    """Explain one account of a snapshot; `Unknown` where it cannot be judged.

    ``names`` are symbols of collateral by number; one without a symbol is called by its number.
    """
    words, market = snapshot.accounts.get(account), snapshot.market
    if isinstance(market, Unknown):
        return market
    if words is None or isinstance(words, Unknown):
        return words or Unknown(f"account {account} is not in the snapshot", snapshot.block.timestamp)
    result, state = assess_words(words, market), parse_words(words)
    parts, taken = underlying_results(words, market), breakdown(words, market)
    called = {item.asset: _asset_name(item.asset, names) for item in state.collaterals}
    return Explanation(
        account=account,
        status=status(result, snapshot.auctions.get(account)),
        assessment=result,
        holdings=_holdings(state, market, snapshot, called),
        collateral=_collateral(state, market, called),
        binding=taken.binding,
        parts=tuple(
            (called[p.key] if p.kind == "collateral" else instrument_name(snapshot, p.key), p.profit)
            for p in sorted(taken.parts, key=lambda p: p.profit)
        ),
        worst=_worst(parts, market, result, snapshot, frozenset(state.options)),
        data=(
            *_widening(parts, market, snapshot),
            *_last_day(parts, snapshot),
            *_late_collateral(state, market, called),
            *_kept(state, market, result),
        ),
        flags=tuple(text for bit, text in FLAGS.items() if result.flags & bit),
    )


def status(result: Assessment, auction: AuctionState | Unknown | None) -> str:
    """One sentence: liquidatable or not, and by how much."""
    health = result.mm_health / WAD
    if isinstance(auction, AuctionState) and auction.phase != Phase.NONE:
        counted = auction.solvent_s if auction.phase == Phase.SOLVENT else auction.insolvent_s
        return (
            f"in auction, {auction.phase.name.lower()} phase, {counted} s counted by {auction.seen_at}; "
            f"health {health:,.2f} USD"
        )
    if result.liquidatable:
        return f"liquidatable: {-health:,.2f} USD below maintenance margin"
    if result.mm_health < 0:
        return f"in doubt: {-health:,.2f} USD below maintenance margin, but old data leave {_usd(result.doubt)} open"
    if result.im_health < 0:
        return f"safe from liquidation by {health:,.2f} USD, but may only reduce risk (below initial margin)"
    return f"healthy: {health:,.2f} USD above maintenance and {result.im_health / WAD:,.2f} above initial margin"


def _asset_name(asset: int, names: Mapping[int, str] | None) -> str:
    known = (names or {}).get(asset)
    return f"collateral {asset}" if known is None else f"collateral {known}"


def _collateral(state: AccountState, market: ChainMarket, called: Mapping[int, str]) -> tuple[CollateralLine, ...]:
    found = collateral_values(state, market.collateral_prices, market.collateral_words)
    return tuple(
        CollateralLine(called[asset], item.value, item.counted_im, item.counted_mm) for asset, item in found.items()
    )


def _holdings(
    state: AccountState, market: ChainMarket, snapshot: Snapshot, called: Mapping[int, str]
) -> tuple[Line, ...]:
    lines = [Line("cash", f"{state.cash / WAD:,.2f}", state.cash)]
    for item in state.collaterals:
        value = item.amount * market.collateral_prices[item.asset].price // 10**item.decimals
        haircut = lane(market.collateral_words[item.asset], 1) / 100
        amount = f"{item.amount / 10**item.decimals:,.6f}"
        lines.append(Line(f"{called[item.asset]} (haircut {haircut:.2f} %)", amount, value))
    for instrument, held in sorted(state.delta_ones.items()):
        carry = market.marks[instrument].carry if instrument & 255 == PERPETUAL else 0
        pnl = (held.lots * (market.mark(instrument) - carry) + held.base) // LOTS_PER_UNIT
        lines.append(Line(instrument_name(snapshot, instrument), f"{held.lots / LOTS_PER_UNIT:+,.6f}", pnl))
    for u, options in sorted(state.options.items()):
        for option in options:
            name = instrument_name(snapshot, u << 8 | option.slot)
            lines.append(Line(name, f"{option.lots / LOTS_PER_UNIT:+,.6f}", None))
    return tuple(lines)


def _worst(
    parts: Sequence[UnderlyingResult],
    market: ChainMarket,
    result: Assessment,
    snapshot: Snapshot,
    with_options: frozenset[int],
) -> tuple[str, ...]:
    """Worst move of each active underlying alone, then the worst joint scenario; volatility moves options only."""
    found = []
    for item in parts:
        points = [value for row in item.grid for value in row]
        at = min(range(27), key=points.__getitem__)
        move = f"{snapshot.symbol(item.underlying)} {(at % 9 - 4) * item.scan_bps / 400:+.2f} %"
        vol = f", volatility {VOLATILITY[at // 9]}" if item.underlying in with_options else ""
        found.append(f"{move}{vol}: loss {_usd(item.scan)} alone")
    joint = market.joint
    if joint is not None and result.worst_joint < joint.count:
        moves = []
        for item in parts:
            price, shock = joint.bytes_of(result.worst_joint, item.underlying)
            vol = f", volatility {shock / 127:+.2f}" if item.underlying in with_options else ""
            moves.append(f"{snapshot.symbol(item.underlying)} {price / 127 * item.scan_bps / 100:+.2f} %{vol}")
        found.append(f"worst joint scenario {result.worst_joint}: {'; '.join(moves)}")
    return tuple(found)


def _widening(parts: Sequence[UnderlyingResult], market: ChainMarket, snapshot: Snapshot) -> tuple[str, ...]:
    """What widens initial margin, underlying by underlying."""
    found = []
    for item in parts:
        name = snapshot.symbol(item.underlying)
        if item.widen_bps:
            phased = lane(market.underlying_words[item.underlying], WIDEN_LANE)
            late = market.prices[item.underlying].late_bps
            page = max(0, item.widen_bps - phased - late)
            causes = (("parameters being phased in", phased), ("old price", late), ("old or distant page", page))
            said = ", ".join(f"{cause} {bps / 100:.2f} %" for cause, bps in causes if bps)
            found.append(f"{name}: initial margin {item.widen_bps / 100:.2f} % wider, {_usd(item.wide)} more ({said})")
        if item.lost:
            found.append(f"{name}: {_usd(item.lost)} of option value does not count for initial margin: dead page")
        if item.doubt:
            found.append(f"{name}: old data leave {_usd(item.doubt)} in doubt")
    return tuple(found)


def _last_day(parts: Sequence[UnderlyingResult], snapshot: Snapshot) -> tuple[str, ...]:
    """What contracts that expire within a day add to either margin."""
    found = []
    for item in parts:
        if item.last_day is None:
            continue
        name, before = snapshot.symbol(item.underlying), item.last_day
        causes = (("scan", item.scan - before.scan), ("charges", item.charge - before.charge))
        ahead = (("scan", item.ahead_scan), ("charges", item.ahead_charge))
        for text, amounts in (
            ("contracts in their last day count for the part of it that is left", causes),
            ("initial margin already does without contracts in their last day", ahead),
        ):
            more = ", ".join(f"{what} {_usd(amount)} more" for what, amount in amounts if amount)
            found += [f"{name}: {text}: {more}"] if more else []
    return tuple(found)


def _late_collateral(state: AccountState, market: ChainMarket, called: Mapping[int, str]) -> tuple[str, ...]:
    """Collateral that counts for less because its price is old."""
    late = ((item.asset, market.collateral_prices[item.asset].late_bps) for item in state.collaterals)
    return tuple(
        f"{called[asset]}: counts {bps / 100:.2f} % less for initial margin: old price" for asset, bps in late if bps
    )


def _kept(state: AccountState, market: ChainMarket, result: Assessment) -> tuple[str, ...]:
    """Doubt as a whole, and the reserve."""
    found = []
    if result.doubt:
        found.append(f"doubt {_usd(result.doubt)}: a liquidation starts only where health is below minus that much")
    reserve = lane(market.global_word, RESERVE_LANE) * WAD
    if reserve and (state.has_position or state.cash < 0):
        found.append(f"reserve {_usd(reserve)}: in both requirements, for whoever starts a liquidation")
    return tuple(found)


def _usd(wad: int) -> str:
    return f"{wad / WAD:,.2f} USD"
