# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of InstrumentRegistry
"""

ROLE: constant(String[32]) = "registry: not authorised"
FULL: constant(String[32]) = "registry: full"
UNDERLYING: constant(String[32]) = "registry: unknown underlying"
EXPIRY: constant(String[32]) = "registry: expiry"
STRIKE: constant(String[32]) = "registry: strike"
DUPLICATE: constant(String[32]) = "registry: option exists"
NOT_TRADABLE: constant(String[32]) = "registry: not tradable"
EXPIRED: constant(String[32]) = "registry: expired"
NO_PERP: constant(String[32]) = "registry: no perpetual"
FUNDING_BOUND: constant(String[32]) = "registry: funding above bound"
FUNDING_PRICE: constant(String[32]) = "registry: price dead"
NOT_EXPIRED: constant(String[32]) = "registry: not expired"
SETTLED: constant(String[32]) = "registry: settled before"
