# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Cash: signed balances that earn or owe interest
@notice An account's cash is stored scaled: positive by the supply index, negative by the borrow index. One token,
        kinked interest curve, part of the interest to account 0. Everything is in wad.
@custom:invariant I-01, I-07 Rounding never creates cash. With S and B the scaled totals, si and bi the indices:
    S*si/1e18 - B*bi/1e18  <=  tokens booked + cash realised from positions whose other side is not settled.
    Proof. What an account shows is at most what it truly has: floor(s*si) if positive, -ceil(|s|*bi) if negative. `_move`
    takes the shown value, adds `delta` and rounds back the same way, so the true value rises by at most `delta`. Each
    caller's deltas add up to what was booked in or out, or are offset in bases and dust. Accrual pays lenders and the
    reserve floor shares of a floor of the interest owed. A socialised loss lowers si by a ceiling.
"""

from ethereum.ercs import IERC20
from ethereum.ercs import IERC20Detailed

from contracts.interfaces import IMarginAccounts
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math
from contracts.modules import rate_curve
from contracts.modules import token_book

uses: token_book

struct Indices:
    supply_wad: uint256
    borrow_wad: uint256
    # scaled supply that account 0 earns by accruing now
    reserve_scaled: uint256


MASK_104: constant(uint256) = 2**104 - 1
MASK_16: constant(uint256) = 2**16 - 1
MASK_160: constant(uint256) = 2**160 - 1
MASK_128: constant(uint256) = 2**128 - 1
# One loss on lenders stops here: at zero nobody could deposit. A supply index below a thousandth then becomes a million times
# as high and every scaled credit a millionth, its era one later: so what is lent after a loss bears the next one.
MIN_SUPPLY_INDEX: constant(uint256) = 10**12
NEXT_ERA_BELOW: constant(uint256) = 10**15
ERA_SCALE: constant(uint256) = 10**6
LAST_ERA: constant(uint256) = MASK_16
# Less scaled supply earns nothing: interest would take its index to the ceiling, where it stays. The reserve gets it all.
MIN_EARNING_SCALED: constant(uint256) = c.WAD
PROTOCOL: constant(uint256) = 0
LOTS_PER_UNIT_INT: constant(int256) = 10**6

TOKEN: immutable(address)
# wad per raw unit
SCALE: immutable(uint256)

# supply index wad (0..103) | borrow index wad (104..207) | era of the supply index (208..223) | accrued at (224..255)
_indices: uint256
# scaled supply (0..127) | scaled borrow (128..255)
_totals: uint256
# rate_curve word
_curve: uint256
# scaled balance, signed (0..159) | era in which it was written (160..255), which matters to a credit alone
_balances: HashMap[uint256, uint256]
# remainders below one wad, lot x wad; whole wads go to account 0
_dust: uint256


@deploy
def __init__(token: address):
    decimals: uint256 = convert(staticcall IERC20Detailed(token).decimals(), uint256)
    if decimals > 18:
        err._fail(err.CASH_DECIMALS)
    TOKEN = token
    SCALE = 10 ** (18 - decimals)
    self._indices = c.WAD | (c.WAD << 104) | (block.timestamp << 224)
    self._set_rates(0, 400, 6_000, 9_000, 1_000)


@internal
def _set_rates(
    base_bps: uint256, slope_low_bps: uint256, slope_high_bps: uint256, kink_bps: uint256, reserve_bps: uint256
):
    self._curve = rate_curve._pack(base_bps, slope_low_bps, slope_high_bps, kink_bps, reserve_bps)


# --- interest --------------------------------------------------------------------------------------------------------


@internal
@view
def _now() -> Indices:
    """
    @notice Indices with interest to now
    @dev Bounds: index < 2^104, scaled totals < 2^128, so each product is below 2^232, and so is one over a wad times a wad.
    @custom:invariant I-08
    """
    word: uint256 = self._indices
    indices: Indices = Indices(
        supply_wad=word & MASK_104, borrow_wad=(word >> 104) & MASK_104, reserve_scaled=0
    )
    elapsed: uint256 = block.timestamp - (word >> 224)
    totals: uint256 = self._totals
    borrowed: uint256 = totals >> 128
    if elapsed == 0 or borrowed == 0:
        return indices
    supplied: uint256 = totals & MASK_128
    supplied_wad: uint256 = fixed_math._mul_div_down(supplied, indices.supply_wad, c.WAD)
    borrowed_wad: uint256 = fixed_math._mul_div_down(borrowed, indices.borrow_wad, c.WAD)
    use_wad: uint256 = c.WAD
    if borrowed_wad < supplied_wad:
        use_wad = fixed_math._mul_div_down(borrowed_wad, c.WAD, supplied_wad)
    curve: uint256 = self._curve
    growth_wad: uint256 = rate_curve._growth(curve, use_wad, elapsed)
    # saturates instead of reverting: a stuck index must not stop withdrawals (eight years at 370 % a year)
    borrow_wad: uint256 = min(
        indices.borrow_wad + fixed_math._mul_div_down(indices.borrow_wad, growth_wad, c.WAD), MASK_104
    )
    # down: lenders get no more than borrowers owe
    interest_wad: uint256 = fixed_math._mul_div_down(borrowed, borrow_wad - indices.borrow_wad, c.WAD)
    lenders_wad: uint256 = 0
    if supplied >= MIN_EARNING_SCALED:
        lenders_wad = fixed_math._mul_div_down(interest_wad, c.BPS - (curve >> 64), c.BPS)
        indices.supply_wad = min(
            indices.supply_wad + fixed_math._mul_div_down(lenders_wad, c.WAD, supplied), MASK_104
        )
    indices.borrow_wad = borrow_wad
    indices.reserve_scaled = fixed_math._mul_div_down(interest_wad - lenders_wad, c.WAD, indices.supply_wad)
    return indices


@internal
def _accrue():
    """
    @notice Books interest to now; every change of cash comes after it
    """
    word: uint256 = self._indices
    if word >> 224 == block.timestamp:
        return
    indices: Indices = self._now()
    era: uint256 = word & (MASK_16 << 208)
    self._indices = indices.supply_wad | (indices.borrow_wad << 104) | era | (block.timestamp << 224)
    if indices.reserve_scaled != 0:
        before: int256 = self._scaled(PROTOCOL)
        self._put(PROTOCOL, before, before + convert(indices.reserve_scaled, int256))
    log IMarginAccounts.InterestAccrued(borrow_index_wad=indices.borrow_wad, supply_index_wad=indices.supply_wad)


# --- balances --------------------------------------------------------------------------------------------------------


@internal
@pure
def _value(scaled: int256, supply_wad: uint256, borrow_wad: uint256) -> int256:
    """
    @notice Cash (wad) of a scaled balance, rounded against the account
    """
    if scaled >= 0:
        return convert(fixed_math._mul_div_down(convert(scaled, uint256), supply_wad, c.WAD), int256)
    return -convert(fixed_math._mul_div_up(convert(-scaled, uint256), borrow_wad, c.WAD), int256)


@internal
@view
def _era() -> uint256:
    return (self._indices >> 208) & MASK_16


@internal
@view
def _scaled(account: uint256) -> int256:
    """
    @notice Scaled balance in today's era; a credit of an earlier one is rounded down, against the account
    """
    word: uint256 = self._balances[account]
    scaled: int256 = convert(convert(word << 96, bytes32), int256) >> 96
    if scaled <= 0:
        return scaled
    passed: uint256 = self._era() - (word >> 160)
    if passed == 0:
        return scaled
    # below 2^128: seven eras leave nothing of it
    return scaled // convert(ERA_SCALE ** min(passed, 7), int256)


@internal
@view
def _of(account: uint256) -> int256:
    """
    @notice Cash with interest to now
    """
    indices: Indices = self._now()
    scaled: int256 = self._scaled(account)
    if account == PROTOCOL:
        scaled += convert(indices.reserve_scaled, int256)
    return self._value(scaled, indices.supply_wad, indices.borrow_wad)


@internal
def _move(account: uint256, delta_wad: int256) -> int256:
    """
    @notice Adds `delta_wad` to an account's cash; returns the resulting cash. The caller has accrued
    @dev Both the old and the new balance round against the account.
    """
    indices: uint256 = self._indices
    supply_wad: uint256 = indices & MASK_104
    borrow_wad: uint256 = (indices >> 104) & MASK_104
    scaled: int256 = self._scaled(account)
    if delta_wad != 0:
        before: int256 = scaled
        cash_wad: int256 = self._value(before, supply_wad, borrow_wad) + delta_wad
        if cash_wad >= 0:
            scaled = convert(fixed_math._mul_div_down(convert(cash_wad, uint256), c.WAD, supply_wad), int256)
        else:
            scaled = -convert(fixed_math._mul_div_up(convert(-cash_wad, uint256), c.WAD, borrow_wad), int256)
        self._put(account, before, scaled)
    return self._value(scaled, supply_wad, borrow_wad)


@internal
def _put(account: uint256, before: int256, scaled: int256):
    totals: uint256 = self._totals
    supplied: int256 = convert(totals & MASK_128, int256) - max(before, 0) + max(scaled, 0)
    borrowed: int256 = convert(totals >> 128, int256) + min(before, 0) - min(scaled, 0)
    if supplied >= 2**128 or borrowed >= 2**128:
        err._fail(err.TOTALS)
    self._balances[account] = (convert(convert(scaled, bytes32), uint256) & MASK_160) | (self._era() << 160)
    self._totals = convert(supplied, uint256) | (convert(borrowed, uint256) << 128)


@internal
def _pay(account: uint256, exact: int256, extra_wad: int256) -> (int256, int256):
    """
    @notice Adds `exact` (lot x wad, floored to wad against the account) and `extra_wad` to an account's cash
    @dev The remainder is kept as dust, whose whole wads become account 0's cash: nothing is lost or created.
    @return (floored `exact` in wad, resulting cash in wad)
    @custom:invariant I-06
    """
    value_wad: int256 = fixed_math._floor_div(exact, LOTS_PER_UNIT_INT)
    cash_wad: int256 = self._move(account, value_wad + extra_wad)
    remainder: int256 = exact - value_wad * LOTS_PER_UNIT_INT
    if remainder != 0:
        # both terms are below 1e6
        dust: uint256 = self._dust + convert(remainder, uint256)
        if dust >= c.LOTS_PER_UNIT:
            dust -= c.LOTS_PER_UNIT
            self._move(PROTOCOL, 1)
        self._dust = dust
    return value_wad, cash_wad


# --- tokens ----------------------------------------------------------------------------------------------------------


@internal
def _deposit(amount_raw: uint256) -> int256:
    """
    @notice Books tokens that have arrived; returns their wad
    """
    token_book._in(amount_raw, amount_raw)
    # the book is below 2^112
    return convert(amount_raw * SCALE, int256)


@internal
def _withdraw(amount_raw: uint256) -> int256:
    """
    @notice Books tokens that are about to leave; returns their wad
    """
    token_book._out(amount_raw)
    return convert(amount_raw * SCALE, int256)
