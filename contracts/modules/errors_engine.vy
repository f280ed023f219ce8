# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of the margin engine
"""

NO_SCENARIO: constant(String[32]) = "engine: no scenario"
SEVERAL_ACTIVE: constant(String[32]) = "engine: several underlyings"
PRICE_DEAD: constant(String[32]) = "engine: price dead"
BAD_INSTRUMENT: constant(String[32]) = "engine: instrument"
BAD_LOTS: constant(String[32]) = "engine: lots"
BAD_PRICE: constant(String[32]) = "engine: price"
TOO_MANY_POSITIONS: constant(String[32]) = "engine: positions"
