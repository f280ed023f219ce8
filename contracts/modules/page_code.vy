# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Rows in the code of a data contract
@notice A STOP byte, so that a call does nothing, and then the rows, 96 bytes each.
"""

from contracts.modules import constants as c
from contracts.modules import errors_table as e


# copies what follows it to the new contract's code: PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN; the first byte
# of that code is STOP
PUSH2: constant(Bytes[1]) = x"61"
COPY: constant(Bytes[8]) = x"80600a5f395ff300"

# what fits into the code of one contract
MAX_BYTES: constant(uint256) = 24_480
_MASK_160: constant(uint256) = 2**160 - 1


@internal
@view
def _row_count(word: uint256) -> uint256:
    """
    @notice Number of rows of the page that a page word 1 points to, 0 when there is none
    """
    page: address = convert(word & _MASK_160, address)
    return 0 if page == empty(address) else (page.codesize - 1) // c.ROW_BYTES


@internal
@view
def _row(word: uint256, slot: uint256) -> Bytes[c.ROW_BYTES]:
    """
    @notice The 96 bytes of one slot
    """
    assert slot < self._row_count(word), e.NO_ROW
    return slice(convert(word & _MASK_160, address).code, 1 + slot * c.ROW_BYTES, c.ROW_BYTES)
