# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Insurance fund
@notice An ERC-4626 vault of the cash token whose assets are the first to pay for insolvent accounts.
@dev Shares have six more decimals than the cash token: the virtual shares make it a million times dearer to move the
     price of a share before the first deposit than what it can take from that deposit. What the vault holds is its
     balance, as ERC-4626 vaults of a plain token do, so a donation is a gift to the shareholders; no margin account
     is ever valued by it.

     Who leaves says so three days before and then has two days for it, and nobody leaves while the auction knows of a
     loss: otherwise everybody would be out in the block in which a price falls, and the lenders would be the first
     loss. What is announced goes on bearing losses until it is gone.

     However often the fund is emptied it can be filled again: see fund_shares, by which a million shares may become one.
@custom:kill Governance points the auction at the zero address: bids that the fund would have to pay for then revert, until
             MarginAccounts is pointed at an auction with another fund; bids that cost nobody go on. Shareholders can leave.
@custom:trust governance chooses who may call cover(), i.e. take all assets, though only ever to MarginAccounts.
"""

from contracts.interfaces import IInsuranceFund
from contracts.modules import errors_fund as e
from contracts.modules import fund_shares
from ethereum.ercs import IERC20
from snekmate.auth import ownable
from snekmate.auth import ownable_2step
from snekmate.extensions import erc4626
from snekmate.tokens import erc20

implements: IInsuranceFund

# the vault initialises `ownable`, which nothing else of it uses, and `erc20`
initializes: erc4626
uses: ownable
uses: erc20
initializes: ownable_2step[ownable := ownable]
initializes: fund_shares[erc20 := erc20]

exports: (
    # ERC-20 with EIP-2612 permits
    erc4626.totalSupply,
    fund_shares.balanceOf,
    erc4626.approve,
    erc4626.allowance,
    erc4626.name,
    erc4626.symbol,
    erc4626.decimals,
    erc4626.permit,
    erc4626.nonces,
    erc4626.DOMAIN_SEPARATOR,
    erc4626.eip712Domain,
    # ERC-4626, where it is true at any time
    erc4626.asset,
    erc4626.maxDeposit,
    erc4626.maxMint,
    # announced exits and consolidated shares
    fund_shares.exits,
    fund_shares.consolidations,
    # renouncing is left out: without governance no new auction could ever be paid
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)


interface Auction:
    def shortfall_wad() -> uint256: view


event AuctionSet:
    auction: indexed(address)


_NAME: constant(String[22]) = "Ballast Insurance Fund"
_DECIMALS_OFFSET: constant(uint8) = 6

EXIT_DELAY_S: public(constant(uint256)) = 3 * 86_400
EXIT_WINDOW_S: public(constant(uint256)) = 2 * 86_400


# where a cover goes
ACCOUNTS: public(immutable(address))

# who may ask for a cover; set by governance
auction: public(address)


@deploy
def __init__(governance: address, accounts: address, cash_token: address):
    """
    @param governance Owner: the timelock
    @param accounts MarginAccounts
    @param cash_token Token that MarginAccounts keeps cash in
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    assert accounts != empty(address), e.NO_ACCOUNTS
    erc4626.__init__(_NAME, "bIF", IERC20(cash_token), _DECIMALS_OFFSET, _NAME, "1")
    ownable_2step.__init__()
    ownable._transfer_ownership(governance)
    ACCOUNTS = accounts


@external
def set_auction(auction: address):
    """
    @notice Chooses the contract that may call cover()
    @dev Abuse: a hostile auction moves the whole fund to MarginAccounts, where only the venues' and the auction's
         rules decide who is credited. Behind the timelock.
    """
    ownable._check_owner()
    self.auction = auction
    log AuctionSet(auction=auction)


@external
def announce_exit(shares: uint256):
    """
    @notice Announces that the caller's shares are to leave: in three days, for two days
    @param shares At most what the caller has now; 0 takes the announcement back
    @custom:invariant I-76
    """
    fund_shares._update(msg.sender)
    assert shares <= fund_shares._balance(msg.sender), e.SHARES
    opens_at: uint256 = block.timestamp + EXIT_DELAY_S
    fund_shares._exits[msg.sender] = fund_shares.Exit(shares=shares, opens_at=opens_at)
    log IInsuranceFund.ExitAnnounced(owner=msg.sender, shares=shares, opens_at=opens_at)


# ------------------------------------------------------------------ the vault, under this contract's lock

# The vault's own take no lock, and a token that calls its sender back does so after tokens have come and before there are
# shares for them, or the other way round: a share would then leave for too much, or be believed to be worth that by
# whoever asks. In such a moment all of these revert.


@external
@view
def totalAssets() -> uint256:
    """
    @notice Cash tokens that the fund holds, raw units
    """
    return erc4626._total_assets()


@external
@view
def convertToShares(assets: uint256) -> uint256:
    """
    @notice As in ERC-4626
    """
    # down: as the standard has it
    return erc4626._convert_to_shares(assets, False)


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    """
    @notice As in ERC-4626
    """
    # down: as the standard has it
    return erc4626._convert_to_assets(shares, False)


@external
@view
def previewDeposit(assets: uint256) -> uint256:
    """
    @notice Shares that deposit() would make
    """
    return erc4626._preview_deposit(assets)


@external
@view
def previewMint(shares: uint256) -> uint256:
    """
    @notice Assets that mint() would take
    """
    return erc4626._preview_mint(shares)


@external
@view
def previewWithdraw(assets: uint256) -> uint256:
    """
    @notice Shares that withdraw() would burn, were the exit open
    """
    return erc4626._preview_withdraw(assets)


