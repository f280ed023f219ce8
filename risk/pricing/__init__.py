# SPDX-License-Identifier: Apache-2.0
"""Values of instruments: Black-76 options, SVI volatility surfaces, delta-one payoffs."""
