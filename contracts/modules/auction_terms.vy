# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Terms of the liquidation auctions
@notice The settings, set by governance inside constant ranges, and the prices that follow from them. A change of
        settings also applies to running auctions.
"""

from contracts.modules import auction_math
from contracts.modules import constants as c
from contracts.modules import errors_auction as e
from contracts.modules import fixed_math
from snekmate.auth import ownable

uses: ownable


event SettingsSet:
    settings: Settings


# Discount: start_bps, linear to fast_bps in fast_s, linear to slow_bps in slow_s more. insolvent_s: time in which the
# reward of the insolvent phase rises to the account's size (MM and the haircuts of its collateral). Buffers are parts
# of MM: a sale may bring the account to target_buffer_bps above it, the auction ends at end_buffer_bps above it.
# min_slice_wad: least size of a slice and of what is left. tick_s: most that a clock counts between two calls that
# record it. reward_gas: gas that the caller of a start is paid for.
struct Settings:
    start_bps: uint256
    fast_bps: uint256
    slow_bps: uint256
    fast_s: uint256
    slow_s: uint256
    insolvent_s: uint256
    target_buffer_bps: uint256
    end_buffer_bps: uint256
    min_slice_wad: uint256
    tick_s: uint256
    reward_gas: uint256


_MINUTE: constant(uint256) = 60
_DAY: constant(uint256) = 86_400


_settings: Settings


@deploy
def __init__():
    """
    @notice 1 % at once, 20 % after 15 minutes, everything after 12 hours more (a peer: 5 %, 30 %, 100 % in the same
            times); 1 hour for the insolvent reward; sold to 15 % above MM, ended at 10 %; slices of 100 USD of size; ticks of
            15 minutes; twice the gas that a start of a book of options takes
    @dev slow_bps of 100 % makes the price zero at the moment that the insolvent phase starts paying from zero: it
         does not jump there.
    """
    self._store(
        Settings(
            start_bps=100,
            fast_bps=2_000,
            slow_bps=10_000,
            fast_s=15 * _MINUTE,
            slow_s=_DAY // 2,
            insolvent_s=60 * _MINUTE,
            target_buffer_bps=1_500,
            end_buffer_bps=1_000,
            min_slice_wad=100 * c.WAD,
            tick_s=15 * _MINUTE,
            reward_gas=600_000,
        )
    )


@external
def set_settings(settings: Settings):
    """
    @notice Replaces the settings
    @dev Abuse: a large start discount gives accounts away, a slow clock leaves bad debt unsold, a large slice
         liquidates small accounts whole. The ranges are the damage.
    """
    ownable._check_owner()
    self._store(settings)


@external
@view
def settings() -> Settings:
    """
    @notice The settings
    """
    return self._settings


@internal
@view
def _is_cured(equity_mm: int256, mm: uint256, doubt: uint256) -> bool:
    """
    @notice Above MM by the end buffer, or empty, even with all that dead data leaves in doubt taken off
    @custom:invariant I-67
    """
    return equity_mm - convert(doubt, int256) >= auction_math._buffered(mm, self._settings.end_buffer_bps)


@internal
@view
def _solvent_s() -> uint256:
    """
    @notice How much of its clock an account with equity is for sale before a bidder is paid to take it (s)
    """
    return self._settings.fast_s + self._settings.slow_s


@internal
@view
def _discount_wad(elapsed_s: uint256) -> uint256:
    """
    @notice Discount on equity after `elapsed_s` of the solvent clock, wad
    """
    settings: Settings = self._settings
    return auction_math._discount_wad(
        elapsed_s, settings.start_bps, settings.fast_bps, settings.slow_bps, settings.fast_s, settings.slow_s
    )


@internal
@view
def _target(mm: uint256) -> int256:
    """
    @notice Maintenance equity that a sale may bring the account to, wad
    """
    return auction_math._buffered(mm, self._settings.target_buffer_bps)


@internal
@view
def _sale(
    wanted_wad: uint256,
    equity_mark: uint256,
    equity_mm: int256,
    mm: uint256,
    size: uint256,
    reserve_wad: uint256,
    discount_wad: uint256,
) -> (uint256, uint256):
    """
    @notice Terms of a bid in the solvent phase: (fraction that may be taken, its price), wad; reverts when nothing may
    """
    whole_wad: uint256 = auction_math._price_wad(equity_mark, discount_wad)
    # the reserve is part of MM and does not shrink with the account
    fixed_wad: uint256 = convert(self._target(reserve_wad), uint256)
    cap_wad: uint256 = auction_math._max_fraction(equity_mm, self._target(mm), whole_wad, fixed_wad)
    assert cap_wad != 0, e.HEALTHY
    fraction_wad: uint256 = self._fraction(wanted_wad, cap_wad, size)
    # up: favours the account
    return fraction_wad, fixed_math._mul_div_up(whole_wad, fraction_wad, c.WAD)


@internal
@view
def _rescue(wanted_wad: uint256, equity_mark: int256, size: uint256, elapsed_s: uint256) -> (uint256, uint256):
    """
    @notice Terms of a bid in the insolvent phase: (fraction that is taken, what the bidder is paid), wad
    """
    whole_wad: uint256 = auction_math._payout_wad(equity_mark, size, elapsed_s, self._settings.insolvent_s)
    fraction_wad: uint256 = self._fraction(wanted_wad, c.WAD, size)
    # down: favours the insurance fund
    return fraction_wad, fixed_math._mul_div_down(whole_wad, fraction_wad, c.WAD)


@internal
@view
def _fraction(wanted_wad: uint256, cap_wad: uint256, size: uint256) -> uint256:
    """
    @notice Fraction that a bid takes: at most the cap, the whole when the rest would be dust
    @dev A slice must have a size of at least min_slice_wad, unless it is all that may be taken: otherwise many
         tiny bids could be paid for lots that round to zero.
    """
    min_slice_wad: uint256 = self._settings.min_slice_wad
    fraction_wad: uint256 = auction_math._whole_if_dust(min(wanted_wad, cap_wad), size, min_slice_wad)
    assert fraction_wad >= cap_wad or size * fraction_wad >= min_slice_wad * c.WAD, e.TOO_SMALL
    return fraction_wad


@internal
@view
def _check_legs(relief_wad: uint256, equity_mm: int256, mm: uint256):
    """
    @notice Single legs may not take more than a sale of everything would, nor so little that rounding pays for it
    """
    assert equity_mm <= self._target(mm), e.TOO_MUCH
    assert relief_wad >= self._settings.min_slice_wad or self._is_cured(equity_mm, mm, 0), e.TOO_SMALL


@internal
def _store(settings: Settings):
    assert (
        settings.start_bps <= 2_000
        and settings.start_bps <= settings.fast_bps
        and settings.fast_bps <= settings.slow_bps
        and settings.slow_bps <= c.BPS
    ), e.SETTINGS
    assert settings.fast_s >= _MINUTE and settings.fast_s <= _DAY, e.SETTINGS
    assert settings.slow_s >= 10 * _MINUTE and settings.slow_s <= 7 * _DAY, e.SETTINGS
    assert settings.insolvent_s >= 10 * _MINUTE and settings.insolvent_s <= 7 * _DAY, e.SETTINGS
    # a sale that reaches its target must also end the auction, with room for the rounding of lots
    assert settings.end_buffer_bps >= 100 and settings.target_buffer_bps >= settings.end_buffer_bps + 100, e.SETTINGS
    assert settings.target_buffer_bps <= 5_000, e.SETTINGS
    # not zero: see _fraction
    assert settings.min_slice_wad >= 10 * c.WAD and settings.min_slice_wad <= 10_000 * c.WAD, e.SETTINGS
    assert settings.tick_s >= _MINUTE and settings.tick_s <= _DAY, e.SETTINGS
    assert settings.reward_gas <= 5_000_000, e.SETTINGS
    self._settings = settings
    log SettingsSet(settings=settings)
