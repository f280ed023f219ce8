# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Constants of the margin rule
@notice Every number that is not a parameter. docs/margin-rule.md says what each means.
"""

WAD: constant(uint256) = 10**18
BPS: constant(uint256) = 10_000
LOTS_PER_UNIT: constant(uint256) = 10**6

MAX_UNDERLYINGS: constant(uint256) = 16
MAX_COLLATERALS: constant(uint256) = 16
MAX_POSITIONS: constant(uint256) = 128
MAX_ROWS: constant(uint256) = 253
MAX_JOINT: constant(uint256) = 64
PERP_SLOT: constant(uint256) = 255
FUTURE_A_SLOT: constant(uint256) = 254
FUTURE_B_SLOT: constant(uint256) = 253
MAX_LOTS: constant(uint256) = 2**55 - 1
MAX_PRICE_WAD: constant(uint256) = 2**90 - 1
MAX_WORDS: constant(uint256) = 128
# expiries of options that one page can name
MAX_SURFACES: constant(uint256) = 16

ROW_BYTES: constant(uint256) = 96
# a row's third header: tail (bits 0..10) | hour of the expiry (11..15)
TAIL_BITS: constant(uint256) = 11
MAX_TAIL: constant(uint256) = 2**11 - 1
MAX_HOUR: constant(uint256) = 31

HOUR_S: constant(uint256) = 3_600
# contracts count less and less over the last day before their expiry
LAST_DAY_S: constant(uint256) = 86_400

PRICE_FRESH: constant(uint256) = 0
PRICE_LATE: constant(uint256) = 1
PRICE_DEAD: constant(uint256) = 2

FLAG_PRICE_DEAD: constant(uint256) = 1
FLAG_TABLE_EXPIRED: constant(uint256) = 2
FLAG_ROW_MISSING: constant(uint256) = 4
FLAG_JOINT_MISSING: constant(uint256) = 8
FLAG_OFF_GRID: constant(uint256) = 16
