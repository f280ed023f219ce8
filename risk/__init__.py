# SPDX-License-Identifier: Apache-2.0
"""Ballast's risk model: arrays in, arrays and small frozen records out.

No clock, environment or network; randomness is a ``numpy.random.Generator`` argument. See docs/margin-rule.md for the
rule on chain and ``risk.margin`` for the same rule in floats.
"""
