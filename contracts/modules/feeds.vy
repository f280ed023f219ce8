# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What a price is worth: fresh, late or dead
@notice A price is fresh up to the feed's heartbeat, late up to its dead age, and then dead: the recorded one stands in
        for it. A second feed that says something else kills it; one that is alone is as late as can be. While the
        sequencer of a layer 2 is down, or up for less than the grace time, every price is as late as can be.
        Word of a price: price wad (0..127) | state (128..135) | updated at (136..199) | late bps (200..215).
"""

from contracts.modules import constants as c
from contracts.modules import errors_oracle as err
from contracts.modules import feed_calls
from contracts.modules import feed_configs
from contracts.modules import fixed_math

uses: feed_configs

MAX_GRACE_S: constant(uint256) = 86_400
# Rates are bounded in units of 1e-9 (48 bits each).
E9: constant(uint256) = 10**9

# places in a word
PRICE: constant(uint256) = 2**128 - 1
STATE_SHIFT: constant(uint256) = 128
UPDATED_SHIFT: constant(uint256) = 136
LATE_SHIFT: constant(uint256) = 200
PRICE_AND_TIME: constant(uint256) = PRICE | ((2**64 - 1) << UPDATED_SHIFT)
LATEST: constant(uint256) = (c.PRICE_LATE << STATE_SHIFT) | (c.BPS << LATE_SHIFT)
DEAD: constant(uint256) = (c.PRICE_DEAD << STATE_SHIFT) | (c.BPS << LATE_SHIFT)

SEQUENCER: immutable(address)
GRACE_S: immutable(uint256)


@deploy
def __init__(sequencer: address, grace_s: uint256):
    """
    @param sequencer Chainlink's sequencer uptime feed of this chain; zero where there is no sequencer
    @param grace_s How long (s) prices stay late after the sequencer came back, <= 86,400; 0 without sequencer
    """
    assert sequencer.is_contract if sequencer != empty(address) else grace_s == 0, err.SEQUENCER
    assert grace_s <= MAX_GRACE_S, err.SEQUENCER
    SEQUENCER = sequencer
    GRACE_S = grace_s


@internal
@view
def _is_live() -> bool:
    """
    @notice Whether the chain's sequencer is up, and was for the grace time; a feed that cannot be read says no
    """
    if SEQUENCER == empty(address):
        return True
    since: uint256 = feed_calls._up_since(SEQUENCER)
    return since != 0 and since <= block.timestamp and block.timestamp - since >= GRACE_S


@internal
@view
def _read(index: uint256) -> uint256:
    """
    @notice Word of one price
    """
    source: uint256 = feed_configs._resolve(index)
    config: uint256 = feed_configs._configs[source]
    latest: uint256 = feed_calls._latest(convert(config & feed_configs.ADDRESS, address))
    word: uint256 = self._word(source, config, latest)
    return word if self._is_live() else self._as_late(word)


@internal
@view
def _read_all(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 32]:
    """
    @notice The words of all set bits of two 16-bit bitmaps, underlyings first, ascending
    @dev A feed that several prices share is asked once: its answer cannot change within one static call. A collateral
         that shares the price of an underlying in here costs no storage read: the underlying's config names it.
    @custom:invariant I-15, I-41
    """
    words: DynArray[uint256, 32] = []
    # configs of the feeds asked so far, and what each answered; the underlyings' stand where their words do
    asked: DynArray[uint256, 32] = []
    answers: DynArray[uint256, 32] = []
    # collaterals that share a price of those
    shared: uint256 = 0
    bits: uint256 = underlyings
    for u: uint256 in range(16):
        if bits == 0:
            break
        if bits & 1 != 0:
            config: uint256 = feed_configs._configs[u]
            latest: uint256 = feed_calls._latest(convert(config & feed_configs.ADDRESS, address))
            asked.append(config)
            answers.append(latest)
            words.append(self._word(u, config, latest))
            shared |= config >> feed_configs.SHARED_SHIFT
        bits >>= 1
    count: uint256 = len(words)
    bits = collaterals
    for i: uint256 in range(16):
        if bits == 0:
            break
        if bits & 1 != 0:
            # no word is 0
            word: uint256 = 0
            if (shared >> i) & 1 != 0:
                for k: uint256 in range(count, bound=16):
                    if (asked[k] >> (feed_configs.SHARED_SHIFT + i)) & 1 != 0:
                        word = words[k]
                        break
            else:
                source: uint256 = feed_configs.FIRST_COLLATERAL + i
                config: uint256 = feed_configs._configs[source]
                if config & feed_configs.IS_SHARED != 0:
                    source = config & 15
                    config = feed_configs._configs[source]
                latest: uint256 = 0
                known: bool = False
                k: uint256 = 0
                for other: uint256 in asked:
                    if (other ^ config) & feed_configs.ADDRESS == 0:
                        latest = answers[k]
                        known = True
                        break
                    k = unsafe_add(k, 1)
                if not known:
                    latest = feed_calls._latest(convert(config & feed_configs.ADDRESS, address))
                    asked.append(config)
                    answers.append(latest)
                word = self._word(source, config, latest)
            words.append(word)
        bits >>= 1
    if not self._is_live():
        for k: uint256 in range(len(words), bound=32):
            words[k] = self._as_late(words[k])
    return words


@internal
@view
def _word(index: uint256, config: uint256, latest: uint256) -> uint256:
    """
    @notice Word of one price from the last round of its feed
    """
    word: uint256 = self._quote(config, (config >> feed_configs.DECIMALS_SHIFT) & 255, latest)
    if config & feed_configs.HAS_SECONDARY != 0:
        word = self._second_opinion(index, config, word)
    rate_kind: uint256 = (config >> feed_configs.RATE_KIND_SHIFT) & 255
    if rate_kind != feed_configs.RATE_NONE and word != 0:
        word = self._rated(index, rate_kind, word)
    if word != 0:
        return word
    recorded: uint256 = feed_configs._records[index]
    return (recorded & PRICE) | ((recorded >> 128) << UPDATED_SHIFT) | DEAD


@internal
@view
def _quote(config: uint256, decimals: uint256, latest: uint256) -> uint256:
    """
    @notice Word of a round by its age, or 0 if it is dead
    @custom:invariant I-42
    """
    if latest == 0:
        return 0
    # answer < 2^90 and decimals <= 18: below 2^150. updated at <= now by feed_calls._usable
    price_wad: uint256 = unsafe_mul(latest & PRICE, pow_mod256(10, unsafe_sub(18, decimals)))
    age: uint256 = unsafe_sub(block.timestamp, latest >> 128)
    if price_wad > c.MAX_PRICE_WAD:
        return 0
    word: uint256 = price_wad | ((latest >> 128) << UPDATED_SHIFT)
    heartbeat_s: uint256 = (config >> feed_configs.HEARTBEAT_SHIFT) & (2**24 - 1)
    if age <= heartbeat_s:
        return word
    dead_s: uint256 = (config >> feed_configs.DEAD_SHIFT) & (2**24 - 1)
    if age > dead_s:
        return 0
    # dead_s > heartbeat_s here; rounds up, against whoever's margin waits for the price
    late_bps: uint256 = fixed_math._mul_div_up(age - heartbeat_s, c.BPS, dead_s - heartbeat_s)
    return word | (c.PRICE_LATE << STATE_SHIFT) | (late_bps << LATE_SHIFT)


@internal
@view
def _second_quote(config: uint256, secondary: uint256) -> uint256:
    """
    @notice Word of the secondary feed by the ages that hold for the primary one, or 0 if it is dead
    """
    latest: uint256 = feed_calls._latest(convert(secondary & feed_configs.ADDRESS, address))
    return self._quote(config, (secondary >> feed_configs.DECIMALS_SHIFT) & 255, latest)


@internal
@view
def _is_secondary_fresh(index: uint256) -> bool:
    second: uint256 = self._second_quote(feed_configs._configs[index], feed_configs._secondaries[index])
    return second != 0 and (second >> STATE_SHIFT) & 255 == c.PRICE_FRESH


@internal
@view
def _second_opinion(index: uint256, config: uint256, word: uint256) -> uint256:
    """
    @notice The word, or the secondary feed's as late as can be if there is none; 0 if the two feeds are too far apart
    @custom:invariant I-43
    """
    secondary: uint256 = feed_configs._secondaries[index]
    second: uint256 = self._second_quote(config, secondary)
    if second == 0:
        return word
    if word == 0:
        return self._as_late(second)
    low: uint256 = min(word & PRICE, second & PRICE)
    high: uint256 = max(word & PRICE, second & PRICE)
    # both < 2^90, times less than 2^14
    if (high - low) * c.BPS > low * (secondary >> feed_configs.DEVIATION_SHIFT):
        return 0
    return word


@internal
@view
def _rated(index: uint256, rate_kind: uint256, word: uint256) -> uint256:
    """
    @notice The word with its price times the rate, or 0 if the rate source fails or is outside its bounds
    """
    rate: uint256 = feed_configs._rates[index]
    call_data: Bytes[36] = method_id("stEthPerToken()")
    if rate_kind == feed_configs.RATE_CONVERT_TO_ASSETS:
        call_data = abi_encode(c.WAD, method_id=method_id("convertToAssets(uint256)"))
    value: uint256 = feed_calls._value(convert(rate & feed_configs.ADDRESS, address), call_data)
    if value < ((rate >> feed_configs.RATE_LOW_SHIFT) & (2**48 - 1)) * E9:
        return 0
    if value > (rate >> feed_configs.RATE_HIGH_SHIFT) * E9:
        return 0
    # price < 2^90 and a rate inside its bounds < 2^48 * 1e9 < 2^78; rounds down, against whoever holds the asset
    price_wad: uint256 = fixed_math._mul_div_down(word & PRICE, value, c.WAD)
    if price_wad == 0 or price_wad > c.MAX_PRICE_WAD:
        return 0
    return (word & ~PRICE) | price_wad


@internal
@pure
def _as_late(word: uint256) -> uint256:
    """
    @notice The word as late as can be; a dead one stays dead
    """
    if (word >> STATE_SHIFT) & 255 == c.PRICE_DEAD:
        return word
    return (word & PRICE_AND_TIME) | LATEST
