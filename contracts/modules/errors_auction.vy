# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of LiquidationAuction
"""

NO_AUCTION: constant(String[32]) = "auction: none"
RUNNING: constant(String[32]) = "auction: running"
HEALTHY: constant(String[32]) = "auction: healthy"
UNHEALTHY: constant(String[32]) = "auction: unhealthy"
PRICE_DEAD: constant(String[32]) = "auction: price dead"
NOT_AUTHORISED: constant(String[32]) = "auction: not authorised"
SELF_BID: constant(String[32]) = "auction: own account"
NONCE: constant(String[32]) = "auction: nonce"
FRACTION: constant(String[32]) = "auction: fraction"
TOO_SMALL: constant(String[32]) = "auction: bid too small"
TOO_DEAR: constant(String[32]) = "auction: price above limit"
BIDDER_HEALTH: constant(String[32]) = "auction: bidder health"
HEALTH_FELL: constant(String[32]) = "auction: health fell"
SOLVENT: constant(String[32]) = "auction: solvent"
NO_GOVERNANCE: constant(String[32]) = "auction: no governance"
CASH_DECIMALS: constant(String[32]) = "auction: cash decimals"
SETTINGS: constant(String[32]) = "auction: setting out of range"
