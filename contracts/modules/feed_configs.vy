# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Which feed prices what
@notice One word for each index says everything that a price without second feed and rate needs. Index: underlyings
        0..15, collateral assets 16..31, cash 32.
"""

from contracts.interfaces import IAggregatorV3
from contracts.interfaces import IPriceOracle
from contracts.modules import errors_oracle as err

# A heartbeat below a minute would be late between two blocks of some chains; above two days it says nothing.
MIN_HEARTBEAT_S: constant(uint256) = 60
MAX_HEARTBEAT_S: constant(uint256) = 2 * 86_400
MAX_DEAD_S: constant(uint256) = 7 * 86_400
# Two honest feeds differ by their own update thresholds, so a tighter limit would only kill prices.
MIN_DEVIATION_BPS: constant(uint256) = 10
MAX_DEVIATION_BPS: constant(uint256) = 5_000
MAX_FEED_DECIMALS: constant(uint256) = 18

RATE_NONE: constant(uint256) = 0
RATE_STETH_PER_TOKEN: constant(uint256) = 1
RATE_CONVERT_TO_ASSETS: constant(uint256) = 2

FIRST_COLLATERAL: constant(uint256) = 16
CASH: constant(uint256) = 32
INDICES: constant(uint256) = 33

ADDRESS: constant(uint256) = 2**160 - 1
# places in a config word
DECIMALS_SHIFT: constant(uint256) = 160
HEARTBEAT_SHIFT: constant(uint256) = 168
DEAD_SHIFT: constant(uint256) = 192
RATE_KIND_SHIFT: constant(uint256) = 216
HAS_SECONDARY: constant(uint256) = 2**224
IS_SHARED: constant(uint256) = 2**225
SHARED_SHIFT: constant(uint256) = 240
SHARED: constant(uint256) = 65_535 << SHARED_SHIFT
# places in the word of a secondary feed and of a rate
DEVIATION_SHIFT: constant(uint256) = 168
RATE_LOW_SHIFT: constant(uint256) = 160
RATE_HIGH_SHIFT: constant(uint256) = 208

# feed (0..159) | its decimals (160..167) | heartbeat s (168..191) | dead after s (192..215) | rate kind (216..223) |
# has a secondary feed (224) | of an underlying: bitmap of the collaterals that share its price (240..255).
# A collateral that shares a price: underlying (0..3) | 1 (225).
_configs: uint256[INDICES]
# feed (0..159) | its decimals (160..167) | largest deviation bps (168..255)
_secondaries: uint256[INDICES]
# rate source (0..159) | lowest rate, 1e-9 (160..207) | highest rate, 1e-9 (208..255)
_rates: uint256[INDICES]
# last recorded good price: price wad (0..127) | updated at (128..191)
_records: uint256[INDICES]


@internal
def _set(index: uint256, config: IPriceOracle.FeedConfig):
    """
    @notice Checks and stores the feed of an index; the collaterals that share it go on sharing it
    """
    assert config.heartbeat_s >= MIN_HEARTBEAT_S and config.heartbeat_s <= MAX_HEARTBEAT_S, err.HEARTBEAT
    assert config.dead_s >= config.heartbeat_s and config.dead_s <= MAX_DEAD_S, err.DEAD_AGE
    word: uint256 = (
        self._feed(config.feed) | (config.heartbeat_s << HEARTBEAT_SHIFT) | (config.dead_s << DEAD_SHIFT)
        | (config.rate_kind << RATE_KIND_SHIFT)
    )
    secondary: uint256 = 0
    if config.secondary == empty(address):
        assert config.max_deviation_bps == 0, err.DEVIATION
    else:
        # a feed has no second opinion on itself
        assert config.secondary != config.feed, err.SECONDARY
        assert config.max_deviation_bps >= MIN_DEVIATION_BPS, err.DEVIATION
        assert config.max_deviation_bps <= MAX_DEVIATION_BPS, err.DEVIATION
        secondary = self._feed(config.secondary) | (config.max_deviation_bps << DEVIATION_SHIFT)
        word |= HAS_SECONDARY
    self._forget(index)
    # _forget took a shared price's word away: what is left is the bitmap of who shares this one
    self._configs[index] = word | (self._configs[index] & SHARED)
    self._secondaries[index] = secondary
    self._rates[index] = self._rate_word(index, config)


@internal
def _share(collateral: uint256, underlying: uint256):
    """
    @notice Prices a collateral by the feed of an underlying, whatever that is
    """
    index: uint256 = FIRST_COLLATERAL + collateral
    assert self._configs[underlying] != 0, err.NOT_LIVE
    self._forget(index)
    self._configs[index] = underlying | IS_SHARED
    self._configs[underlying] |= 1 << (SHARED_SHIFT + collateral)


@internal
def _forget(index: uint256):
    # a record of the feed before must not stand in for the new one
    self._records[index] = 0
    self._secondaries[index] = 0
    self._rates[index] = 0
    config: uint256 = self._configs[index]
    if config & IS_SHARED != 0:
        self._configs[config & 15] &= ~(1 << (SHARED_SHIFT + index - FIRST_COLLATERAL))
        self._configs[index] = 0


@internal
@view
def _resolve(index: uint256) -> uint256:
    """
    @notice Index whose feed prices this one: its own, or that of the underlying it shares
    """
    config: uint256 = self._configs[index]
    return config & 15 if config & IS_SHARED != 0 else index


@internal
@view
def _info(index: uint256) -> (IPriceOracle.FeedConfig, uint256, uint256):
    """
    @notice (what was set, decimals of the feed, decimals of the secondary feed)
    """
    word: uint256 = self._configs[index]
    secondary: uint256 = self._secondaries[index]
    rate: uint256 = self._rates[index]
    config: IPriceOracle.FeedConfig = IPriceOracle.FeedConfig(
        feed=convert(word & ADDRESS, address),
        heartbeat_s=(word >> HEARTBEAT_SHIFT) & (2**24 - 1),
        dead_s=(word >> DEAD_SHIFT) & (2**24 - 1),
        secondary=convert(secondary & ADDRESS, address),
        max_deviation_bps=secondary >> DEVIATION_SHIFT,
        rate_source=convert(rate & ADDRESS, address),
        rate_kind=(word >> RATE_KIND_SHIFT) & 255,
        rate_low_e9=(rate >> RATE_LOW_SHIFT) & (2**48 - 1),
        rate_high_e9=rate >> RATE_HIGH_SHIFT,
    )
    return config, (word >> DECIMALS_SHIFT) & 255, (secondary >> DECIMALS_SHIFT) & 255


@internal
@view
def _feed(feed: address) -> uint256:
    """
    @notice A feed and its decimals: the lowest 168 bits of its word
    """
    decimals: uint256 = convert(staticcall IAggregatorV3(feed).decimals(), uint256)
    assert decimals <= MAX_FEED_DECIMALS, err.DECIMALS
    return convert(feed, uint256) | (decimals << DECIMALS_SHIFT)


@internal
@pure
def _rate_word(index: uint256, config: IPriceOracle.FeedConfig) -> uint256:
    if config.rate_kind == RATE_NONE:
        assert config.rate_source == empty(address), err.RATE_SOURCE
        assert config.rate_low_e9 == 0 and config.rate_high_e9 == 0, err.RATE_BOUNDS
        return 0
    # an underlying settles options by a past round, and rates have no past; cash is what everything is counted in
    assert index >= FIRST_COLLATERAL and index < CASH, err.RATE_SOURCE
    assert config.rate_kind <= RATE_CONVERT_TO_ASSETS and config.rate_source != empty(address), err.RATE_SOURCE
    assert config.rate_low_e9 > 0 and config.rate_low_e9 <= config.rate_high_e9, err.RATE_BOUNDS
    assert config.rate_high_e9 < 2**48, err.RATE_BOUNDS
    return (
        convert(config.rate_source, uint256) | (config.rate_low_e9 << RATE_LOW_SHIFT)
        | (config.rate_high_e9 << RATE_HIGH_SHIFT)
    )
