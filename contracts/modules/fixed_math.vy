# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Division with a named direction
@notice Vyper's `//` and `%` truncate towards zero on signed integers; these round the way their name says, for
        every sign of the numerator. Products are checked: they revert when they do not fit 256 bits, so a caller
        that may never revert proves its own bound. A zero denominator reverts.
"""


@internal
@pure
def _mul_div_down(a: uint256, b: uint256, denominator: uint256) -> uint256:
    """
    @notice floor(a * b / denominator)
    """
    return a * b // denominator


@internal
@pure
def _mul_div_up(a: uint256, b: uint256, denominator: uint256) -> uint256:
    """
    @notice ceil(a * b / denominator)
    """
    return self._div_up(a * b, denominator)


@internal
@pure
def _div_up(a: uint256, denominator: uint256) -> uint256:
    """
    @notice ceil(a / denominator)
    """
    quotient: uint256 = a // denominator
    # `quotient + 1` cannot wrap: a non-zero remainder means denominator >= 2, so quotient < 2^255
    return unsafe_add(quotient, convert(a % denominator != 0, uint256))


@internal
@pure
def _floor_div(a: int256, denominator: int256) -> int256:
    """
    @notice floor(a / denominator), denominator > 0
    """
    assert denominator > 0, "math: denominator"
    # truncation is at most one above the floor; the quotient cannot be min(int256) when a remainder is left
    return unsafe_sub(a // denominator, convert(a % denominator < 0, int256))


@internal
@pure
def _ceil_div(a: int256, denominator: int256) -> int256:
    """
    @notice ceil(a / denominator), denominator > 0
    """
    assert denominator > 0, "math: denominator"
    return unsafe_add(a // denominator, convert(a % denominator > 0, int256))


@internal
@pure
def _signed_mul_div_down(a: int256, b: int256, denominator: int256) -> int256:
    """
    @notice floor(a * b / denominator), denominator > 0
    """
    return self._floor_div(a * b, denominator)


@internal
@pure
def _signed_mul_div_up(a: int256, b: int256, denominator: int256) -> int256:
    """
    @notice ceil(a * b / denominator), denominator > 0
    """
    return self._ceil_div(a * b, denominator)
