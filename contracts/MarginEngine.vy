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
# no single scenario asked for
# scenarios of assess_at from here on are points of the scan
FIRST_POINT: constant(uint256) = 64
EVERY: constant(uint256) = max_value(uint256)
NOTHING: constant(uint256) = 16


# what the other contracts say about one account
struct Inputs:
    active: uint256
    active_count: uint256
    collateral_count: uint256
    prices: DynArray[uint256, 32]
    parameters: DynArray[uint256, 33]
    funding: DynArray[uint256, 16]
    table: DynArray[uint256, 33]


# how far the words and the inputs have been read
struct Cursor:
    word: uint256
    active: uint256
    perp: uint256
    page: uint256


# sums over the underlyings, and what the scenarios say
struct Totals:
    equity_mark: int256
    equity_im: int256
    equity_mm: int256
    charges: uint256
    drift: uint256
    scan_sum: uint256
    scan_max: uint256
    # before the offset floor: scan of the only underlying, greatest joint loss, or loss of the scenario asked for
    loss: uint256
    worst_joint: uint256
    flags: uint256
    active_count: uint256
    global_parameters: uint256
    points: int256[3][9]
    scans: DynArray[uint256, 16]


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
    return self._assess(staticcall IMarginAccounts(ACCOUNTS).state(account))


@external
@view
def assess_state(words: DynArray[uint256, c.MAX_WORDS]) -> IMarginEngine.Assessment:
    """
    @notice The same for any state, whether or not an account has it.
    @param words Words as MarginAccounts.state gives them
    """
    return self._assess(words)


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
    return self._assess(words)


@external
@view
def assess_at(account: uint256, scenario: uint256) -> (int256, uint256):
    """
    @notice One scenario as a cheap proof: when the first number is below the second, so is maintenance margin's health
            below zero.
    @param account Account number
    @param scenario < 64: joint scenario (two or more active underlyings); 64 + 9 * v + n: scan point (exactly one)
    @return Equity for maintenance margin and a lower bound of the requirement, wad
    """
    assert scenario != EVERY, errors.NO_SCENARIO
    totals: Totals = self._sum_up(staticcall IMarginAccounts(ACCOUNTS).state(account), scenario, NOTHING)
    mm_scale_bps: uint256 = (totals.global_parameters >> 16) & LANE
    return totals.equity_mm, fixed_math._mul_div_up(mm_scale_bps, totals.loss, c.BPS) + totals.charges


@external
@view
def grid(account: uint256, underlying: uint256) -> int256[27]:
    """
    @notice Profit and loss of one underlying's positions at the points of the scan, wad.
    @param account Account number
    @param underlying Underlying; all zero when the account has nothing in it
    @return Index 9 * v + n: volatility state v (down, base, up), price move (n - 4) quarters of the scan range
    """
    points: int256[3][9] = self._sum_up(staticcall IMarginAccounts(ACCOUNTS).state(account), EVERY, underlying).points
    result: int256[27] = empty(int256[27])
    for v: uint256 in range(3):
        for n: uint256 in range(9):
            result[9 * v + n] = points[n][v]
    return result


@internal
@view
def _assess(words: DynArray[uint256, c.MAX_WORDS]) -> IMarginEngine.Assessment:
    """
    @notice Section 7. Requirements are rounded up, against the account.
    """
    totals: Totals = self._sum_up(words, EVERY, NOTHING)
    risk: uint256 = totals.loss
    word: uint256 = totals.global_parameters
    if totals.active_count >= 2:
        risk = max(risk, fixed_math._mul_div_up((word >> 48) & LANE, totals.scan_sum, c.BPS))
        if 2 * totals.scan_max > totals.scan_sum:
            risk = max(risk, 2 * totals.scan_max - totals.scan_sum)
    return IMarginEngine.Assessment(
        equity_mark=totals.equity_mark,
        equity_im=totals.equity_im,
        equity_mm=totals.equity_mm,
        im=fixed_math._mul_div_up(word & LANE, risk, c.BPS)
        + fixed_math._mul_div_up((word >> 32) & LANE, totals.charges, c.BPS)
        + totals.drift,
        mm=fixed_math._mul_div_up((word >> 16) & LANE, risk, c.BPS) + totals.charges,
        market_risk=risk,
        charges=totals.charges,
        worst_joint=totals.worst_joint,
        flags=totals.flags,
        scans=totals.scans,
    )