@external
@view
def previewRedeem(shares: uint256) -> uint256:
    """
    @notice Assets that redeem() would send, were the exit open
    """
    return erc4626._preview_redeem(shares)


@external
def deposit(assets: uint256, receiver: address) -> uint256:
    """
    @notice As in ERC-4626; returns the shares made
    """
    # down: favours the fund
    shares: uint256 = erc4626._preview_deposit(assets)
    self._enter(receiver, assets, shares)
    return shares


@external
def mint(shares: uint256, receiver: address) -> uint256:
    """
    @notice As in ERC-4626; returns the assets taken
    """
    # up: favours the fund
    assets: uint256 = erc4626._preview_mint(shares)
    self._enter(receiver, assets, shares)
    return assets


@external
def transfer(to: address, amount: uint256) -> bool:
    """
    @notice As in ERC-20, but shares announced to leave stay where they are until their window has passed
    @dev Else the same shares could be announced by one address after the other and always be about to leave.
    """
    self._move(msg.sender, to, amount)
    return True


@external
def transferFrom(owner: address, to: address, amount: uint256) -> bool:
    """
    @notice As in ERC-20, with the same exception as transfer()
    """
    erc20._spend_allowance(owner, msg.sender, amount)
    self._move(owner, to, amount)
    return True


@external
def withdraw(assets: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice As in ERC-4626, of shares whose announced exit is open; returns the shares that were burned
    @custom:invariant I-75
    """
    # up: favours the fund
    shares: uint256 = erc4626._preview_withdraw(assets)
    self._leave(receiver, owner, assets, shares)
    return shares


@external
def redeem(shares: uint256, receiver: address, owner: address) -> uint256:
    """
    @notice As in ERC-4626, of shares whose announced exit is open; returns the assets that were sent
    """
    # down: favours the fund
    assets: uint256 = erc4626._preview_redeem(shares)
    self._leave(receiver, owner, assets, shares)
    return assets


@external
@view
def maxWithdraw(owner: address) -> uint256:
    """
    @notice Assets that the owner could withdraw now, raw units
    """
    return erc4626._preview_redeem(self._free_shares(owner))


@external
@view
def maxRedeem(owner: address) -> uint256:
    """
    @notice Shares that the owner could redeem now
    """
    return self._free_shares(owner)


@external
def cover(amount_raw: uint256) -> uint256:
    """
    @notice Sends cash tokens to MarginAccounts for a loss, as far as the fund reaches
    @param amount_raw Wanted, raw units of the cash token
    @return What arrived at MarginAccounts, raw units: measured, so that a token that keeps a fee is never counted
            for more than it brought
    @custom:invariant I-74
    """
    assert msg.sender == self.auction, e.NOT_AUCTION
    token: IERC20 = IERC20(erc4626.asset)
    sent_raw: uint256 = min(amount_raw, staticcall token.balanceOf(self))
    if sent_raw == 0:
        return 0
    before_raw: uint256 = staticcall token.balanceOf(ACCOUNTS)
    assert extcall token.transfer(ACCOUNTS, sent_raw, default_return_value=True), e.NOT_SENT
    arrived_raw: uint256 = staticcall token.balanceOf(ACCOUNTS) - before_raw
    log IInsuranceFund.LossCovered(
        amount_raw=arrived_raw, receiver=ACCOUNTS, assets_left_raw=staticcall token.balanceOf(self)
    )
    fund_shares._consolidate(erc4626._total_assets())
    return arrived_raw


@internal
def _enter(receiver: address, assets: uint256, shares: uint256):
    fund_shares._update(receiver)
    erc4626._deposit(msg.sender, receiver, assets, shares)


@internal
def _leave(receiver: address, owner: address, assets: uint256, shares: uint256):
    assert not self._is_loss_known(), e.LOSS_KNOWN
    fund_shares._update(owner)
    leaving: fund_shares.Exit = fund_shares._exit(owner)
    assert shares <= leaving.shares and self._is_open(leaving), e.NOT_ANNOUNCED
    fund_shares._exits[owner].shares = leaving.shares - shares
    before_raw: uint256 = erc4626._total_assets()
    erc4626._withdraw(msg.sender, receiver, owner, assets, shares)
    # a fee on top would be paid by those who stay; no sum of balances: those of some tokens are near 2^256
    assert before_raw - min(erc4626._total_assets(), before_raw) <= assets, e.SENT_MORE


@internal
def _move(owner: address, to: address, amount: uint256):
    """
    @custom:invariant I-76
    """
    fund_shares._update(owner)
    fund_shares._update(to)
    leaving: fund_shares.Exit = fund_shares._exit(owner)
    if leaving.shares != 0 and block.timestamp <= leaving.opens_at + EXIT_WINDOW_S:
        # an announcement is at most the balance, and announced shares only leave with it
        assert amount <= fund_shares._balance(owner) - leaving.shares, e.ANNOUNCED
    erc20._transfer(owner, to, amount)


@internal
@view
def _free_shares(owner: address) -> uint256:
    leaving: fund_shares.Exit = fund_shares._exit(owner)
    if not self._is_open(leaving) or self._is_loss_known():
        return 0
    return min(leaving.shares, fund_shares._balance(owner))


@internal
@view
def _is_open(leaving: fund_shares.Exit) -> bool:
    return block.timestamp >= leaving.opens_at and block.timestamp <= leaving.opens_at + EXIT_WINDOW_S


@internal
@view
def _is_loss_known() -> bool:
    """
    @dev Anybody may take such a loss, paid by this fund, so nobody can keep the shareholders in; except while old data
         leaves the loss in doubt, when nobody is paid for it.
    """
    return self.auction != empty(address) and staticcall Auction(self.auction).shortfall_wad() != 0
