# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Recorded state of the auctions, and the losses they are known to hold
@notice A clock counts only time that somebody has watched: it advances when a call records it, by at most the settings'
        tick_s since the last record. An outage that nobody could act in therefore costs an account one tick, not the
        length of the outage.
@custom:invariant I-65 The known shortfall is the sum over accounts in the insolvent phase of what their equity at mark lacked
                  when it was last recorded.
"""


# phase 0 none, 1 solvent, 2 insolvent; seen_at: last record (unix s); solvent_s, insolvent_s: time counted in either
# phase; epoch counts the auctions of the account and stays when one ends
struct State:
    phase: uint256
    seen_at: uint256
    solvent_s: uint256
    insolvent_s: uint256
    epoch: uint256


NO_PHASE: constant(uint256) = 0
SOLVENT: constant(uint256) = 1
INSOLVENT: constant(uint256) = 2
_MASK_8: constant(uint256) = 2**8 - 1
_MASK_40: constant(uint256) = 2**40 - 1


# by account: phase 0..7 | seen at 8..47 | solvent s 48..87 | insolvent s 88..127 | epoch 128..255
_states: HashMap[uint256, uint256]

# by account: what its equity at mark lacked, wad
_shortfalls: HashMap[uint256, uint256]

# their sum
_shortfall_wad: uint256

# number of running auctions
_active_count: uint256


@internal
@view
def _load(account: uint256) -> State:
    packed: uint256 = self._states[account]
    return State(
        phase=packed & _MASK_8,
        seen_at=(packed >> 8) & _MASK_40,
        solvent_s=(packed >> 48) & _MASK_40,
        insolvent_s=(packed >> 88) & _MASK_40,
        epoch=packed >> 128,
    )


@internal
def _store(account: uint256, state: State, equity_mark: int256):
    """
    @notice Records a state, and the shortfall that goes with it
    """
    # times are block times, and sums of them that a clock stops at (< 2^40); the phase is one of three
    self._states[account] = (
        state.phase | state.seen_at << 8 | state.solvent_s << 48 | state.insolvent_s << 88 | state.epoch << 128
    )
    lacking_wad: uint256 = 0
    if state.phase == INSOLVENT and equity_mark < 0:
        lacking_wad = convert(-equity_mark, uint256)
    before_wad: uint256 = self._shortfalls[account]
    if lacking_wad != before_wad:
        self._shortfalls[account] = lacking_wad
        self._shortfall_wad = self._shortfall_wad - before_wad + lacking_wad


@internal
@view
def _advanced(state: State, equity_mark: int256, passed_s: uint256, solvent_limit_s: uint256) -> State:
    """
    @notice The state as of now: `passed_s` counted in the recorded phase, then the phase by the equity of this moment
    @dev An account that has equity again before its solvent clock ran out is for sale again where that clock stopped.
         The payout then falls as it rose. Were it set to nothing, an owner could hold it there by topping up one unit
         more than is lacking at the right moments; were it kept, the first to see losses come back would get all of it.
    """
    current: State = state
    current.seen_at = block.timestamp
    if state.phase == SOLVENT:
        current.solvent_s = min(state.solvent_s + passed_s, solvent_limit_s)
        current.insolvent_s = state.insolvent_s - min(state.insolvent_s, passed_s)
    else:
        # the payout stops rising long before the clock could leave its field
        current.insolvent_s = min(state.insolvent_s + passed_s, _MASK_40)
    current.phase = SOLVENT if equity_mark > 0 and current.solvent_s < solvent_limit_s else INSOLVENT
    return current
