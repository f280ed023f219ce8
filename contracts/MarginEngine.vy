# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title The margin rule
@license GNU Affero General Public License v3.0 only
@notice Says what an account is worth and what it must hold. docs/margin-rule.md is normative, section numbers below are
        its own; risk/onchain.py is the other implementation and returns the same integers.
@dev Stateless: it stores nothing, so its views hold no reentrancy lock and may be read in the middle of a call. It must not
     revert for any account that exists. All amounts wad unless named otherwise.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IPriceOracle
from contracts.interfaces import IRiskParameters
from contracts.interfaces import IRiskTable
from contracts.modules import constants as c
from contracts.modules import errors_engine as errors
from contracts.modules import fixed_math
from contracts.modules import haircut
from contracts.modules import joint_scan
from contracts.modules import row_sum
from contracts.modules import state_words
from contracts.modules import underlying_risk
from contracts.modules import what_if

implements: IMarginEngine

ACCOUNTS: public(immutable(address))
REGISTRY: public(immutable(address))
ORACLE: public(immutable(address))
PARAMETERS: public(immutable(address))
TABLE: public(immutable(address))

LANE: constant(uint256) = 2**16 - 1
ALL_COLUMNS: constant(uint256) = 2**9 - 1
# the price points one quarter of the scan range below and above the live price, which give the net delta
DELTA_COLUMNS: constant(uint256) = 2**3 + 2**5
# asks the table for pages only
WITHOUT_JOINT: constant(uint256) = 2**16
# scenarios of assess_at from here on are points of the scan
FIRST_POINT: constant(uint256) = 64
POINTS: constant(uint256) = 27
EVERY: constant(uint256) = FIRST_POINT + POINTS
# no joint scenario, but the sum of the scans, which none of them can exceed
SCANS_ONLY: constant(uint256) = EVERY + 1
NOTHING: constant(uint256) = 16


# what the underlyings come to
struct Sums:
    equity_wad: int256
    charges_wad: uint256
    drift_wad: uint256
    scan_wad: uint256
    scan_max_wad: uint256
    # loss in the one scenario asked for
    loss_wad: uint256


struct Run:
    result: IMarginEngine.Assessment
    points: int256[3][9]


@deploy
def __init__(accounts: address, registry: address, oracle: address, parameters: address, table: address):
    """
    @param accounts MarginAccounts
    @param registry InstrumentRegistry
    @param oracle PriceOracle
    @param parameters RiskParameters
    @param table RiskTable
    """
    ACCOUNTS = accounts
    REGISTRY = registry
    ORACLE = oracle
    PARAMETERS = parameters
    TABLE = table


@external
@view
def assess(account: uint256) -> IMarginEngine.Assessment:
    """
    @notice Equity and requirements of an account now.
    @param account Account number
    @return Amounts in wad; worst_joint 255 = no joint scenario loses; flags and scans as in the margin rule, section 7
    """
    return self._run(staticcall IMarginAccounts(ACCOUNTS).state(account), EVERY, NOTHING).result


@external
@view
def assess_state(words: DynArray[uint256, c.MAX_WORDS]) -> IMarginEngine.Assessment:
    """
    @notice The same for any state, whether or not an account has it.
    @param words Words as MarginAccounts.state gives them
    """
    return self._run(words, EVERY, NOTHING).result


@external
@view
def assess_after(
    account: uint256, cash_delta_wad: int256, deltas: DynArray[IMarginEngine.Delta, 16]
) -> IMarginEngine.Assessment:
    """
    @notice The same as if the account had made these trades, without fees.
    @param account Account number
    @param cash_delta_wad Added to cash
    @param deltas Trades: an option's premium is paid in cash (rounded against the account), a perpetual's price goes to
           its quote
    """
    words: DynArray[uint256, c.MAX_WORDS] = staticcall IMarginAccounts(ACCOUNTS).state(account)
    words[1] = what_if._add_cash(words[1], cash_delta_wad)
    for delta: IMarginEngine.Delta in deltas:
        funding_wad: int256 = 0
        if delta.instrument & 255 == c.PERP_SLOT:
            assert delta.instrument >> 8 < c.MAX_UNDERLYINGS, errors.BAD_INSTRUMENT
            index: DynArray[uint256, 16] = staticcall IInstrumentRegistry(REGISTRY).funding(1 << (delta.instrument >> 8))
            funding_wad = self._signed(index[0])
        words = what_if._trade(words, delta, funding_wad)
    return self._run(words, EVERY, NOTHING).result


@external
@view
def assess_at(account: uint256, scenario: uint256) -> (int256, uint256):
    """
    @notice One scenario as a cheap proof: when the first number is below the second, so is maintenance margin's health
            below zero. Reverts when a price that it takes is dead.
    @param account Account number
    @param scenario < 64: joint scenario (two or more active underlyings); 64 + 9 * v + n: scan point (exactly one)
    @return Equity for maintenance margin and a lower bound of the requirement, wad
    """
    assert scenario < EVERY, errors.NO_SCENARIO
    result: IMarginEngine.Assessment = self._run(
        staticcall IMarginAccounts(ACCOUNTS).state(account), scenario, NOTHING
    ).result
    # the last recorded price may be of any age
    assert result.flags & c.FLAG_PRICE_DEAD == 0, errors.PRICE_DEAD
    return result.equity_mm, result.mm


