# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of the margin engine and its lens
"""

NO_SCENARIO: constant(String[32]) = "engine: no scenario"
NO_STATE: constant(String[32]) = "engine: no state"
SEVERAL_ACTIVE: constant(String[32]) = "engine: several underlyings"
DOUBT: constant(String[32]) = "engine: doubt"
BAD_INSTRUMENT: constant(String[32]) = "engine: instrument"
BAD_LOTS: constant(String[32]) = "engine: lots"
BAD_PRICE: constant(String[32]) = "engine: price"
BAD_ASSET: constant(String[32]) = "engine: asset"
BAD_AMOUNT: constant(String[32]) = "engine: amount"
TOO_MANY_POSITIONS: constant(String[32]) = "engine: positions"
