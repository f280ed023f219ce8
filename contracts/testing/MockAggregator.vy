# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Chainlink-shaped price feed that its owner writes
@notice For tests and local deployments only. A round is one slot: answer (0..191, two's complement) | updated at
        (192..255). Round numbers are phase << 64 | round, as a Chainlink proxy shows them.
"""

from contracts.interfaces import IAggregatorV3

implements: IAggregatorV3

event AnswerUpdated:
    current: indexed(int256)
    roundId: indexed(uint256)
    updatedAt: uint256

ROUND_MASK: constant(uint256) = 2**128 - 1

decimals: public(immutable(uint8))
owner: public(immutable(address))
phase: public(uint256)
# last round (0..127) | how many rounds ago latestRoundData says it was answered; more than 0 = incomplete (128..255)
_latest: uint256
_rounds: HashMap[uint256, uint256]


@deploy
def __init__(decimals_: uint8, answer: int256):
    decimals = decimals_
    owner = msg.sender
    self.phase = 1
    self._latest = 1 << 64
    self._write(answer, block.timestamp)


@external
def set_answer(answer: int256, updated_at: uint256 = block.timestamp):
    """
    @notice Writes the next round: `answer` with the feed's decimals, `updated_at` in unix seconds
    """
    assert msg.sender == owner, "feed: not owner"
    self._write(answer, updated_at)


@external
def set_round(round_id: uint256, answer: int256, updated_at: uint256):
    """
    @notice Writes any round, which becomes the last if it has the highest number: leaves out incomplete ones, and lets an
            aggregator that the feed has left write on
    """
    assert msg.sender == owner, "feed: not owner"
    lag: uint256 = self._latest & ~ROUND_MASK
    last: uint256 = self._latest & ROUND_MASK
    self._latest = round_id - 1
    self._write(answer, updated_at)
    self._latest = max(last, round_id) | lag


@external
def set_answered_lag(lag: uint256):
    """
    @notice Makes latestRoundData report an answer of `lag` rounds ago
    """
    assert msg.sender == owner, "feed: not owner"
    self._latest = (self._latest & ROUND_MASK) | (lag << 128)


@external
def start_phase():
    """
    @notice Begins the next phase, as a proxy does when its aggregator is replaced; write a round after
    """
    assert msg.sender == owner, "feed: not owner"
    self.phase += 1
    self._latest = (self._latest & ~ROUND_MASK) | (self.phase << 64)


@external
@view
def last_round() -> uint256:
    """
    @notice Number of the last round, phase << 64 | round
    """
    return self._latest & ROUND_MASK


@external
@view
def latestRoundData() -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice (round, answer, started at, updated at, answered in round) of the last round
    """
    latest: uint256 = self._latest
    return self._round(latest & ROUND_MASK, latest >> 128)


@external
@view
def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80):
    """
    @notice The same of one round; all zero but the number when there is no such round
    """
    return self._round(convert(round_id, uint256), 0)


@internal
def _write(answer: int256, updated_at: uint256):
    assert answer < 2**191 and answer >= -(2**191), "feed: answer"
    latest: uint256 = self._latest + 1
    self._latest = latest
    low: uint256 = convert(convert(answer, bytes32), uint256) & (2**192 - 1)
    self._rounds[latest & ROUND_MASK] = low | (updated_at << 192)
    log AnswerUpdated(current=answer, roundId=latest & ROUND_MASK, updatedAt=updated_at)


@internal
@view
def _round(number: uint256, lag: uint256) -> (uint80, int256, uint256, uint256, uint80):
    word: uint256 = self._rounds[number]
    answer: int256 = convert(convert(word << 64, bytes32), int256) >> 64
    updated_at: uint256 = word >> 192
    return convert(number, uint80), answer, updated_at, updated_at, convert(number - lag, uint80)
