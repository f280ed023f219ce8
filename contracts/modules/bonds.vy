# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Publishers' bonds
@notice Cash tokens that a publisher loses when a row that it signed is proven wrong. What is asked back stops counting for
        signatures at once, and can be taken from until it is withdrawn. What is taken is credited, half to the challenger and
        half to the insurance fund, and sent on request: no token's refusal can stop a revocation.
"""

from contracts.modules import errors_table as e
from ethereum.ercs import IERC20
from snekmate.auth import ownable

uses: ownable


event BondDeposited:
    publisher: indexed(address)
    sender: indexed(address)
    amount_raw: uint256
    bond_raw: uint256


event BondWithdrawalRequested:
    publisher: indexed(address)
    amount_raw: uint256
    ready_at: uint256


event BondWithdrawn:
    publisher: indexed(address)
    receiver: indexed(address)
    amount_raw: uint256
    bond_raw: uint256


event BondSlashed:
    publisher: indexed(address)
    amount_raw: uint256
    bond_raw: uint256


event RewardClaimed:
    receiver: indexed(address)
    amount_raw: uint256


event TermsSet:
    terms: Terms


# verifier: RowVerifier, zero = no challenges; fund: gets half of what is taken; tolerance_lanes: how far a lane may be off;
# min_bond_raw: below this a signature does not count; slash_raw: what each signer of a wrong row loses;
# withdrawal_delay_s: from asking a bond back to taking it
struct Terms:
    verifier: address
    fund: address
    tolerance_lanes: uint256
    min_bond_raw: uint256
    slash_raw: uint256
    withdrawal_delay_s: uint256


struct Request:
    amount_raw: uint256
    ready_at: uint256


_DAY: constant(uint256) = 86_400
_MAX_TOLERANCE_LANES: constant(uint256) = 16
_MAX_DELAY_S: constant(uint256) = 30 * _DAY


BOND_TOKEN: public(immutable(address))


_terms: Terms
_bonds: HashMap[address, uint256]
_requests: HashMap[address, Request]

# taken from bonds and not yet sent, raw units
reward_raw: public(HashMap[address, uint256])


@deploy
def __init__(bond_token: address):
    """
    @notice No challenges and no bond until governance sets terms; tolerance 2 lanes, withdrawals after 7 days
    """
    BOND_TOKEN = bond_token
    self._store_terms(
        Terms(
            verifier=empty(address),
            fund=empty(address),
            tolerance_lanes=2,
            min_bond_raw=0,
            slash_raw=0,
            withdrawal_delay_s=7 * _DAY,
        )
    )


@external
def set_terms(terms: Terms):
    """
    @notice Governance sets verifier, fund, tolerance (1..16 lanes), bond, penalty (raw units) and delay (1..30 days)
    @dev Abuse: a false verifier takes every signer's bond and revokes true epochs; a high bond silences publishers, and the
         table ages. Withdrawals already asked for keep their date. Keep the delay above the life of a page.
    """
    ownable._check_owner()
    self._store_terms(terms)


@external
def deposit_bond(publisher: address, amount_raw: uint256):
    """
    @notice Adds to a publisher's bond what arrives of `amount_raw`; anybody may pay
    """
    before_raw: uint256 = staticcall IERC20(BOND_TOKEN).balanceOf(self)
    assert extcall IERC20(BOND_TOKEN).transferFrom(msg.sender, self, amount_raw, default_return_value=True), e.NOT_SENT
    # a balance that fell reverts by underflow
    received_raw: uint256 = staticcall IERC20(BOND_TOKEN).balanceOf(self) - before_raw
    assert received_raw != 0, e.NOTHING_CAME
    bond_raw: uint256 = self._bonds[publisher] + received_raw
    self._bonds[publisher] = bond_raw
    log BondDeposited(publisher=publisher, sender=msg.sender, amount_raw=received_raw, bond_raw=bond_raw)


@external
def request_bond_withdrawal(amount_raw: uint256):
    """
    @notice Asks back `amount_raw` of the caller's own bond instead of what it asked before; 0 withdraws the request
    """
    assert amount_raw <= self._bonds[msg.sender], e.BOND
    ready_at: uint256 = 0
    if amount_raw != 0:
        ready_at = block.timestamp + self._terms.withdrawal_delay_s
    self._requests[msg.sender] = Request(amount_raw=amount_raw, ready_at=ready_at)
    log BondWithdrawalRequested(publisher=msg.sender, amount_raw=amount_raw, ready_at=ready_at)


@external
def withdraw_bond(receiver: address):
    """
    @notice Sends what the caller asked back, less what was taken since, once the delay has passed
    """
    request: Request = self._requests[msg.sender]
    assert request.amount_raw != 0, e.NO_REQUEST
    assert block.timestamp >= request.ready_at, e.TOO_EARLY
    amount_raw: uint256 = min(request.amount_raw, self._bonds[msg.sender])
    bond_raw: uint256 = self._bonds[msg.sender] - amount_raw
    self._requests[msg.sender] = empty(Request)
    self._bonds[msg.sender] = bond_raw
    log BondWithdrawn(publisher=msg.sender, receiver=receiver, amount_raw=amount_raw, bond_raw=bond_raw)
    self._send(receiver, amount_raw)


@external
def claim_reward(receiver: address):
    """
    @notice Sends a challenger or the fund what is credited to it; anybody may call
    """
    amount_raw: uint256 = self.reward_raw[receiver]
    assert amount_raw != 0, e.NO_REWARD
    self.reward_raw[receiver] = 0
    log RewardClaimed(receiver=receiver, amount_raw=amount_raw)
    self._send(receiver, amount_raw)


@external
@view
def terms() -> Terms:
    """
    @notice Terms of bonds and challenges
    """
    return self._terms


@external
@view
def bond(publisher: address) -> (uint256, uint256, uint256):
    """
    @notice (bond, asked back of it, both in raw units, unix s from when that can be withdrawn)
    """
    request: Request = self._requests[publisher]
    bond_raw: uint256 = self._bonds[publisher]
    return bond_raw, min(request.amount_raw, bond_raw), request.ready_at


@internal
@view
def _is_bonded(publisher: address) -> bool:
    """
    @notice Whether the part of the bond that is not asked back reaches the least bond
    """
    min_bond_raw: uint256 = self._terms.min_bond_raw
    if min_bond_raw == 0:
        return True
    bond_raw: uint256 = self._bonds[publisher]
    return bond_raw - min(self._requests[publisher].amount_raw, bond_raw) >= min_bond_raw


@internal
def _slash(publisher: address) -> uint256:
    """
    @notice Takes the penalty, or all of a smaller bond, and returns it in raw units
    """
    bond_raw: uint256 = self._bonds[publisher]
    taken_raw: uint256 = min(bond_raw, self._terms.slash_raw)
    self._bonds[publisher] = bond_raw - taken_raw
    log BondSlashed(publisher=publisher, amount_raw=taken_raw, bond_raw=bond_raw - taken_raw)
    return taken_raw


@internal
def _credit(challenger: address, amount_raw: uint256):
    """
    @notice Half to the challenger, rounded down, the rest to the fund: a publisher that challenges itself loses at least half
    """
    half_raw: uint256 = amount_raw // 2
    self.reward_raw[challenger] += half_raw
    self.reward_raw[self._terms.fund] += amount_raw - half_raw


@internal
def _send(receiver: address, amount_raw: uint256):
    """
    @notice Sends `amount_raw`; reverts when the token takes more from this contract than that: it would be other bonds
    """
    before_raw: uint256 = staticcall IERC20(BOND_TOKEN).balanceOf(self)
    assert extcall IERC20(BOND_TOKEN).transfer(receiver, amount_raw, default_return_value=True), e.NOT_SENT
    held_raw: uint256 = staticcall IERC20(BOND_TOKEN).balanceOf(self)
    # no sum of balances: those of some tokens are near 2^256
    assert before_raw - min(held_raw, before_raw) <= amount_raw, e.SENT_MORE


@internal
def _store_terms(terms: Terms):
    assert terms.tolerance_lanes != 0 and terms.tolerance_lanes <= _MAX_TOLERANCE_LANES, e.BAD_TERMS
    assert terms.withdrawal_delay_s >= _DAY and terms.withdrawal_delay_s <= _MAX_DELAY_S, e.BAD_TERMS
    # nobody could claim half of a penalty credited to the zero address
    assert terms.slash_raw == 0 or terms.fund != empty(address), e.BAD_TERMS
    assert terms.verifier == empty(address) or terms.verifier.is_contract, e.BAD_TERMS
    self._terms = terms
    log TermsSet(terms=terms)