@external
@view
def holds_initial_margin(account: uint256) -> (bool, uint256):
    """
    @notice Whether assess would find equity_im >= im, for less gas. No joint scenario loses more than the sum of the
            scans (each mixes points of the live grids), so they are evaluated only if that sum does not settle it.
    @param account Account number
    @return The answer, and the flags of assess
    """
    words: DynArray[uint256, c.MAX_WORDS] = staticcall IMarginAccounts(ACCOUNTS).state(account)
    result: IMarginEngine.Assessment = self._run(words, SCANS_ONLY, NOTHING).result
    if result.equity_im < convert(result.im, int256) and len(result.scans) >= 2:
        result = self._run(words, EVERY, NOTHING).result
    return result.equity_im >= convert(result.im, int256), result.flags


@external
@view
def grid(account: uint256, underlying: uint256) -> int256[27]:
    """
    @notice Profit and loss of one underlying's positions at the points of the scan, wad.
    @param account Account number
    @param underlying Underlying; all zero when the account has nothing in it
    @return Index 9 * v + n: volatility state v (down, base, up), price move (n - 4) quarters of the scan range
    """
    points: int256[3][9] = self._run(staticcall IMarginAccounts(ACCOUNTS).state(account), EVERY, underlying).points
    result: int256[27] = empty(int256[27])
    for v: uint256 in range(3):
        for n: uint256 in range(9):
            result[9 * v + n] = points[n][v]
    return result


