# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Recorded state of the auctions: one slot an account
"""


# phase 0 none, 1 solvent, 2 insolvent; times in unix s, 0 if none; epoch counts the auctions of the account and stays
# when one ends
struct State:
    phase: uint256
    started_at: uint256
    insolvent_at: uint256
    epoch: uint256


NO_PHASE: constant(uint256) = 0
SOLVENT: constant(uint256) = 1
INSOLVENT: constant(uint256) = 2
_MASK_8: constant(uint256) = 2**8 - 1
_MASK_40: constant(uint256) = 2**40 - 1


# by account: phase 0..7 | started at 8..47 | insolvent at 48..87 | epoch 88..255
_states: HashMap[uint256, uint256]


@internal
@view
def _load(account: uint256) -> State:
    packed: uint256 = self._states[account]
    return State(
        phase=packed & _MASK_8,
        started_at=(packed >> 8) & _MASK_40,
        insolvent_at=(packed >> 48) & _MASK_40,
        epoch=packed >> 88,
    )


@internal
def _store(account: uint256, state: State):
    # times are block times (< 2^40) and the phase is one of three
    self._states[account] = (
        state.phase | state.started_at << 8 | state.insolvent_at << 48 | state.epoch << 88
    )
