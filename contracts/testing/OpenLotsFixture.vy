# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Settable open interest
@notice Stands in for MarginAccounts where a test of InstrumentRegistry needs nothing else of it. Tests only.
"""

# lots held long or short, by instrument
open_lots: public(HashMap[uint256, uint256])


@external
def set_open_lots(instrument: uint256, lots: uint256):
    self.open_lots[instrument] = lots