@internal
@view
def _run(words: DynArray[uint256, c.MAX_WORDS], scenario: uint256, shown: uint256) -> Run:
    """
    @notice Evaluates the active underlyings one after the other, then the scenarios over all of them.
    @dev The loop is in here because passing words and inputs on would copy them for every underlying.
    @param words State words (section 2)
    @param scenario Scenario of assess_at, whose bound then is the result's mm; or EVERY; or SCANS_ONLY, for which the
           requirements are upper bounds
    @param shown Underlying whose live grid to return, or NOTHING
    """
    run: Run = empty(Run)
    shape: state_words.Shape = state_words._shape(words)
    prices: DynArray[uint256, 32] = staticcall IPriceOracle(ORACLE).read(shape.active, shape.collaterals)
    parameters: DynArray[uint256, 33] = staticcall IRiskParameters(PARAMETERS).words(shape.active, shape.collaterals)
    funding: DynArray[uint256, 16] = []
    if shape.perps != 0:
        funding = staticcall IInstrumentRegistry(REGISTRY).funding(shape.perps)
    table: DynArray[uint256, 33] = []
    if shape.active_count >= 2:
        table = staticcall IRiskTable(TABLE).read(shape.optioned)
    elif shape.optioned != 0:
        table = staticcall IRiskTable(TABLE).read(shape.optioned | WITHOUT_JOINT)

    for price: uint256 in prices:
        if (price >> 128) & 255 == c.PRICE_DEAD:
            run.result.flags = c.FLAG_PRICE_DEAD
            break
    collateral: haircut.Collateral = empty(haircut.Collateral)
    if shape.collaterals != 0:
        collateral = haircut._collateral(words, shape.cursor, prices, parameters, shape.active_count)
    scenarios: DynArray[uint256, c.MAX_JOINT] = []
    if shape.active_count >= 2:
        if scenario != SCANS_ONLY:
            scenarios = joint_scan._load(table[0])
        run.result.flags |= self._joint_flags(table[0])
    self._check_scenario(scenario, shape.active_count, len(scenarios))

    sums: Sums = empty(Sums)
    totals: uint256[c.MAX_JOINT] = empty(uint256[c.MAX_JOINT])
    joint_sum: int256 = 0
    place: joint_scan.Place = empty(joint_scan.Place)
    cursor: uint256 = shape.cursor
    index: uint256 = 0
    perp_index: uint256 = 0
    page_index: uint256 = 1
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if shape.active >> u == 0:
            break
        if (shape.active >> u) & 1 == 0:
            continue
        holding: underlying_risk.Holding = empty(underlying_risk.Holding)
        holding.price_wad = prices[index] & (2**128 - 1)
        index += 1
        holding.parameters = parameters[index]
        holding.linked_wad = collateral.linked_wad[u]
        holding.columns = ALL_COLUMNS
        if (shape.perps >> u) & 1 == 1:
            holding.lots = self._signed(words[cursor] << 192) >> 192
            holding.quote = self._signed(words[cursor]) >> 64
            holding.funding_wad = self._signed(funding[perp_index]) - self._signed(words[cursor + 1])
            cursor += 2
            perp_index += 1
        count: uint256 = (words[0] >> (8 * u)) & 255
        if count != 0:
            holding.page_1 = table[page_index]
            holding.page_2 = table[page_index + 1]
            page_index += 2
        if scenario < FIRST_POINT:
            place = joint_scan._place(scenarios[scenario], u)
            holding.columns = DELTA_COLUMNS | (3 << place.cell)
        elif scenario < EVERY:
            holding.columns = DELTA_COLUMNS | (1 << ((scenario - FIRST_POINT) % 9))

        part: underlying_risk.Part = empty(underlying_risk.Part)
        if count == 0:
            part = underlying_risk._part(holding, empty(row_sum.RowSum))
        else:
            part = underlying_risk._part(
                holding,
                row_sum._sum_rows(
                    words, cursor, count, convert(holding.page_1 & (2**160 - 1), address), holding.price_wad
                ),
            )
            cursor += (count + 3) >> 2
        sums.equity_wad += part.equity_wad
        sums.charges_wad += part.charge_wad
        sums.drift_wad += part.drift_wad
        sums.scan_wad += part.scan_wad
        sums.scan_max_wad = max(sums.scan_max_wad, part.scan_wad)
        run.result.scans.append(part.scan_wad)
        run.result.flags |= part.flags
        if u == shown:
            run.points = part.live.points
        if scenario < FIRST_POINT:
            joint_sum += joint_scan._at(part.live.points, place)
        elif scenario < EVERY:
            # `_check_scenario`: there is exactly one underlying
            point: uint256 = scenario - FIRST_POINT
            sums.loss_wad = convert(max(-part.live.points[point % 9][point // 9], 0), uint256)
        elif len(scenarios) != 0:
            if count == 0:
                totals = joint_scan._accumulate_flat(totals, scenarios, part.live.points, u)
            else:
                totals = joint_scan._accumulate(totals, scenarios, part.live.points, u)

    run.result.worst_joint = joint_scan.NO_SCENARIO
    if scenario < FIRST_POINT:
        sums.loss_wad = joint_scan._loss(joint_sum)
    elif scenario >= EVERY:
        # one underlying, or no scenarios to go by: the scans as they are
        sums.loss_wad = sums.scan_wad
        if shape.active_count >= 2:
            if scenario == EVERY and run.result.flags & c.FLAG_JOINT_MISSING == 0:
                sums.loss_wad, run.result.worst_joint = joint_scan._worst(totals)
            sums.loss_wad = self._floored(sums, parameters[0])

    # section 7; requirements up, against the account
    sums.equity_wad += self._signed(words[1])
    run.result.equity_mark = sums.equity_wad + convert(collateral.value_wad, int256)
    run.result.equity_im = sums.equity_wad + convert(collateral.im_wad, int256)
    run.result.equity_mm = sums.equity_wad + convert(collateral.mm_wad, int256)
    run.result.market_risk = sums.loss_wad
    run.result.charges = sums.charges_wad
    run.result.im = (
        self._scaled(sums.loss_wad, parameters[0])
        + self._scaled(sums.charges_wad, parameters[0] >> 32)
        + sums.drift_wad
    )
    run.result.mm = self._scaled(sums.loss_wad, parameters[0] >> 16) + sums.charges_wad
    return run


@internal
@pure
def _floored(sums: Sums, global_parameters: uint256) -> uint256:
    """
    @notice Market risk over several underlyings: the joint loss, but at least a share of all scans, and for a book that
            one underlying dominates, at least that one's scan less the others'.
    """
    share: uint256 = self._scaled(sums.scan_wad, global_parameters >> 48)
    lead: uint256 = 0
    if 2 * sums.scan_max_wad > sums.scan_wad:
        lead = 2 * sums.scan_max_wad - sums.scan_wad
    return max(sums.loss_wad, max(share, lead))


@internal
@pure
def _scaled(amount_wad: uint256, lane: uint256) -> uint256:
    """
    @notice ceil(amount * bps / 1e4) with the bps in the lowest 16 bits of `lane`.
    """
    return fixed_math._mul_div_up(amount_wad, lane & LANE, c.BPS)


@internal
@view
def _joint_flags(joint_word: uint256) -> uint256:
    """
    @notice Flags of the joint blob when it is wanted.
    """
    if joint_word & (2**160 - 1) == 0:
        return c.FLAG_JOINT_MISSING
    if block.timestamp > (joint_word >> 200) & (2**32 - 1):
        return c.FLAG_TABLE_EXPIRED
    return 0


@internal
@pure
def _check_scenario(scenario: uint256, active_count: uint256, joint_count: uint256):
    """
    @notice Refuses a scenario that says nothing about the account.
    """
    if scenario < FIRST_POINT:
        # none is loaded for fewer than two underlyings
        assert scenario < joint_count, errors.NO_SCENARIO
    elif scenario < EVERY:
        assert active_count == 1, errors.SEVERAL_ACTIVE


@internal
@pure
def _signed(word: uint256) -> int256:
    """
    @notice The word as two's complement.
    """
    return convert(convert(word, bytes32), int256)
