# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of PriceOracle
"""

KIND: constant(String[32]) = "oracle: kind or id"
HEARTBEAT: constant(String[32]) = "oracle: heartbeat"
DEAD_AGE: constant(String[32]) = "oracle: dead age"
DECIMALS: constant(String[32]) = "oracle: feed decimals"
SECONDARY: constant(String[32]) = "oracle: secondary feed"
DEVIATION: constant(String[32]) = "oracle: deviation"
RATE_SOURCE: constant(String[32]) = "oracle: rate source"
RATE_BOUNDS: constant(String[32]) = "oracle: rate bounds"
SEQUENCER: constant(String[32]) = "oracle: sequencer feed"
NOT_LIVE: constant(String[32]) = "oracle: feed not live"
LITTLE_GAS: constant(String[32]) = "oracle: too little gas"
ROUND: constant(String[32]) = "oracle: no such round"
ROUND_LATE: constant(String[32]) = "oracle: round too late"
ROUND_EARLY: constant(String[32]) = "oracle: not the last round"
ROUND_NEXT: constant(String[32]) = "oracle: not the next round"
ROUND_PHASE: constant(String[32]) = "oracle: phase of the round"
