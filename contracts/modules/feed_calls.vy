# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Asking a price feed that may be broken
@notice Nothing a feed does (revert, endless loop, huge or malformed return data, no code) makes a call here revert: the
        answer is 0. One thing reverts on purpose: a feed that failed while it had less than its full gas allowance,
        because otherwise a caller could kill any price by sending little gas.
@dev A round travels as one word: answer (0..127) | updated at (128..191). 0 = there is no such round, or no use in it.
"""

from contracts.modules import constants as c
from contracts.modules import errors_oracle as err

# A Chainlink proxy answers in about 20,000 gas; a rate source behind two proxies in about 60,000.
CALL_GAS: constant(uint256) = 150_000
# EIP-150 hands on at most 63/64 of what is left; 1/32 and 10,000 more are a safe bound on that and the cold access.
ENOUGH_GAS: constant(uint256) = CALL_GAS + CALL_GAS // 32 + 10_000

ANSWER: constant(uint256) = 2**128 - 1


@internal
@view
def _latest(feed: address) -> uint256:
    """
    @notice Last round of a feed
    """
    if feed == empty(address):
        return 0
    gas_before: uint256 = msg.gas
    success: bool = False
    data: Bytes[160] = b""
    # at most 160 bytes are copied, so a return-data bomb costs only its own gas
    success, data = raw_call(
        feed,
        method_id("latestRoundData()"),
        max_outsize=160,
        gas=CALL_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    assert success or gas_before > ENOUGH_GAS, err.LITTLE_GAS
    if not success or len(data) != 160:
        return 0
    # a round answered in an earlier one is a carried-over answer
    if extract32(data, 128, output_type=uint256) < extract32(data, 0, output_type=uint256):
        return 0
    return self._usable(extract32(data, 32, output_type=uint256), extract32(data, 96, output_type=uint256))


@internal
@view
def _latest_id(feed: address) -> uint256:
    """
    @notice Number of the last round, as the feed counts (phase << 64 | round)
    """
    success: bool = False
    data: Bytes[160] = b""
    success, data = self._static_call(feed, method_id("latestRoundData()"))
    if not success or len(data) != 160:
        return 0
    return extract32(data, 0, output_type=uint256)


@internal
@view
def _round_at(feed: address, round_id: uint256) -> uint256:
    """
    @notice A round of the past; 0 too when the feed answers with another round than it was asked for
    """
    if round_id >= 2**80:
        return 0
    success: bool = False
    data: Bytes[160] = b""
    success, data = self._static_call(feed, abi_encode(round_id, method_id=method_id("getRoundData(uint80)")))
    if not success or len(data) != 160 or extract32(data, 0, output_type=uint256) != round_id:
        return 0
    return self._usable(extract32(data, 32, output_type=uint256), extract32(data, 96, output_type=uint256))


@internal
@view
def _up_since(feed: address) -> uint256:
    """
    @notice Since when (unix s) a sequencer is up, by Chainlink's feed (answer 0 = up, started at = since when); 0 if it
            is down, or the feed does not say
    """
    success: bool = False
    data: Bytes[160] = b""
    success, data = self._static_call(feed, method_id("latestRoundData()"))
    if not success or len(data) != 160 or extract32(data, 32, output_type=uint256) != 0:
        return 0
    return extract32(data, 64, output_type=uint256)


@internal
@view
def _value(target: address, call_data: Bytes[36]) -> uint256:
    """
    @notice The number that a view returns, 0 if it fails
    """
    success: bool = False
    data: Bytes[160] = b""
    success, data = self._static_call(target, call_data)
    if not success or len(data) < 32:
        return 0
    return extract32(data, 0, output_type=uint256)


@internal
@view
def _usable(answer: uint256, updated_at: uint256) -> uint256:
    """
    @dev Negative answers are above the largest price here. No round is of the future: what it says may yet change.
    """
    if answer == 0 or answer > c.MAX_PRICE_WAD or updated_at == 0 or updated_at > block.timestamp:
        return 0
    return answer | (updated_at << 128)


@internal
@view
def _static_call(target: address, call_data: Bytes[36]) -> (bool, Bytes[160]):
    """
    @dev At most 160 bytes are copied.
    """
    gas_before: uint256 = msg.gas
    success: bool = False
    data: Bytes[160] = b""
    success, data = raw_call(
        target, call_data, max_outsize=160, gas=CALL_GAS, is_static_call=True, revert_on_failure=False
    )
    assert success or gas_before > ENOUGH_GAS, err.LITTLE_GAS
    return success, data
