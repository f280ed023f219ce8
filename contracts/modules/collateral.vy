# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Listed collateral: configuration, caps and balances in raw units
@notice The total of an asset is a book of what came and went, never balanceOf(self): a donation changes nothing.
@custom:invariant For each asset: sum of the accounts' amounts = total <= tokens held
"""

from ethereum.ercs import IERC20Detailed

from contracts.interfaces import IMarginAccounts
from contracts.modules import constants as c
from contracts.modules import errors_accounts as err
from contracts.modules import fixed_math
from contracts.modules import heads

uses: heads

event CollateralCapSet:
    asset: indexed(uint256)
    cap_raw: uint256


MAX_DECIMALS: constant(uint256) = 18
MASK_112: constant(uint256) = 2**112 - 1

collateral_count: public(uint256)
_tokens: address[16]
# asset + 1; 0 = not listed
_ids: HashMap[address, uint256]
# total raw (0..111) | cap raw (112..223) | decimals (224..231) | linked underlying + 1 (232..239)
_configs: uint256[16]
_amounts: HashMap[uint256, uint256[16]]


@internal
def _list(token: address, linked_plus_one: uint256, cap_raw: uint256):
    asset: uint256 = self.collateral_count
    if asset >= c.MAX_COLLATERALS:
        err._fail(err.LIST_FULL)
    if self._ids[token] != 0:
        err._fail(err.LISTED)
    if cap_raw > MASK_112:
        err._fail(err.CAP)
    if linked_plus_one > c.MAX_UNDERLYINGS:
        err._fail(err.LINK)
    decimals: uint256 = convert(staticcall IERC20Detailed(token).decimals(), uint256)
    if decimals > MAX_DECIMALS:
        err._fail(err.DECIMALS)
    self.collateral_count = asset + 1
    self._tokens[asset] = token
    self._ids[token] = asset + 1
    self._configs[asset] = (cap_raw << 112) | (decimals << 224) | (linked_plus_one << 232)
    log IMarginAccounts.CollateralListed(
        asset=asset, token=token, decimals=decimals, linked_underlying=linked_plus_one, cap_raw=cap_raw
    )


@internal
def _set_cap(asset: uint256, cap_raw: uint256):
    if asset >= self.collateral_count:
        err._fail(err.NOT_LISTED)
    if cap_raw > MASK_112:
        err._fail(err.CAP)
    config: uint256 = self._configs[asset]
    self._configs[asset] = (config & ~(MASK_112 << 112)) | (cap_raw << 112)
    log CollateralCapSet(asset=asset, cap_raw=cap_raw)


@internal
@view
def _asset_of(token: address) -> uint256:
    plus_one: uint256 = self._ids[token]
    if plus_one == 0:
        err._fail(err.NOT_LISTED)
    return plus_one - 1


@internal
def _deposit(account: uint256, asset: uint256, amount_raw: uint256) -> uint256:
    """
    @notice Books tokens that have arrived; returns the account's balance (raw)
    """
    config: uint256 = self._configs[asset]
    total_raw: uint256 = (config & MASK_112) + amount_raw
    # cap < 2^112, so the total keeps inside its field
    if total_raw > (config >> 112) & MASK_112:
        err._fail(err.CAP)
    self._configs[asset] = (config & ~MASK_112) | total_raw
    return self._credit(account, asset, amount_raw)


@internal
def _withdraw(account: uint256, asset: uint256, amount_raw: uint256) -> uint256:
    """
    @notice Books tokens that are about to leave; returns the account's balance (raw)
    """
    balance_raw: uint256 = self._debit(account, asset, amount_raw)
    # the account's amount was part of the total
    self._configs[asset] -= amount_raw
    return balance_raw


@internal
def _credit(account: uint256, asset: uint256, amount_raw: uint256) -> uint256:
    """
    @notice Adds to an account's balance; sets its bit and raises its nonce
    """
    balance_raw: uint256 = self._amounts[account][asset] + amount_raw
    self._amounts[account][asset] = balance_raw
    head: uint256 = heads._heads[account]
    if balance_raw != 0:
        head |= heads.COLLATERAL_BIT << asset
    heads._heads[account] = unsafe_add(head, heads.NONCE_ONE)
    return balance_raw


@internal
def _debit(account: uint256, asset: uint256, amount_raw: uint256) -> uint256:
    """
    @notice Takes from an account's balance; clears its bit at zero and raises its nonce
    """
    balance_raw: uint256 = self._amounts[account][asset]
    if amount_raw > balance_raw:
        err._fail(err.BALANCE)
    balance_raw = unsafe_sub(balance_raw, amount_raw)
    self._amounts[account][asset] = balance_raw
    head: uint256 = heads._heads[account]
    if balance_raw == 0:
        head &= ~(heads.COLLATERAL_BIT << asset)
    heads._heads[account] = unsafe_add(head, heads.NONCE_ONE)
    return balance_raw


@internal
@view
def _word(account: uint256, asset: uint256) -> uint256:
    """
    @notice amount raw (0..127) | use of the cap in bps (128..143) | decimals (144..151) | link + 1 (152..159)
    @dev Use rounds up, against the account: it raises the haircut.
    """
    config: uint256 = self._configs[asset]
    cap_raw: uint256 = (config >> 112) & MASK_112
    use_bps: uint256 = c.BPS
    if cap_raw != 0:
        use_bps = min(c.BPS, fixed_math._mul_div_up(config & MASK_112, c.BPS, cap_raw))
    return self._amounts[account][asset] | (use_bps << 128) | ((config >> 224) << 144)
