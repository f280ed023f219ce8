# SPDX-License-Identifier: Apache-2.0
"""Liquidation: which accounts, how much of them, at what price."""
