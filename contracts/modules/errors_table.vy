# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of RiskTable
"""

NOT_GUARDIAN: constant(String[32]) = "table: not guardian"
NO_GOVERNANCE: constant(String[32]) = "table: no governance"
BAD_LIMITS: constant(String[32]) = "table: limits"
BAD_TERMS: constant(String[32]) = "table: terms"

# who signed
BAD_QUORUM: constant(String[32]) = "table: quorum"
TOO_FEW: constant(String[32]) = "table: too few signatures"
SIGNER_ORDER: constant(String[32]) = "table: signer order"
NOT_PUBLISHER: constant(String[32]) = "table: not publisher"
NO_PUBLISHER: constant(String[32]) = "table: no publisher"
PUBLISHERS_FULL: constant(String[32]) = "table: publishers full"
LOW_BOND: constant(String[32]) = "table: low bond"
SIGNATURE: constant(String[32]) = "table: signature"

# what an epoch says
UNKNOWN_UNDERLYING: constant(String[32]) = "table: unknown underlying"
BAD_EPOCH: constant(String[32]) = "table: epoch"
TOO_SOON: constant(String[32]) = "table: too soon"
OBSERVED_IN_FUTURE: constant(String[32]) = "table: observed in future"
OBSERVED_NOT_NEWER: constant(String[32]) = "table: observed not newer"
OBSERVED_TOO_OLD: constant(String[32]) = "table: observed too old"
EXPIRED: constant(String[32]) = "table: expired"
LIFE_TOO_LONG: constant(String[32]) = "table: life too long"
SURFACE_ORDER: constant(String[32]) = "table: surface order"
OUTLIVES_EXPIRY: constant(String[32]) = "table: outlives an expiry"
PRICE_NOT_FRESH: constant(String[32]) = "table: price not fresh"
REFERENCE: constant(String[32]) = "table: reference price"
LANE_UNIT: constant(String[32]) = "table: lane unit"
GRID_STEP: constant(String[32]) = "table: grid step"
SHOCKS: constant(String[32]) = "table: shocks"
VOL: constant(String[32]) = "table: vol"
VOL_STEP: constant(String[32]) = "table: vol step"
ROW_LENGTH: constant(String[32]) = "table: row length"
ROW_COUNT: constant(String[32]) = "table: row count"
SCENARIOS: constant(String[32]) = "table: scenarios"

# bonds and challenges
NOTHING_CAME: constant(String[32]) = "table: nothing came"
NOT_SENT: constant(String[32]) = "table: not sent"
BOND: constant(String[32]) = "table: bond"
NO_REQUEST: constant(String[32]) = "table: no request"
TOO_EARLY: constant(String[32]) = "table: too early"
NO_REWARD: constant(String[32]) = "table: no reward"
CHALLENGES_OFF: constant(String[32]) = "table: challenges off"
NOT_IN_FORCE: constant(String[32]) = "table: not in force"
NO_ROW: constant(String[32]) = "table: no row"
NOT_WRONG: constant(String[32]) = "table: not wrong"
