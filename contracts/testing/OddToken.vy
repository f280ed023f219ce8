# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title A token with the habits of real ones
@notice Returns nothing from transfers; may take a fee from what is sent, or from the sender on top; calls a hook before it moves
        anything. Anybody may mint. Tests only.
"""

decimals: public(immutable(uint8))
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])
# taken out of what arrives
fee_bps: public(uint256)
# taken from the sender on top
extra_bps: public(uint256)
# called with hook_data before a transfer; its failure reverts
hook: public(address)
hook_data: public(Bytes[260])


@deploy
def __init__(decimals_: uint8):
    decimals = decimals_


@external
def set_habits(fee_bps: uint256, extra_bps: uint256):
    self.fee_bps = fee_bps
    self.extra_bps = extra_bps


@external
def set_hook(hook: address, hook_data: Bytes[260]):
    self.hook = hook
    self.hook_data = hook_data


@external
def mint(receiver: address, amount_raw: uint256):
    self.balanceOf[receiver] += amount_raw


@external
def approve(spender: address, amount_raw: uint256):
    self.allowance[msg.sender][spender] = amount_raw


@external
def transfer(receiver: address, amount_raw: uint256):
    self._move(msg.sender, receiver, amount_raw)


@external
def transferFrom(sender: address, receiver: address, amount_raw: uint256):
    self.allowance[sender][msg.sender] -= amount_raw
    self._move(sender, receiver, amount_raw)


@internal
def _move(sender: address, receiver: address, amount_raw: uint256):
    if self.hook != empty(address):
        raw_call(self.hook, self.hook_data)
    self.balanceOf[sender] -= amount_raw + amount_raw * self.extra_bps // 10_000
    self.balanceOf[receiver] += amount_raw - amount_raw * self.fee_bps // 10_000
