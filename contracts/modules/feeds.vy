# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Reading a price feed that may be broken
@notice Nothing a feed does (revert, endless loop, huge or malformed return data, no code) makes a read revert: it
        makes the price dead. One thing reverts on purpose: a feed that failed while it had less than its full gas
        allowance, because otherwise a caller could kill any price by sending little gas.
"""

from contracts.modules import constants as c
from contracts.modules import errors_oracle as err
from contracts.modules import fixed_math

# A Chainlink proxy answers in about 20,000 gas; a rate source behind two proxies in about 60,000.
CALL_GAS: constant(uint256) = 150_000
# Rates are bounded in units of 1e-9 (48 bits each).
E9: constant(uint256) = 10**9

ADDRESS: constant(uint256) = 2**160 - 1

RATE_NONE: constant(uint256) = 0
RATE_STETH_PER_TOKEN: constant(uint256) = 1
RATE_CONVERT_TO_ASSETS: constant(uint256) = 2

# index = kind * 16 + id
# feed address (0..159) | heartbeat s (160..191) | feed decimals (192..199) | rate kind (200..207)
_configs: uint256[32]
# rate source (0..159) | lowest rate, 1e-9 (160..207) | highest rate, 1e-9 (208..255)
_rates: uint256[32]
# last recorded good price: price wad (0..127) | updated at (128..191)
_records: uint256[32]


@internal
def _set_config(index: uint256, config: uint256, rate: uint256):
    # a record of the feed before must not stand in for the new one
    self._records[index] = 0
    self._configs[index] = config
    self._rates[index] = rate


@internal
@view
def _read(index: uint256) -> uint256:
    """
    @notice Word of one price: price (0..127) | state (128..135) | updated at (136..199)
    @dev A dead price is the recorded one, which may be 0.
    """
    config: uint256 = self._configs[index]
    return self._word(index, config, self._latest(config))


@internal
@view
def _read_all(bitmap: uint256) -> DynArray[uint256, 32]:
    """
    @notice The words of all set bits of a 32-bit bitmap of indices, ascending
    @dev A feed that several prices share is asked once: its answer cannot change within one static call.
    """
    words: DynArray[uint256, 32] = []
    # feeds asked so far, and what each answered
    asked: DynArray[uint256, 32] = []
    answers: DynArray[uint256, 32] = []
    bits: uint256 = bitmap
    for index: uint256 in range(32):
        if bits == 0:
            break
        if bits & 1 != 0:
            config: uint256 = self._configs[index]
            feed: uint256 = config & ADDRESS
            answer: uint256 = 0
            known: bool = False
            # at most as far as the shorter of two arrays of one length
            for k: uint256 in range(len(asked), bound=32):
                if asked[k] == feed:
                    answer = answers[k]
                    known = True
                    break
            if not known:
                answer = self._latest(config)
                asked.append(feed)
                answers.append(answer)
            words.append(self._word(index, config, answer))
        bits >>= 1
    return words


@internal
@view
def _latest(config: uint256) -> uint256:
    """
    @notice Last round of a feed: answer (0..127) | updated at (128..191); 0 if it is unusable or there is no feed
    """
    if config == 0:
        return 0
    answer: uint256 = 0
    updated_at: uint256 = 0
    answer, updated_at = self._round(convert(config & ADDRESS, address), method_id("latestRoundData()"), True)
    return answer | (updated_at << 128)


@internal
@view
def _word(index: uint256, config: uint256, latest: uint256) -> uint256:
    """
    @notice Word of one price from the last round of its feed
    """
    if latest != 0:
        price_wad: uint256 = self._live(index, config, latest & (2**128 - 1), latest >> 128)
        if price_wad != 0:
            return price_wad | (c.PRICE_FRESH << 128) | ((latest >> 128) << 136)
    recorded: uint256 = self._records[index]
    return (recorded & (2**128 - 1)) | (c.PRICE_DEAD << 128) | ((recorded >> 128) << 136)


@internal
@view
def _live(index: uint256, config: uint256, answer: uint256, updated_at: uint256) -> uint256:
    """
    @notice Price (wad) of a round that passes every check, else 0
    """
    if updated_at > block.timestamp:
        return 0
    if block.timestamp - updated_at > (config >> 160) & (2**32 - 1):
        return 0
    # answer < 2^90 and the scale <= 1e18: no overflow
    price_wad: uint256 = answer * 10 ** (18 - ((config >> 192) & 255))
    if price_wad > c.MAX_PRICE_WAD:
        return 0
    rate_kind: uint256 = config >> 200
    if rate_kind != RATE_NONE:
        # price < 2^90 and a rate inside its bounds < 2^48 * 1e9 < 2^78; rounds down, against whoever holds the asset
        price_wad = fixed_math._mul_div_down(price_wad, self._rate(self._rates[index], rate_kind), c.WAD)
        if price_wad > c.MAX_PRICE_WAD:
            return 0
    return price_wad


@internal
@view
def _round(feed: address, call_data: Bytes[36], check_answered: bool) -> (uint256, uint256):
    """
    @notice (answer, updated at) of a round, or (0, 0) if the call fails or the round is unusable
    """
    success: bool = False
    data: Bytes[160] = b""
    success, data = self._static_call(feed, call_data)
    if not success or len(data) < 160:
        return 0, 0
    answer: int256 = extract32(data, 32, output_type=int256)
    updated_at: uint256 = extract32(data, 96, output_type=uint256)
    if answer <= 0 or answer > convert(c.MAX_PRICE_WAD, int256) or updated_at == 0 or updated_at >= 2**64:
        return 0, 0
    # a round answered in an earlier one is a carried-over answer
    if check_answered and extract32(data, 128, output_type=uint256) < extract32(data, 0, output_type=uint256):
        return 0, 0
    return convert(answer, uint256), updated_at


@internal
@view
def _rate(rate: uint256, rate_kind: uint256) -> uint256:
    """
    @notice Rate in wad, or 0 if the source fails or is outside its bounds
    """
    success: bool = False
    data: Bytes[160] = b""
    call_data: Bytes[36] = method_id("stEthPerToken()")
    if rate_kind == RATE_CONVERT_TO_ASSETS:
        call_data = abi_encode(c.WAD, method_id=method_id("convertToAssets(uint256)"))
    success, data = self._static_call(convert(rate & ADDRESS, address), call_data)
    if not success or len(data) < 32:
        return 0
    value: uint256 = extract32(data, 0, output_type=uint256)
    if value < ((rate >> 160) & (2**48 - 1)) * E9 or value > (rate >> 208) * E9:
        return 0
    return value


@internal
@view
def _static_call(target: address, call_data: Bytes[36]) -> (bool, Bytes[160]):
    """
    @dev At most 160 bytes are copied, so a return-data bomb costs only its own gas.
    """
    gas_before: uint256 = msg.gas
    success: bool = False
    data: Bytes[160] = b""
    success, data = raw_call(
        target, call_data, max_outsize=160, gas=CALL_GAS, is_static_call=True, revert_on_failure=False
    )
    # EIP-150 hands on at most 63/64 of what is left; 1/32 and 10,000 more are a safe bound on that and the cold access
    assert success or gas_before > CALL_GAS + CALL_GAS // 32 + 10_000, err.LITTLE_GAS
    return success, data


@internal
@view
def _price_at(index: uint256, round_id: uint256, at: uint256) -> uint256:
    """
    @notice Price (wad) of the round that was current at `at`: updated(round) <= at < updated(next round)
    @dev The next round is round + 1 if there is one, and the first round of the next phase if there is one: an
         aggregator that its feed has left may write on, and no caller may choose between the two. A feed with a
         rate source has no history of rates, so the caller must not use one.
    """
    config: uint256 = self._configs[index]
    feed: address = convert(config & ADDRESS, address)
    answer: uint256 = 0
    updated_at: uint256 = 0
    answer, updated_at = self._round_at(feed, round_id)
    assert answer != 0, err.ROUND
    assert updated_at <= at, err.ROUND_LATE
    ignored: uint256 = 0
    next_at: uint256 = 0
    phase_at: uint256 = 0
    ignored, next_at = self._round_at(feed, round_id + 1)
    ignored, phase_at = self._round_at(feed, (((round_id >> 64) + 1) << 64) + 1)
    assert next_at != 0 or phase_at != 0, err.ROUND_EARLY
    assert next_at == 0 or next_at > at, err.ROUND_EARLY
    assert phase_at == 0 or phase_at > at, err.ROUND_EARLY
    price_wad: uint256 = answer * 10 ** (18 - ((config >> 192) & 255))
    assert price_wad <= c.MAX_PRICE_WAD, err.ROUND
    return price_wad


@internal
@view
def _round_at(feed: address, round_id: uint256) -> (uint256, uint256):
    if round_id >= 2**80:
        return 0, 0
    return self._round(feed, abi_encode(round_id, method_id=method_id("getRoundData(uint80)")), False)
