# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Many reads in one call
@notice For chains without the usual Multicall3: the same aggregate3, so that clients need not know which one they use.
        snekmate's multicall returns at most 255 bytes a call, too few for MarginEngine.assess and MarginAccounts.state.
@dev Holds nothing and may be called by anybody. Never approve it and never send it tokens.
"""

MAX_CALLS: constant(uint256) = 64
# MarginEngine.assess_state takes and MarginAccounts.state returns 128 words
MAX_BYTES: constant(uint256) = 4_420


struct Call3:
    target: address
    allowFailure: bool
    callData: Bytes[MAX_BYTES]


struct Result:
    success: bool
    returnData: Bytes[MAX_BYTES + 1]


@external
def aggregate3(calls: DynArray[Call3, MAX_CALLS]) -> DynArray[Result, MAX_CALLS]:
    """
    @notice Runs the calls in order
    @param calls Target, whether a failure is tolerated, call data
    @return Success and return data of each; an answer longer than MAX_BYTES counts as a failure with empty data
    """
    results: DynArray[Result, MAX_CALLS] = []
    for call: Call3 in calls:
        success: bool = False
        # one byte more than fits shows that the answer was cut
        data: Bytes[MAX_BYTES + 1] = b""
        success, data = raw_call(call.target, call.callData, max_outsize=MAX_BYTES + 1, revert_on_failure=False)
        if len(data) > MAX_BYTES:
            success = False
            data = b""
        assert success or call.allowFailure, "multicall: call failed"
        results.append(Result(success=success, returnData=data))
    return results


@external
@view
@reentrant  # read by batches of this very contract; depends on no storage
def getBlockNumber() -> uint256:
    """
    @notice Number of this block
    """
    return block.number


@external
@view
@reentrant  # read by batches of this very contract; depends on no storage
def getBlockHash(number: uint256) -> bytes32:
    """
    @notice Hash of one of the last 256 blocks
    """
    return blockhash(number)


@external
@view
@reentrant  # read by batches of this very contract; depends on no storage
def getCurrentBlockTimestamp() -> uint256:
    """
    @notice Time of this block, unix seconds
    """
    return block.timestamp


@external
@view
@reentrant  # read by batches of this very contract; depends on no storage
def getEthBalance(account: address) -> uint256:
    """
    @notice Balance in wei
    """
    return account.balance
