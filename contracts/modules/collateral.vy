# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Listed collateral: configuration, caps and balances in raw units
@notice The total of an asset is a book of what came and went, never balanceOf(self): a donation changes nothing.
@custom:invariant I-03 For each asset: sum of the accounts' amounts = total <= tokens held
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


event CollateralHardCapSet:
    asset: indexed(uint256)
    hard_cap_raw: uint256


MAX_DECIMALS: constant(uint256) = 18
MASK_112: constant(uint256) = 2**112 - 1
MASK_128: constant(uint256) = 2**128 - 1
# a steward's raise: at most by half, once a day
RAISE_BPS: constant(uint256) = 5_000
RAISE_INTERVAL_S: constant(uint256) = 86_400

collateral_count: public(uint256)
_tokens: address[16]
# asset + 1; 0 = not listed
_ids: HashMap[address, uint256]
# total raw (0..111) | cap raw (112..223) | decimals (224..231) | linked underlying + 1 (232..239)
_configs: uint256[16]
# hard cap raw (0..111) | last raise by a steward, unix s (112..)
_hard_caps: uint256[16]
# account -> asset >> 1: two amounts a slot, the even asset's low
_amounts: HashMap[uint256, uint256[8]]


@internal
def _list(token: address, linked_plus_one: uint256, cap_raw: uint256, hard_cap_raw: uint256):
    asset: uint256 = self.collateral_count
    if asset >= c.MAX_COLLATERALS:
        err._fail(err.LIST_FULL)
    if self._ids[token] != 0:
        err._fail(err.LISTED)
    if hard_cap_raw > MASK_112 or cap_raw > hard_cap_raw:
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
    self._hard_caps[asset] = hard_cap_raw
    log IMarginAccounts.CollateralListed(
        asset=asset, token=token, decimals=decimals, linked_underlying=linked_plus_one, cap_raw=cap_raw
    )
    log CollateralHardCapSet(asset=asset, hard_cap_raw=hard_cap_raw)


@internal
def _set_cap(asset: uint256, cap_raw: uint256, is_steward: bool):
    """
    @notice Sets a cap inside the hard cap; a steward raises it by half at most, once a day
    """
    if asset >= self.collateral_count:
        err._fail(err.NOT_LISTED)
    hard: uint256 = self._hard_caps[asset]
    if cap_raw > hard & MASK_112:
        err._fail(err.CAP)
    config: uint256 = self._configs[asset]
    before_raw: uint256 = (config >> 112) & MASK_112
    if is_steward and cap_raw > before_raw:
        if block.timestamp < (hard >> 112) + RAISE_INTERVAL_S:
            err._fail(err.CAP_STEP)
        if cap_raw > before_raw + fixed_math._mul_div_down(before_raw, RAISE_BPS, c.BPS):
            err._fail(err.CAP_STEP)
        self._hard_caps[asset] = (hard & MASK_112) | (block.timestamp << 112)
    self._put_cap(asset, cap_raw)


@internal
def _set_hard_cap(asset: uint256, hard_cap_raw: uint256):
    """
    @notice Sets a hard cap; a cap above it comes down with it
    """
    if asset >= self.collateral_count:
        err._fail(err.NOT_LISTED)
    if hard_cap_raw > MASK_112:
        err._fail(err.CAP)
    self._hard_caps[asset] = (self._hard_caps[asset] & ~MASK_112) | hard_cap_raw
    log CollateralHardCapSet(asset=asset, hard_cap_raw=hard_cap_raw)
    if (self._configs[asset] >> 112) & MASK_112 > hard_cap_raw:
        self._put_cap(asset, hard_cap_raw)


@internal
def _put_cap(asset: uint256, cap_raw: uint256):
    self._configs[asset] = (self._configs[asset] & ~(MASK_112 << 112)) | (cap_raw << 112)
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
    @custom:invariant I-13
    """
    config: uint256 = self._configs[asset]
    cap_raw: uint256 = (config >> 112) & MASK_112
    # cap < 2^112, so the total keeps inside its field; the amount first, whose sum with it need not fit
    if amount_raw > cap_raw or (config & MASK_112) + amount_raw > cap_raw:
        err._fail(err.CAP)
    self._configs[asset] = config + amount_raw
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
    balance_raw: uint256 = self._amount(account, asset) + amount_raw
    self._put_amount(account, asset, balance_raw)
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
    balance_raw: uint256 = self._amount(account, asset)
    if amount_raw > balance_raw:
        err._fail(err.BALANCE)
    balance_raw = unsafe_sub(balance_raw, amount_raw)
    self._put_amount(account, asset, balance_raw)
    head: uint256 = heads._heads[account]
    if balance_raw == 0:
        head &= ~(heads.COLLATERAL_BIT << asset)
    heads._heads[account] = unsafe_add(head, heads.NONCE_ONE)
    return balance_raw


@internal
@view
def _amount(account: uint256, asset: uint256) -> uint256:
    """
    @notice An account's balance (raw)
    """
    return (self._amounts[account][asset >> 1] >> ((asset & 1) << 7)) & MASK_128


@internal
def _put_amount(account: uint256, asset: uint256, amount_raw: uint256):
    # at most the total of the asset, < 2^112
    bit: uint256 = (asset & 1) << 7
    word: uint256 = self._amounts[account][asset >> 1]
    self._amounts[account][asset >> 1] = (word & ~(MASK_128 << bit)) | (amount_raw << bit)


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
    return self._amount(account, asset) | (use_bps << 128) | ((config >> 224) << 144)
