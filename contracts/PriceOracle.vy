# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Prices of underlyings, collateral assets and cash
@notice One Chainlink-shaped feed for each, an optional second one, times an optional rate source for wrapped tokens.
        `read` serves every margin check and reverts for want of gas alone; see `feeds` for what makes a price late or dead.
"""

from snekmate.auth import ownable
from snekmate.auth import ownable_2step

from contracts.interfaces import IPriceOracle
from contracts.modules import constants as c
from contracts.modules import errors_oracle as err
from contracts.modules import feed_configs
from contracts.modules import feeds
from contracts.modules import rounds

implements: IPriceOracle

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: feed_configs
initializes: feeds[feed_configs := feed_configs]

# ownership
exports: (
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
)

KIND_UNDERLYING: public(constant(uint256)) = 0
KIND_COLLATERAL: public(constant(uint256)) = 1
KIND_CASH: public(constant(uint256)) = 2


@deploy
def __init__(governance: address, sequencer: address, grace_s: uint256):
    """
    @param governance Owner: wires feeds
    @param sequencer Chainlink's sequencer uptime feed of this chain; zero where there is no sequencer
    @param grace_s How long (s) prices stay late after the sequencer came back, <= 86,400; 0 without sequencer
    """
    ownable.__init__()
    ownable_2step.__init__()
    ownable._transfer_ownership(governance)
    feeds.__init__(sequencer, grace_s)


# --- governance ------------------------------------------------------------------------------------------------------


@external
def set_feed(kind: uint256, id: uint256, config: IPriceOracle.FeedConfig):
    """
    @notice Wires the feed of an underlying (kind 0) or collateral asset (kind 1); IPriceOracle has the units and bounds
    @dev Abuse: a false feed sets any price and so takes any margin; a heartbeat or dead age too long keeps an old price
         alive, one too short kills a good one; a tight deviation lets either feed kill the price; a feed that swallows
         its own failures can be made to answer wrong by a caller with little gas. The owner is the timelock for that
         reason. The feed, and the secondary one, must give a good price now, and agree. The recorded
         price of the feed before is forgotten, and an expiry of the past can from now on only be settled by the rounds
         of the new feed. Collaterals that share the price of the underlying follow it.
    @param id Underlying or asset, 0..15
    """
    ownable._check_owner()
    assert kind != KIND_CASH, err.KIND
    self._wire(kind, id, config)


@external
def set_cash_feed(config: IPriceOracle.FeedConfig):
    """
    @notice Wires the feed of the cash token in USD; no rate source
    @dev Abuse: a false feed hides a loss of peg, or feigns one and so raises everybody's initial margin. As for
         `set_feed` otherwise.
    """
    ownable._check_owner()
    self._wire(KIND_CASH, 0, config)


@external
def share_feed(collateral: uint256, underlying: uint256):
    """
    @notice Prices a collateral asset by the feed of an underlying, now and whenever that changes; `set_feed` ends it
    @dev Abuse: an asset that is not the underlying one to one gets a price that is not its own. The margin check saves
         the storage read of a config. The recorded price of the asset is from now on that of the underlying.
    @param collateral Asset, 0..15
    @param underlying Underlying with a feed, 0..15
    """
    ownable._check_owner()
    source: uint256 = self._index(KIND_UNDERLYING, underlying)
    index: uint256 = self._index(KIND_COLLATERAL, collateral)
    feed_configs._share(collateral, underlying)
    assert self._state(feeds._read(source)) == c.PRICE_FRESH, err.NOT_LIVE
    log IPriceOracle.FeedShared(collateral=collateral, underlying=underlying)


# --- anyone ----------------------------------------------------------------------------------------------------------


@external
def record(kind: uint256, id: uint256):
    """
    @notice Records the present good price as the fall-back for when the feed is dead; that of a collateral which shares
            a price is recorded for the underlying
    @dev Reverts unless the price is fresh: only one that passed every check may become the fall-back.
    """
    self._record(feed_configs._resolve(self._index(kind, id)))


# --- views -----------------------------------------------------------------------------------------------------------


@external
@view
def read(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 32]:
    """
    @notice A word for each set bit of the two bitmaps (0..15 each), underlyings first, ascending:
            price wad (0..127) | state (128..135: 0 fresh, 1 late, 2 dead) | updated at (136..199) |
            late bps (200..215: 0 when fresh, 10,000 when dead, between them it rises with age)
    @dev Never reverts, whatever a feed does, given 165,000 gas for each feed that fails.
    """
    return feeds._read_all(underlyings & 65535, collaterals & 65535)


@external
@view
def price(kind: uint256, id: uint256) -> (uint256, uint256, uint256):
    """
    @notice (price wad, state, updated at) of one underlying (kind 0), collateral asset (kind 1) or cash (kind 2, id 0)
    """
    word: uint256 = feeds._read(self._index(kind, id))
    return word & feeds.PRICE, self._state(word), self._updated_at(word)


@external
@view
def cash_price() -> (uint256, uint256):
    """
    @notice (price wad, state) of the cash token in USD; (0, 2) while it has no feed
    """
    word: uint256 = feeds._read(feed_configs.CASH)
    return word & feeds.PRICE, self._state(word)


@external
@view
def is_live() -> bool:
    """
    @notice Whether the chain's sequencer is up and was for the grace time; always so where there is none
    """
    return feeds._is_live()


@external
@view
def sequencer() -> (address, uint256):
    """
    @notice (sequencer uptime feed, grace time in s); zeros where there is none
    """
    return feeds.SEQUENCER, feeds.GRACE_S


@external
@view
def price_at(underlying: uint256, round_id: uint256, next_round_id: uint256, at: uint256) -> uint256:
    """
    @notice Price (wad) of the round that was current at `at` (unix s); `rounds` says how the chain of rounds proves it
    @dev Reverts unless proved. By the primary feed alone; not proved before a round came after `at`.
    @param round_id Round number as the feed counts them (phase << 64 | round)
    @param next_round_id The next complete round of the phase; or, when there is none, the first of any later phase
    """
    index: uint256 = self._index(KIND_UNDERLYING, underlying)
    config: uint256 = feed_configs._configs[index]
    feed: address = convert(config & feed_configs.ADDRESS, address)
    decimals: uint256 = (config >> feed_configs.DECIMALS_SHIFT) & 255
    return rounds._price_at(feed, decimals, round_id, next_round_id, at)


@external
@view
def feed_of(kind: uint256, id: uint256) -> (IPriceOracle.FeedConfig, uint256, uint256, uint256):
    """
    @notice (config, decimals of the feed, decimals of the secondary feed, underlying + 1 whose price it shares or 0);
            all of the underlying's for a collateral that shares its price; a zero feed is not wired
    """
    index: uint256 = self._index(kind, id)
    source: uint256 = feed_configs._resolve(index)
    config: IPriceOracle.FeedConfig = empty(IPriceOracle.FeedConfig)
    decimals: uint256 = 0
    secondary_decimals: uint256 = 0
    config, decimals, secondary_decimals = feed_configs._info(source)
    return config, decimals, secondary_decimals, source + 1 if source != index else 0


# --- internal --------------------------------------------------------------------------------------------------------


@internal
def _wire(kind: uint256, id: uint256, config: IPriceOracle.FeedConfig):
    index: uint256 = self._index(kind, id)
    feed_configs._set(index, config)
    # a price that died before anybody had recorded it would be worth nothing, beyond doubt
    self._record(index)
    if config.secondary != empty(address):
        assert feeds._is_secondary_fresh(index), err.SECONDARY
    log IPriceOracle.FeedSet(
        kind=kind,
        id=id,
        feed=config.feed,
        heartbeat_s=config.heartbeat_s,
        dead_s=config.dead_s,
        secondary=config.secondary,
        max_deviation_bps=config.max_deviation_bps,
        rate_source=config.rate_source,
        rate_kind=config.rate_kind,
        rate_low_e9=config.rate_low_e9,
        rate_high_e9=config.rate_high_e9,
    )


@internal
def _record(source: uint256):
    word: uint256 = feeds._read(source)
    assert self._state(word) == c.PRICE_FRESH, err.NOT_LIVE
    price_wad: uint256 = word & feeds.PRICE
    updated_at: uint256 = self._updated_at(word)
    feed_configs._records[source] = price_wad | (updated_at << 128)
    log IPriceOracle.PriceRecorded(kind=source // 16, id=source % 16, price_wad=price_wad, updated_at=updated_at)


@internal
@pure
def _index(kind: uint256, id: uint256) -> uint256:
    assert kind <= KIND_CASH and id < (1 if kind == KIND_CASH else c.MAX_COLLATERALS), err.KIND
    return kind * 16 + id


@internal
@pure
def _state(word: uint256) -> uint256:
    return (word >> feeds.STATE_SHIFT) & 255


@internal
@pure
def _updated_at(word: uint256) -> uint256:
    return (word >> feeds.UPDATED_SHIFT) & (2**64 - 1)
