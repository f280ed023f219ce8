# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Timelock
@notice Made to own every contract that has an owner: what governance does is public for a delay before it can happen.
        snekmate's timelock controller, without an administrator of its own: roles and the delay change only through the timelock itself.
@dev No lock: it holds nothing and calls what was scheduled; a batch must be able to call back into it (update_delay).
@custom:trust proposers: may schedule and cancel anything, nothing at once. executors: may only execute what is due; the
              zero address among them lets anybody.
"""

from snekmate.auth import access_control
from snekmate.governance import timelock_controller

initializes: access_control
initializes: timelock_controller[access_control := access_control]

exports: (
    access_control.DEFAULT_ADMIN_ROLE,
    access_control.hasRole,
    access_control.getRoleAdmin,
    access_control.grantRole,
    access_control.revokeRole,
    access_control.renounceRole,
    timelock_controller.PROPOSER_ROLE,
    timelock_controller.EXECUTOR_ROLE,
    timelock_controller.CANCELLER_ROLE,
    timelock_controller.supportsInterface,
    timelock_controller.get_timestamp,
    timelock_controller.get_minimum_delay,
    timelock_controller.is_operation,
    timelock_controller.is_operation_pending,
    timelock_controller.is_operation_ready,
    timelock_controller.is_operation_done,
    timelock_controller.get_operation_state,
    timelock_controller.hash_operation,
    timelock_controller.hash_operation_batch,
    timelock_controller.schedule,
    timelock_controller.schedule_batch,
    timelock_controller.cancel,
    timelock_controller.execute,
    timelock_controller.execute_batch,
)

# 30 days: longer, and nothing could ever be mended in time
MAX_DELAY_S: constant(uint256) = 30 * 86_400


@deploy
def __init__(delay_s: uint256, proposers: DynArray[address, 255], executors: DynArray[address, 255]):
    """
    @param delay_s Least time between scheduling and execution (s), at most 30 days; two days or more in production
    @param proposers Who may schedule and cancel
    @param executors Who may execute what is due; the zero address = anybody
    """
    assert delay_s <= MAX_DELAY_S, "timelock: delay"
    assert len(proposers) != 0 and len(executors) != 0, "timelock: nobody"
    access_control.__init__()
    timelock_controller.__init__(delay_s, proposers, executors, empty(address))


@external
def update_delay(new_delay: uint256):
    """
    @notice Changes the delay of operations scheduled from now on (s), at most 30 days; through the timelock itself only
    @dev The controller's own function has no bound. Abuse: a delay of zero, which itself had to wait for the delay.
    @custom:invariant I-78
    """
    assert msg.sender == self, "timelock: not itself"
    assert new_delay <= MAX_DELAY_S, "timelock: delay"
    log timelock_controller.MinimumDelayChange(
        old_duration=timelock_controller.get_minimum_delay, new_duration=new_delay
    )
    timelock_controller.get_minimum_delay = new_delay
