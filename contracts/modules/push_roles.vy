# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Who may push, and who may stop it
"""

from contracts.modules import errors_params as e
from snekmate.auth import ownable

uses: ownable


event KeeperSet:
    keeper: indexed(address)
    allowed: bool
    sender: address


event GuardianSet:
    guardian: indexed(address)


event PausedSet:
    paused: bool
    sender: address


# stops new parameters, nothing else; set by governance
guardian: public(address)

# who may push; set by governance, cleared by the guardian too
is_keeper: public(HashMap[address, bool])

# no push while true; set by guardian or governance, cleared by governance alone
paused: public(bool)


@deploy
def __init__(guardian: address):
    self.guardian = guardian
    log GuardianSet(guardian=guardian)


# ------------------------------------------------------------------ external


@external
def set_keeper(keeper: address, allowed: bool):
    """
    @notice Governance allows or forbids a keeper; the guardian may forbid one
    @dev Abuse: a hostile keeper can walk every word to its bound, one step an interval. The bounds are the damage.
    """
    if msg.sender != ownable.owner:
        assert msg.sender == self.guardian and not allowed, e.NOT_GUARDIAN
    self.is_keeper[keeper] = allowed
    log KeeperSet(keeper=keeper, allowed=allowed, sender=msg.sender)


@external
def set_paused(paused: bool):
    """
    @notice Guardian or governance stops all pushes; governance alone resumes them
    @dev Abuse: pausing for ever lets the parameters lapse: initial margin rises to at most twice the market risk, and
         nobody is liquidated by that.
    """
    if msg.sender != ownable.owner:
        assert msg.sender == self.guardian and paused, e.NOT_GUARDIAN
    self.paused = paused
    log PausedSet(paused=paused, sender=msg.sender)


@external
def set_guardian(guardian: address):
    """
    @notice Governance replaces the guardian; the zero address leaves none
    """
    ownable._check_owner()
    self.guardian = guardian
    log GuardianSet(guardian=guardian)
