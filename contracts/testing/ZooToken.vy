# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title A token that can take on every habit of the zoo, before or after it was listed
@notice Plain until told otherwise: fee on transfer or on top, rebasing, odd answers, pause, bans, hooks, lies. Anybody may
        mint and set habits. Balances are shares of a scale, rounded down, as rebasing tokens keep them. Tests only.
@dev What it answers is raw bytes, so that it can answer nothing, too little and too much.
"""

# answers of transfer and transferFrom; 0 = true
NOTHING: constant(uint256) = 1
NO: constant(uint256) = 2
LONG: constant(uint256) = 3
SHORT: constant(uint256) = 4
NO_BOOL: constant(uint256) = 5
ONE: constant(uint256) = 10**18

decimals: public(uint256)
allowance: public(HashMap[address, HashMap[address, uint256]])
totalSupply: public(uint256)
# what shares are worth, wad
scale: public(uint256)
shares: public(HashMap[address, uint256])

# taken out of what arrives, and from the sender on top
fee_bps: public(uint256)
extra_bps: public(uint256)
answer_transfer: public(uint256)
answer_transfer_from: public(uint256)
is_paused: public(bool)
is_banned_sender: public(HashMap[address, bool])
is_banned_receiver: public(HashMap[address, bool])
# code that is called before and after tokens move; its failure is the transfer's
hook_before: public(address)
hook_after: public(address)
# added to the balance of an account when somebody asks; wraps
lies: public(HashMap[address, uint256])
# no token moves, though the answer is yes
is_idle: public(bool)


@deploy
def __init__(decimals_: uint256):
    self.decimals = decimals_
    self.scale = ONE


# ------------------------------------------------------------------ habits


@external
def set_decimals(decimals_: uint256):
    self.decimals = decimals_


@external
def set_fees(fee_bps: uint256, extra_bps: uint256):
    self.fee_bps = fee_bps
    self.extra_bps = extra_bps


@external
def set_answers(transfer_: uint256, transfer_from: uint256):
    self.answer_transfer = transfer_
    self.answer_transfer_from = transfer_from


@external
def set_paused(is_paused: bool):
    self.is_paused = is_paused


@external
def set_banned(account: address, as_sender: bool, as_receiver: bool):
    self.is_banned_sender[account] = as_sender
    self.is_banned_receiver[account] = as_receiver


@external
def set_hooks(before: address, after: address):
    self.hook_before = before
    self.hook_after = after


@external
def set_lie(account: address, added: uint256):
    self.lies[account] = added


@external
def set_idle(is_idle: bool):
    self.is_idle = is_idle


@external
def rebase(scale: uint256):
    """
    @notice Everybody's balance becomes its shares times `scale` (wad)
    """
    self.scale = scale


# ------------------------------------------------------------------ ERC-20


@external
def mint(receiver: address, amount_raw: uint256):
    """
    @notice Creates shares worth `amount_raw` (raw units) at a scale of one
    """
    self.shares[receiver] += amount_raw
    self.totalSupply += amount_raw


@external
@view
def balanceOf(account: address) -> uint256:
    return unsafe_add(self._worth(self.shares[account]), self.lies[account])


@external
def approve(spender: address, amount_raw: uint256) -> bool:
    self.allowance[msg.sender][spender] = amount_raw
    return True


@external
@raw_return
def transfer(receiver: address, amount_raw: uint256) -> Bytes[64]:
    self._move(msg.sender, receiver, amount_raw)
    return self._answer(self.answer_transfer)


@external
@raw_return
def transferFrom(sender: address, receiver: address, amount_raw: uint256) -> Bytes[64]:
    assert self.allowance[sender][msg.sender] >= amount_raw, "zoo: allowance"
    self.allowance[sender][msg.sender] -= amount_raw
    self._move(sender, receiver, amount_raw)
    return self._answer(self.answer_transfer_from)


# ------------------------------------------------------------------ internal


@internal
@view
def _worth(shares: uint256) -> uint256:
    # balances of 2^255 are worth themselves
    return shares if self.scale == ONE else shares * self.scale // ONE


@internal
@view
def _shares(amount_raw: uint256) -> uint256:
    return amount_raw if self.scale == ONE else amount_raw * ONE // self.scale


@internal
def _move(sender: address, receiver: address, amount_raw: uint256):
    assert not self.is_paused, "zoo: paused"
    assert not self.is_banned_sender[sender] and not self.is_banned_receiver[receiver], "zoo: banned"
    if self.hook_before != empty(address):
        raw_call(self.hook_before, b"")
    if not self.is_idle:
        taken: uint256 = self._shares(amount_raw + amount_raw // 10_000 * self.extra_bps)
        assert self.shares[sender] >= taken, "zoo: balance"
        self.shares[sender] -= taken
        self.shares[receiver] += self._shares(amount_raw - amount_raw // 10_000 * self.fee_bps)
    if self.hook_after != empty(address):
        raw_call(self.hook_after, b"")


@internal
@pure
def _answer(answer: uint256) -> Bytes[64]:
    yes: Bytes[64] = abi_encode(True)
    if answer == NOTHING:
        yes = b""
    elif answer == NO:
        yes = abi_encode(False)
    elif answer == LONG:
        yes = abi_encode(True, max_value(uint256))
    elif answer == SHORT:
        yes = slice(abi_encode(True), 1, 31)
    elif answer == NO_BOOL:
        yes = abi_encode(convert(2, uint256))
    return yes
