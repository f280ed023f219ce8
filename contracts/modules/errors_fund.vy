# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of InsuranceFund
"""

NOT_AUCTION: constant(String[32]) = "fund: not auction"
NO_GOVERNANCE: constant(String[32]) = "fund: no governance"
NO_ACCOUNTS: constant(String[32]) = "fund: no accounts"
NOT_SENT: constant(String[32]) = "fund: not sent"
SENT_MORE: constant(String[32]) = "fund: sent too much"
SHARES: constant(String[32]) = "fund: more than held"
NOT_ANNOUNCED: constant(String[32]) = "fund: exit not open"
LOSS_KNOWN: constant(String[32]) = "fund: loss outstanding"
ANNOUNCED: constant(String[32]) = "fund: shares announced to leave"
