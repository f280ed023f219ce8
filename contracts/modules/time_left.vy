# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Time left of a contract's last day
"""

from contracts.modules import constants as c


@internal
@view
def _left_s(expiry: uint256) -> uint256:
    """
    @notice Seconds to an expiry (unix s), at most a day.
    """
    if expiry <= block.timestamp:
        return 0
    return min(unsafe_sub(expiry, block.timestamp), c.LAST_DAY_S)
