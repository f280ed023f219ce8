# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of SignedTradeVenue
"""

SIDES: constant(String[32]) = "venue: not buyer and seller"
INSTRUMENT: constant(String[32]) = "venue: instruments differ"
SIGNER: constant(String[32]) = "venue: signer not authorised"
SIGNATURE: constant(String[32]) = "venue: bad signature"
EXPIRED: constant(String[32]) = "venue: order expired"
CANCELLED: constant(String[32]) = "venue: order cancelled"
PRICE: constant(String[32]) = "venue: price outside limit"
LOTS: constant(String[32]) = "venue: lots exceed order"
SERIAL: constant(String[32]) = "venue: other listing"
MIN_FILL: constant(String[32]) = "venue: fill below minimum"
ZERO_LOTS: constant(String[32]) = "venue: zero lots"
FEE: constant(String[32]) = "venue: fee above order limit"
FEE_BOUND: constant(String[32]) = "venue: fee above bound"