@internal
@view
def _sum_up(words: DynArray[uint256, c.MAX_WORDS], scenario: uint256, shown: uint256) -> Totals:
    """
    @notice Evaluates the active underlyings one after the other.
    @param words State words
    @param scenario Scenario of assess_at, or EVERY
    @param shown Underlying whose live grid to return, or NOTHING
    @return Totals; loss is the scan of the only underlying, the greatest joint loss, or the loss of the scenario asked for
    """
    inputs: Inputs = self._read(words)
    totals: Totals = empty(Totals)
    linked_wad: int256[16] = empty(int256[16])
    totals, linked_wad = self._collateral(words, inputs)
    scenarios: DynArray[uint256, c.MAX_JOINT] = []
    if inputs.active_count >= 2:
        scenarios = joint_scan._load(inputs.table[0])
        totals.flags |= self._joint_flags(inputs.table[0])
    self._check_scenario(scenario, inputs.active_count, len(scenarios))

    sums: int256[c.MAX_JOINT] = empty(int256[c.MAX_JOINT])
    joint_sum: int256 = 0
    cursor: Cursor = Cursor(word=2 + inputs.collateral_count, active=0, perp=0, page=1)
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if inputs.active >> u == 0:
            break
        if (inputs.active >> u) & 1 == 0:
            continue
        holding: underlying_risk.Holding = empty(underlying_risk.Holding)
        holding, cursor = self._holding(words, inputs, cursor, u)
        holding.linked_wad = linked_wad[u]
        place: joint_scan.Place = empty(joint_scan.Place)
        if scenario < FIRST_POINT:
            place = joint_scan._place(scenarios[scenario], u)
            holding.columns = DELTA_COLUMNS | (3 << place.cell)
        elif scenario != EVERY:
            holding.columns = DELTA_COLUMNS | (1 << ((scenario - FIRST_POINT) % 9))

        part: underlying_risk.Part = underlying_risk._part(words, holding)
        totals.equity_mark += part.equity_wad
        totals.equity_im += part.equity_wad
        totals.equity_mm += part.equity_wad
        totals.charges += part.charge_wad
        totals.drift += part.drift_wad
        totals.scan_sum += part.scan_wad
        totals.scan_max = max(totals.scan_max, part.scan_wad)
        totals.scans.append(part.scan_wad)
        totals.flags |= part.flags
        if u == shown:
            totals.points = part.points
        if scenario < FIRST_POINT:
            joint_sum += joint_scan._at(part.points, place)
        elif scenario != EVERY:
            # `_check_scenario`: there is exactly one underlying
            point: uint256 = scenario - FIRST_POINT
            totals.loss = convert(max(-part.points[point % 9][point // 9], 0), uint256)
        elif len(scenarios) != 0:
            sums = joint_scan._accumulate(sums, scenarios, part.points, u)

    if scenario < FIRST_POINT:
        totals.loss = joint_scan._loss(joint_sum)
    elif scenario == EVERY:
        totals.loss = totals.scan_sum
        if totals.flags & c.FLAG_JOINT_MISSING == 0 and inputs.active_count >= 2:
            totals.loss, totals.worst_joint = joint_scan._worst(sums, len(scenarios))
    return totals


@internal
@view
def _read(words: DynArray[uint256, c.MAX_WORDS]) -> Inputs:
    """
    @notice Finds the active underlyings and reads what concerns them. Sections 2 and 3.
    """
    inputs: Inputs = empty(Inputs)
    head: uint256 = words[0]
    perps: uint256 = (head >> 128) & LANE
    collaterals: uint256 = (head >> 144) & LANE
    optioned: uint256 = 0
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        counts: uint256 = (head & (2**128 - 1)) >> (8 * u)
        if counts == 0:
            break
        if counts & 255 != 0:
            optioned |= 1 << u
    inputs.active = optioned | perps
    for k: uint256 in range(c.MAX_COLLATERALS):
        if collaterals >> k == 0:
            break
        if (collaterals >> k) & 1 == 1:
            word: uint256 = words[2 + inputs.collateral_count]
            inputs.collateral_count += 1
            linked: uint256 = (word >> 152) & 255
            if linked != 0 and word & (2**128 - 1) != 0:
                inputs.active |= 1 << (linked - 1)
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if inputs.active >> u == 0:
            break
        inputs.active_count += (inputs.active >> u) & 1

    inputs.prices = staticcall IPriceOracle(ORACLE).read(inputs.active, collaterals)
    inputs.parameters = staticcall IRiskParameters(PARAMETERS).words(inputs.active, collaterals)
    if perps != 0:
        inputs.funding = staticcall IInstrumentRegistry(REGISTRY).funding(perps)
    if optioned != 0 or inputs.active_count >= 2:
        inputs.table = staticcall IRiskTable(TABLE).read(optioned)
    return inputs


@internal
@view
def _collateral(words: DynArray[uint256, c.MAX_WORDS], inputs: Inputs) -> (Totals, int256[16]):
    """
    @notice Opens the totals with cash and collateral (section 6) and with the dead prices.
    @return Totals so far and the value of the collateral linked to each underlying
    """
    totals: Totals = empty(Totals)
    linked_wad: int256[16] = empty(int256[16])
    cash: int256 = self._signed(words[1])
    counted: haircut.Counted = empty(haircut.Counted)
    for price: uint256 in inputs.prices:
        if (price >> 128) & 255 == c.PRICE_DEAD:
            totals.flags = c.FLAG_PRICE_DEAD
    for i: uint256 in range(inputs.collateral_count, bound=c.MAX_COLLATERALS):
        word: uint256 = words[2 + i]
        price: uint256 = inputs.prices[inputs.active_count + i]
        one: haircut.Counted = haircut._count(
            word, price & (2**128 - 1), inputs.parameters[1 + inputs.active_count + i]
        )
        counted.value_wad += one.value_wad
        counted.mm_wad += one.mm_wad
        if (price >> 128) & 255 != c.PRICE_DEAD:
            counted.im_wad += one.im_wad
        linked: uint256 = (word >> 152) & 255
        if linked != 0:
            linked_wad[linked - 1] += convert(one.value_wad, int256)
    totals.equity_mark = cash + convert(counted.value_wad, int256)
    totals.equity_im = cash + convert(counted.im_wad, int256)
    totals.equity_mm = cash + convert(counted.mm_wad, int256)
    totals.active_count = inputs.active_count
    totals.global_parameters = inputs.parameters[0]
    totals.worst_joint = joint_scan.NO_SCENARIO
    return totals, linked_wad


@internal
@view
def _holding(
    words: DynArray[uint256, c.MAX_WORDS], inputs: Inputs, before: Cursor, underlying: uint256
) -> (underlying_risk.Holding, Cursor):
    """
    @notice Reads one active underlying's words and inputs and moves past them.
    """
    cursor: Cursor = before
    holding: underlying_risk.Holding = empty(underlying_risk.Holding)
    holding.price_wad = inputs.prices[cursor.active] & (2**128 - 1)
    cursor.active += 1
    holding.parameters = inputs.parameters[cursor.active]
    holding.columns = ALL_COLUMNS
    holding.options = (words[0] >> (8 * underlying)) & 255
    if (words[0] >> (128 + underlying)) & 1 == 1:
        holding.lots = self._signed(words[cursor.word] << 192) >> 192
        holding.quote = self._signed(words[cursor.word]) >> 64
        holding.funding_wad = self._signed(inputs.funding[cursor.perp]) - self._signed(words[cursor.word + 1])
        cursor.word += 2
        cursor.perp += 1
    holding.first = cursor.word
    if holding.options != 0:
        holding.page_1 = inputs.table[cursor.page]
        holding.page_2 = inputs.table[cursor.page + 1]
        cursor.page += 2
        cursor.word += (holding.options + 3) >> 2
    return holding, cursor


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
    elif scenario != EVERY:
        assert scenario < FIRST_POINT + 27, errors.NO_SCENARIO
        assert active_count == 1, errors.SEVERAL_ACTIVE


@internal
@pure
def _signed(word: uint256) -> int256:
    """
    @notice The word as two's complement.
    """
    return convert(convert(word, bytes32), int256)
