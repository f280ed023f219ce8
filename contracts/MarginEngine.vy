# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title The margin rule
@license GNU Affero General Public License v3.0 only
@notice Says what an account is worth and what it must hold. docs/margin-rule.md is normative, section numbers below
        are its own; risk/onchain.py is the other implementation and returns the same integers.
@dev Stateless: it stores nothing, so its views hold no reentrancy lock and may be read in the middle of a call. It must not
     revert for any account that exists. All amounts wad unless named otherwise.
"""

from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IMarginEngine
from contracts.modules import constants as c
from contracts.modules import delta_one
from contracts.modules import errors_engine as errors
from contracts.modules import fill_band
from contracts.modules import haircut
from contracts.modules import joint_point
from contracts.modules import joint_scan
from contracts.modules import last_day
from contracts.modules import live_grid
from contracts.modules import margin_inputs
from contracts.modules import requirement
from contracts.modules import row_sum
from contracts.modules import state_words
from contracts.modules import underlying_risk

implements: IMarginEngine

ACCOUNTS: public(immutable(address))
REGISTRY: public(immutable(address))
ORACLE: public(immutable(address))
PARAMETERS: public(immutable(address))
TABLE: public(immutable(address))

ALL_COLUMNS: constant(uint256) = 2**9 - 1
# bits of one underlying among those of its perpetual and futures
DELTA_ONES: constant(uint256) = 1 + 2**16 + 2**32
# scenarios of assess_at from here on are points of the scan
FIRST_POINT: constant(uint256) = joint_point.FIRST_POINT
POINTS: constant(uint256) = 27
EVERY: constant(uint256) = FIRST_POINT + POINTS
# no joint scenario, but the sum of the scans, which none of them can exceed
SCANS_ONLY: constant(uint256) = EVERY + 1


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
    return self._run(account, [], EVERY)


@external
@view
def assess_state(words: DynArray[uint256, c.MAX_WORDS]) -> IMarginEngine.Assessment:
    """
    @notice The same for any state, whether or not an account has it.
    @param words Words as MarginAccounts.state gives them
    """
    assert len(words) >= 2, errors.NO_STATE
    return self._run(0, words, EVERY)


@external
@view
def assess_at(account: uint256, scenario: uint256) -> (int256, uint256):
    """
    @notice One scenario as a cheap proof: when the first number is below the second, so is maintenance margin's health
            below zero. Reverts while data so old that the account might stand better is in it.
    @param account Account number
    @param scenario < 64: joint scenario (two or more active underlyings); 64 + 9 * v + n: scan point (exactly one)
    @return Equity for maintenance margin and a lower bound of the requirement, wad
    """
    assert scenario < EVERY, errors.NO_SCENARIO
    result: IMarginEngine.Assessment = self._run(account, [], scenario)
    assert result.doubt == 0, errors.DOUBT
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
    result: IMarginEngine.Assessment = self._run(account, [], SCANS_ONLY)
    if result.equity_im < convert(result.im, int256) and len(result.scans) >= 2:
        result = self._run(account, [], EVERY)
    return result.equity_im >= convert(result.im, int256), result.flags


@external
@view
def price_band(instrument: uint256) -> (uint256, uint256, uint256):
    """
    @notice Prices at which an instrument may be traded (section 8), wad per unit; all 0 when there is no price, no row,
            or the perpetual or future is settled. The low end is rounded down, the high end of those two up.
    @param instrument underlying << 8 | slot
    @return Mark, lowest and highest price
    """
    return fill_band._of(instrument, ORACLE, PARAMETERS, REGISTRY, TABLE)


@internal
@view
def _run(account: uint256, words: DynArray[uint256, c.MAX_WORDS], scenario: uint256) -> IMarginEngine.Assessment:
    """
    @notice Evaluates the active underlyings one after the other, then the scenarios over all of them.
    @dev The loop is in here because passing words and inputs on would copy them for every underlying.
         Unchecked operations: an underlying's sums are below 2^246 (see underlying_risk), collateral's below 2^220, and
         indices below 2^9.
    @param account Account number
    @param words State words (section 2) to use; if empty, the account's are read into it
    @param scenario Scenario of assess_at, whose bound then is the result's mm; or EVERY; or SCANS_ONLY, for which the
           requirements are upper bounds
    """
    if len(words) == 0:
        words = staticcall IMarginAccounts(ACCOUNTS).state(account, skip_contract_check=True)
    result: IMarginEngine.Assessment = empty(IMarginEngine.Assessment)
    shape: state_words.Shape = state_words._shape(words)
    prices: DynArray[uint256, 32] = margin_inputs._prices(ORACLE, shape.active, shape.collaterals)
    parameters: DynArray[uint256, 33] = margin_inputs._parameters(PARAMETERS, shape.active, shape.collaterals)
    marks: DynArray[uint256, 48] = []
    if shape.delta_ones != 0:
        marks = margin_inputs._marks(REGISTRY, shape.delta_ones)
    table: DynArray[uint256, 33] = []
    if shape.active_count >= 2 or shape.optioned != 0:
        wanted: uint256 = shape.optioned
        if shape.active_count < 2:
            wanted |= margin_inputs.WITHOUT_JOINT
        table = margin_inputs._table(TABLE, wanted)

    sums: requirement.Sums = empty(requirement.Sums)
    linked: uint256[c.MAX_UNDERLYINGS] = empty(uint256[c.MAX_UNDERLYINGS])
    index: uint256 = shape.active_count
    for i: uint256 in range(2, shape.cursor, bound=c.MAX_COLLATERALS):
        price: uint256 = prices[index]
        index = unsafe_add(index, 1)
        counted: haircut.Counted = haircut._count(words[i], price, parameters[index])
        sums.value_wad = unsafe_add(sums.value_wad, counted.value_wad)
        sums.im_wad = unsafe_add(sums.im_wad, counted.im_wad)
        sums.mm_wad = unsafe_add(sums.mm_wad, counted.mm_wad)
        result.doubt = unsafe_add(result.doubt, counted.doubt_wad)
        if (price >> 128) & 255 == c.PRICE_DEAD:
            result.flags |= c.FLAG_PRICE_DEAD
        underlying: uint256 = (words[i] >> state_words.LINKED_SHIFT) & 255
        if underlying != 0:
            underlying = unsafe_sub(underlying, 1)
            linked[underlying] = unsafe_add(linked[underlying], counted.value_wad)
    joint_count: uint256 = 0
    if shape.active_count >= 2:
        joint_count = joint_scan._count(table[0])
        result.flags |= joint_scan._flags(table[0])
    chosen: uint256 = 0
    if scenario < FIRST_POINT:
        assert shape.active_count >= 2 and scenario < joint_count, errors.NO_SCENARIO
        chosen = joint_point._scenario(table[0], scenario)
    elif scenario < EVERY:
        assert shape.active_count == 1, errors.SEVERAL_ACTIVE
    scenarios: DynArray[uint256[4], 16] = []
    joint_sums: uint256[4][16] = empty(uint256[4][16])
    # underlyings without options, and their straight lines one after the other
    flats: joint_scan.Lines = empty(joint_scan.Lines)
    if scenario == EVERY and joint_count != 0:
        scenarios = joint_scan._load(table[0], joint_count)
    # profit and loss in the one scenario asked for
    optioned_sum: uint256 = 0
    flat_sum: uint256 = 0

    # of an underlying with contracts in their last day: the account as it is, and what initial margin asks without them
    full: underlying_risk.Part = empty(underlying_risk.Part)
    full_points: int256[3][9] = empty(int256[3][9])
    later: last_day.Later = empty(last_day.Later)
    whole: underlying_risk.Holding = empty(underlying_risk.Holding)
    has_down: bool = True
    has_up: bool = True
    place: joint_point.Place = empty(joint_point.Place)

    cursor: uint256 = shape.cursor
    index = 0
    mark_index: uint256 = 0
    page_index: uint256 = 1
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if shape.active >> u == 0:
            break
        if (shape.active >> u) & 1 == 0:
            continue
        holding: underlying_risk.Holding = empty(underlying_risk.Holding)
        holding.price_word = prices[index]
        price_wad: uint256 = holding.price_word & (2**128 - 1)
        index = unsafe_add(index, 1)
        if (holding.price_word >> 128) & 255 == c.PRICE_DEAD:
            result.flags |= c.FLAG_PRICE_DEAD
        holding.parameters = parameters[index]
        holding.linked_wad = linked[u]
        # whether something ends within a day, and when the first of it does
        ends: bool = False
        next_s: uint256 = c.LAST_DAY_S
        ones: delta_one.Position[3] = empty(delta_one.Position[3])
        held: uint256 = (shape.delta_ones >> u) & DELTA_ONES
        for k: uint256 in range(3):
            if held == 0:
                break
            if held & 1 == 1:
                one: delta_one.Position = delta_one._position(words[cursor], marks[mark_index], price_wad, k != 0)
                ones[k] = one
                if one.left_s < c.LAST_DAY_S:
                    ends = True
                    if one.left_s != 0:
                        next_s = min(next_s, one.left_s)
                holding.delta_one = unsafe_add(holding.delta_one, one.value)
                holding.moving = unsafe_add(holding.moving, one.moving)
                if k != 0:
                    holding.futures_moving = unsafe_add(holding.futures_moving, one.moving)
                    holding.futures_gross = unsafe_add(holding.futures_gross, convert(abs(one.moving), uint256))
                cursor = unsafe_add(cursor, 1)
                mark_index = unsafe_add(mark_index, 1)
            held = held >> 16

        part: underlying_risk.Part = empty(underlying_risk.Part)
        points: int256[3][9] = empty(int256[3][9])
        count: uint256 = (words[0] >> unsafe_mul(8, u)) & 255
        if count != 0:
            holding.page_1 = table[page_index]
            holding.page_2 = table[unsafe_add(page_index, 1)]
            page_index = unsafe_add(page_index, 2)
            holding.columns = ALL_COLUMNS
            has_down = True
            has_up = True
            if scenario < FIRST_POINT:
                place = joint_point._place(chosen, u)
            # what only one scenario needs, unless it takes the whole live grid to tell that there is no doubt
            if scenario < EVERY and not underlying_risk._is_stale(holding):
                holding.columns, has_down, has_up = joint_point._needs(scenario, place)
        # the account as it is; where something ends within a day, without that; and with what counts of what ends next
        what: uint256 = row_sum.ALL
        for k: uint256 in range(4):
            valley_wad: uint256 = 0
            if count == 0:
                part = underlying_risk._flat(holding)
                if not ends:
                    break
            else:
                rows: row_sum.RowSum = row_sum._sum_rows(
                    words, cursor, count, holding.page_1, price_wad, has_down, has_up, what, next_s
                )
                ends = ends or rows.ends
                next_s = min(next_s, rows.next_s)
                if ends and holding.columns != ALL_COLUMNS:
                    # that takes the whole live grid
                    holding.columns = ALL_COLUMNS
                    has_down = True
                    has_up = True
                    continue
                part, points = underlying_risk._optioned(holding, rows)
                if not ends:
                    break
                if what != row_sum.ALL:
                    valley_wad = last_day._valley(holding, rows, full.equity_wad, part.equity_wad, full_points, points)
            if what == row_sum.KEPT:
                part = last_day._worse(full, part, valley_wad)
                points = last_day._lower(full_points, points)
                sums.ahead_scan_wad = unsafe_add(sums.ahead_scan_wad, last_day._beyond(later.scan_wad, part.scan_wad))
                sums.ahead_charge_wad = unsafe_add(sums.ahead_charge_wad, last_day._beyond(later.charge_wad, part.charge_wad))
                break
            if what == row_sum.ALL:
                full = part
                full_points = points
                whole = holding
            else:
                later = last_day._later(full, part, valley_wad)
            what = unsafe_add(what, 1)
            holding = last_day._without(whole, ones, what, next_s)

        if count == 0:
            if scenario < FIRST_POINT:
                flat_sum = unsafe_add(flat_sum, joint_point._flat_at(chosen, u, part.low_sloped, part.high_sloped))
            elif scenario < EVERY:
                points = live_grid._straight(part.low_sloped, part.high_sloped)
            elif scenario == EVERY and joint_count != 0:
                flats.lines[flats.count] = [part.low_sloped, part.high_sloped, convert(u, int256)]
                flats.count = unsafe_add(flats.count, 1)
        else:
            cursor = unsafe_add(cursor, unsafe_add(count, 3) >> 2)
            if scenario < FIRST_POINT:
                optioned_sum = unsafe_add(optioned_sum, joint_point._optioned_at(points, place))
            elif scenario == EVERY and joint_count != 0:
                # profit and loss x 16129, see joint_scan; here, because to pass the sums on would copy them, and four
                # at a time, because constant indices need no bounds checks
                cells: uint256[4][20] = joint_scan._cells(points)
                position: uint256 = unsafe_mul(u, 16)
                j: uint256 = 0
                for s: uint256[4] in scenarios:
                    t: uint256[4] = joint_sums[j]
                    w: uint256 = (s[0] ^ joint_scan.SIGN_BITS) >> position
                    b: uint256 = w & 255
                    w = (w >> 8) & 255
                    cell: uint256[4] = cells[unsafe_add(unsafe_div(unsafe_add(unsafe_mul(b, 4), 123), 127), unsafe_mul(w >> 7, 10))]
                    t[0] = unsafe_add(
                        unsafe_add(t[0], unsafe_add(cell[0], unsafe_mul(b, cell[1]))),
                        unsafe_mul(unsafe_add(w, convert(w == 0, uint256)), unsafe_add(cell[2], unsafe_mul(b, cell[3]))))
                    w = (s[1] ^ joint_scan.SIGN_BITS) >> position
                    b = w & 255
                    w = (w >> 8) & 255
                    cell = cells[unsafe_add(unsafe_div(unsafe_add(unsafe_mul(b, 4), 123), 127), unsafe_mul(w >> 7, 10))]
                    t[1] = unsafe_add(
                        unsafe_add(t[1], unsafe_add(cell[0], unsafe_mul(b, cell[1]))),
                        unsafe_mul(unsafe_add(w, convert(w == 0, uint256)), unsafe_add(cell[2], unsafe_mul(b, cell[3]))))
                    w = (s[2] ^ joint_scan.SIGN_BITS) >> position
                    b = w & 255
                    w = (w >> 8) & 255
                    cell = cells[unsafe_add(unsafe_div(unsafe_add(unsafe_mul(b, 4), 123), 127), unsafe_mul(w >> 7, 10))]
                    t[2] = unsafe_add(
                        unsafe_add(t[2], unsafe_add(cell[0], unsafe_mul(b, cell[1]))),
                        unsafe_mul(unsafe_add(w, convert(w == 0, uint256)), unsafe_add(cell[2], unsafe_mul(b, cell[3]))))
                    w = (s[3] ^ joint_scan.SIGN_BITS) >> position
                    b = w & 255
                    w = (w >> 8) & 255
                    cell = cells[unsafe_add(unsafe_div(unsafe_add(unsafe_mul(b, 4), 123), 127), unsafe_mul(w >> 7, 10))]
                    t[3] = unsafe_add(
                        unsafe_add(t[3], unsafe_add(cell[0], unsafe_mul(b, cell[1]))),
                        unsafe_mul(unsafe_add(w, convert(w == 0, uint256)), unsafe_add(cell[2], unsafe_mul(b, cell[3]))))
                    joint_sums[j] = t
                    j = unsafe_add(j, 1)
        if scenario >= FIRST_POINT and scenario < EVERY:
            # there is exactly one underlying
            point: uint256 = unsafe_sub(scenario, FIRST_POINT)
            sums.loss_wad = convert(max(unsafe_sub(0, points[point % 9][unsafe_div(point, 9)]), 0), uint256)
        sums.equity_wad = unsafe_add(sums.equity_wad, part.equity_wad)
        sums.lost_wad = unsafe_add(sums.lost_wad, part.lost_wad)
        sums.charges_wad = unsafe_add(sums.charges_wad, part.charge_wad)
        sums.added_wad = unsafe_add(sums.added_wad, part.added_wad)
        sums.scan_wad = unsafe_add(sums.scan_wad, part.scan_wad)
        sums.scan_max_wad = max(sums.scan_max_wad, part.scan_wad)
        result.doubt = unsafe_add(result.doubt, part.doubt_wad)
        result.flags |= part.flags
        result.scans.append(part.scan_wad)

    result.worst_joint = joint_scan.NO_SCENARIO
    if scenario < FIRST_POINT:
        sums.loss_wad = convert(max(unsafe_sub(0, joint_point._profit(optioned_sum, flat_sum)), 0), uint256)
    elif scenario >= EVERY:
        # one underlying, or no scenarios to go by: the scans as they are
        sums.loss_wad = sums.scan_wad
        sums.loss_im_wad = sums.scan_wad
        if shape.active_count >= 2:
            if scenario == EVERY and result.flags & c.FLAG_JOINT_MISSING == 0:
                flat_sums: uint256[4][16] = joint_sums
                scale: uint256 = 16129
                if flats.count != 0:
                    flat_sums = joint_scan._flat_sums(scenarios, flats)
                    scale = joint_scan.FLAT_SCALE
                if flats.count != 0 and shape.optioned != 0:
                    sums.loss_wad, result.worst_joint = joint_scan._worst_of_both(joint_sums, flat_sums, joint_count)
                else:
                    sums.loss_wad, result.worst_joint = joint_scan._worst(flat_sums, scale, joint_count)
            sums.loss_wad = requirement._floored(sums, parameters[0])
            sums.loss_im_wad = max(sums.loss_wad, requirement._scaled(sums.scan_wad, parameters[0] >> 80))

    # section 7; requirements up, against the account
    sums.equity_wad += convert(convert(words[1], bytes32), int256)
    reserve_wad: uint256 = 0
    if words[0] & state_words.POSITIONS != 0 or words[1] >> 255 == 1:
        reserve_wad = unsafe_mul((parameters[0] >> 64) & underlying_risk.LANE, c.WAD)
    result.equity_mark = sums.equity_wad + convert(sums.value_wad, int256)
    result.equity_im = sums.equity_wad - convert(sums.lost_wad, int256) + convert(sums.im_wad, int256)
    result.equity_mm = sums.equity_wad + convert(sums.mm_wad, int256)
    result.market_risk = sums.loss_wad
    result.charges = sums.charges_wad
    result.im = unsafe_add(requirement._initial(sums, parameters[0]), reserve_wad)
    result.mm = unsafe_add(requirement._scaled(sums.loss_wad, parameters[0] >> 16), unsafe_add(sums.charges_wad, reserve_wad))
    return result
