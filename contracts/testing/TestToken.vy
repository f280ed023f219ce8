# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Mintable ERC-20 with any number of decimals
@notice For tests and local deployments only: anybody may mint.
"""

from ethereum.ercs import IERC20

implements: IERC20

name: public(String[32])
symbol: public(String[16])
decimals: public(uint8)
totalSupply: public(uint256)
balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(name_: String[32], symbol_: String[16], decimals_: uint8):
    self.name = name_
    self.symbol = symbol_
    self.decimals = decimals_


@external
def mint(receiver: address, amount_raw: uint256):
    """
    @notice Creates `amount_raw` (raw units) for `receiver`
    """
    self.totalSupply += amount_raw
    self.balanceOf[receiver] += amount_raw
    log IERC20.Transfer(sender=empty(address), receiver=receiver, value=amount_raw)


@external
def approve(spender: address, amount_raw: uint256) -> bool:
    """
    @notice Sets the allowance of `spender` (raw units)
    """
    self.allowance[msg.sender][spender] = amount_raw
    log IERC20.Approval(owner=msg.sender, spender=spender, value=amount_raw)
    return True


@external
def transfer(receiver: address, amount_raw: uint256) -> bool:
    """
    @notice Moves `amount_raw` (raw units) to `receiver`
    """
    self._move(msg.sender, receiver, amount_raw)
    return True


@external
def transferFrom(sender: address, receiver: address, amount_raw: uint256) -> bool:
    """
    @notice Moves `amount_raw` (raw units) against the allowance; an allowance of 2^256-1 is not used up
    """
    allowed: uint256 = self.allowance[sender][msg.sender]
    if allowed != max_value(uint256):
        self.allowance[sender][msg.sender] = allowed - amount_raw
    self._move(sender, receiver, amount_raw)
    return True


@internal
def _move(sender: address, receiver: address, amount_raw: uint256):
    self.balanceOf[sender] -= amount_raw
    self.balanceOf[receiver] += amount_raw
    log IERC20.Transfer(sender=sender, receiver=receiver, value=amount_raw)
