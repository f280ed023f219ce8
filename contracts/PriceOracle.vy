# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Prices of underlyings and collateral assets
@notice One Chainlink-shaped feed for each, times an optional rate source for wrapped tokens. `read` serves every
        margin check and never reverts; see `feeds` for what makes a price dead.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from contracts.interfaces import IAggregatorV3
from contracts.interfaces import IPriceOracle
from contracts.modules import constants as c
from contracts.modules import errors_oracle as err
from contracts.modules import feeds

implements: IPriceOracle

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: feeds

# ownership
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

KIND_UNDERLYING: public(constant(uint256)) = 0
KIND_COLLATERAL: public(constant(uint256)) = 1
# A heartbeat below a minute would be dead between two blocks of some chains; above two days it says nothing.
MIN_HEARTBEAT_S: public(constant(uint256)) = 60
MAX_HEARTBEAT_S: public(constant(uint256)) = 2 * 86_400
MAX_FEED_DECIMALS: constant(uint256) = 18


@deploy
def __init__(governance: address):
    """
    @param governance Owner: wires feeds
    """
    ownable.__init__()
    ownable_2step.__init__()
    ownable._transfer_ownership(governance)


# --- governance ------------------------------------------------------------------------------------------------------


@external
def set_feed(
    kind: uint256,
    id: uint256,
    feed: address,
    heartbeat_s: uint256,
    rate_source: address = empty(address),
    rate_kind: uint256 = 0,
    rate_low_e9: uint256 = 0,
    rate_high_e9: uint256 = 0,
):
    """
    @notice Wires the feed of an underlying (kind 0) or collateral asset (kind 1)
    @dev Abuse: a false feed sets any price and so takes any margin; the owner is the timelock for that reason. The
         feed must give a good price now; the recorded price of the feed before is forgotten.
    @param id Underlying or asset, 0..15
    @param feed AggregatorV3 with at most 18 decimals
    @param heartbeat_s Age in seconds above which a price is dead, 60..172,800
    @param rate_source Contract with the value of one token, or zero
    @param rate_kind 0 none, 1 stEthPerToken(), 2 ERC-4626 convertToAssets(1e18); only for collateral
    @param rate_low_e9 Lowest believable rate, 1e-9; below it the price is dead
    @param rate_high_e9 Highest believable rate, 1e-9, < 2^48
    """
    ownable._check_owner()
    index: uint256 = self._index(kind, id)
    assert heartbeat_s >= MIN_HEARTBEAT_S and heartbeat_s <= MAX_HEARTBEAT_S, err.HEARTBEAT
    decimals: uint256 = convert(staticcall IAggregatorV3(feed).decimals(), uint256)
    assert decimals <= MAX_FEED_DECIMALS, err.DECIMALS
    rate: uint256 = 0
    if rate_kind == feeds.RATE_NONE:
        assert rate_source == empty(address), err.RATE_SOURCE
    else:
        # an underlying settles options by a past round, and rates have no past
        assert kind == KIND_COLLATERAL and rate_kind <= feeds.RATE_CONVERT_TO_ASSETS, err.RATE_SOURCE
        assert rate_source != empty(address), err.RATE_SOURCE
        assert rate_low_e9 > 0 and rate_low_e9 <= rate_high_e9 and rate_high_e9 < 2**48, err.RATE_BOUNDS
        rate = convert(rate_source, uint256) | (rate_low_e9 << 160) | (rate_high_e9 << 208)
    config: uint256 = convert(feed, uint256) | (heartbeat_s << 160) | (decimals << 192) | (rate_kind << 200)
    feeds._set_config(index, config, rate)
    assert (feeds._read(index) >> 128) & 255 == c.PRICE_FRESH, err.NOT_LIVE
    log IPriceOracle.FeedSet(
        kind=kind, id=id, feed=feed, heartbeat_s=heartbeat_s, rate_source=rate_source, rate_kind=rate_kind
    )


# --- anyone ----------------------------------------------------------------------------------------------------------


@external
def record(kind: uint256, id: uint256):
    """
    @notice Records the present good price as the fall-back for when the feed is dead
    @dev Reverts when the price is dead: only a price that passed every check may become the fall-back.
    """
    index: uint256 = self._index(kind, id)
    word: uint256 = feeds._read(index)
    assert (word >> 128) & 255 == c.PRICE_FRESH, err.NOT_LIVE
    price_wad: uint256 = word & (2**128 - 1)
    updated_at: uint256 = word >> 136
    feeds._records[index] = price_wad | (updated_at << 128)
    log IPriceOracle.PriceRecorded(kind=kind, id=id, price_wad=price_wad, updated_at=updated_at)


# --- views -----------------------------------------------------------------------------------------------------------


@external
@view
def read(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 32]:
    """
    @notice A word for each set bit of the two bitmaps (0..15 each), underlyings first, ascending:
            price wad (0..127) | state (128..135: 0 fresh, 2 dead) | updated at (136..199)
    @dev Never reverts, whatever a feed does, given 155,000 gas for each feed that fails.
    """
    return feeds._read_all((underlyings & 65535) | ((collaterals & 65535) << 16))


@external
@view
def price(kind: uint256, id: uint256) -> (uint256, uint256, uint256):
    """
    @notice (price wad, state, updated at) of one underlying (kind 0) or collateral asset (kind 1)
    """
    word: uint256 = feeds._read(self._index(kind, id))
    return word & (2**128 - 1), (word >> 128) & 255, word >> 136


@external
@view
def price_at(underlying: uint256, round_id: uint256, at: uint256) -> uint256:
    """
    @notice Price (wad) of the round that was current at `at` (unix s); the chain of rounds proves it
    @dev Reverts when the round does not exist, began after `at`, or a later round began by `at`.
    @param round_id Round number as the feed counts them (phase << 64 | round)
    """
    return feeds._price_at(self._index(KIND_UNDERLYING, underlying), round_id, at)


@external
@view
def feed_of(kind: uint256, id: uint256) -> (address, uint256, uint256, address, uint256):
    """
    @notice (feed, heartbeat s, feed decimals, rate source, rate kind); feed zero = not wired
    """
    index: uint256 = self._index(kind, id)
    config: uint256 = feeds._configs[index]
    return (
        convert(config & (2**160 - 1), address),
        (config >> 160) & (2**32 - 1),
        (config >> 192) & 255,
        convert(feeds._rates[index] & (2**160 - 1), address),
        config >> 200,
    )


@internal
@pure
def _index(kind: uint256, id: uint256) -> uint256:
    assert kind <= KIND_COLLATERAL and id < c.MAX_COLLATERALS, err.KIND
    return kind * 16 + id
