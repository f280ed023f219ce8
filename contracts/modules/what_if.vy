# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Hypothetical trades and deposits on the words of an account
@notice docs/margin-rule.md, section 2. Rewrites the state words as MarginAccounts would after a trade without fees. Simple
        rather than fast: nothing on chain waits for it.
"""

from contracts.interfaces import IMarginLens
from contracts.modules import closing
from contracts.modules import constants as c
from contracts.modules import errors_engine as errors
from contracts.modules import fixed_math

LOTS: constant(int256) = 10**6
MAX_SIGNED_LOTS: constant(int256) = 2**55 - 1
MAX_BASE: constant(int256) = 2**191 - 1
MAX_AMOUNT: constant(int256) = 2**112 - 1


@internal
@pure
def _signed(word: uint256) -> int256:
    return convert(convert(word, bytes32), int256)


@internal
@pure
def _unsigned(number: int256) -> uint256:
    return convert(convert(number, bytes32), uint256)


@internal
@pure
def _add_cash(cash: uint256, delta_wad: int256) -> uint256:
    """
    @notice Cash word after adding to it.
    """
    return self._unsigned(self._signed(cash) + delta_wad)


@internal
@pure
def _trade(
    words: DynArray[uint256, c.MAX_WORDS], delta: IMarginLens.Delta, carry: int256
) -> DynArray[uint256, c.MAX_WORDS]:
    """
    @notice State words after one trade.
    @param words State words before
    @param delta The trade; lots > 0 buys
    @param carry Carry now (wad per unit), for a perpetual
    """
    underlying: uint256 = delta.instrument >> 8
    assert underlying < c.MAX_UNDERLYINGS, errors.BAD_INSTRUMENT
    assert delta.price_wad <= c.MAX_PRICE_WAD, errors.BAD_PRICE
    assert delta.lots >= -MAX_SIGNED_LOTS and delta.lots <= MAX_SIGNED_LOTS, errors.BAD_LOTS
    if delta.lots == 0:
        return words
    cost: int256 = delta.lots * convert(delta.price_wad, int256)
    result: DynArray[uint256, c.MAX_WORDS] = []
    if delta.instrument & 255 >= c.FUTURE_B_SLOT:
        result = self._trade_delta_one(
            words, underlying, c.PERP_SLOT - (delta.instrument & 255), delta.lots, delta.lots * carry - cost
        )
    else:
        result = self._trade_option(words, underlying, delta.instrument & 255, delta.lots)
        # paid up, received down: against the account
        result[1] = self._add_cash(result[1], -fixed_math._ceil_div(cost, LOTS))
    assert self._positions(result[0]) <= c.MAX_POSITIONS, errors.TOO_MANY_POSITIONS
    return result


@internal
@pure
def _trade_delta_one(
    words: DynArray[uint256, c.MAX_WORDS], underlying: uint256, kind: uint256, traded: int256, added: int256
) -> DynArray[uint256, c.MAX_WORDS]:
    """
    @notice Adds lots and base (lot x wad) to a perpetual (kind 0) or a future (1 = slot 254, 2 = slot 253).
    """
    bit: uint256 = self._delta_bit(underlying, kind)
    first: uint256 = self._first(words[0], underlying)
    for k: uint256 in range(kind, bound=2):
        first += convert(words[0] & self._delta_bit(underlying, k) != 0, uint256)
    beyond: uint256 = first
    lots: int256 = 0
    base: int256 = 0
    if words[0] & bit != 0:
        beyond = first + 1
        lots = self._signed(words[first] << 192) >> 192
        base = self._signed(words[first]) >> 64
    closed: int256 = closing._closed(lots, base, traded, added)
    lots += traded
    base += added - closed
    assert abs(lots) <= MAX_SIGNED_LOTS, errors.BAD_LOTS
    assert abs(base) <= MAX_BASE, errors.BAD_PRICE

    section: DynArray[uint256, 34] = []
    head: uint256 = words[0] & ~bit
    if lots != 0:
        head |= bit
        section.append((self._unsigned(base) << 64) | (self._unsigned(lots) & (2**64 - 1)))
    result: DynArray[uint256, c.MAX_WORDS] = self._splice(words, head, first, beyond, section)
    if closed != 0:
        # the profit becomes cash, down, against the account
        result[1] = self._add_cash(result[1], fixed_math._floor_div(closed, LOTS))
    return result


@internal
@pure
def _trade_option(
    words: DynArray[uint256, c.MAX_WORDS], underlying: uint256, slot: uint256, traded: int256
) -> DynArray[uint256, c.MAX_WORDS]:
    position: uint256 = 8 * underlying
    count: uint256 = (words[0] >> position) & 255
    first: uint256 = self._first(words[0], underlying) + self._delta_ones(words[0], underlying)
    lots: int256 = traded
    lanes: DynArray[uint256, c.MAX_POSITIONS + 1] = []
    for i: uint256 in range(count, bound=c.MAX_POSITIONS):
        lane: uint256 = (words[first + i // 4] >> (64 * (i % 4))) & (2**64 - 1)
        if lane & 255 != slot:
            lanes.append(lane)
            continue
        held: int256 = convert(lane >> 9, int256)
        lots += -held if lane & 256 != 0 else held
    assert abs(lots) <= MAX_SIGNED_LOTS, errors.BAD_LOTS
    if lots != 0:
        lanes.append(slot | (256 if lots < 0 else 0) | (convert(abs(lots), uint256) << 9))
    assert len(lanes) <= c.MAX_POSITIONS, errors.TOO_MANY_POSITIONS

    section: DynArray[uint256, 34] = []
    for i: uint256 in range(c.MAX_POSITIONS // 4):
        word: uint256 = 0
        for k: uint256 in range(4):
            if 4 * i + k < len(lanes):
                word |= lanes[4 * i + k] << (64 * k)
        if word != 0:
            section.append(word)
    head: uint256 = (words[0] & ~(255 << position)) | (len(lanes) << position)
    return self._splice(words, head, first, first + (count + 3) // 4, section)


@internal
@pure
def _first(head: uint256, underlying: uint256) -> uint256:
    """
    @notice Index of the first word of an underlying's section, present or not.
    """
    index: uint256 = 2
    for k: uint256 in range(c.MAX_COLLATERALS):
        index += (head >> (144 + k)) & 1
    for u: uint256 in range(underlying, bound=c.MAX_UNDERLYINGS):
        index += self._delta_ones(head, u) + (((head >> (8 * u)) & 255) + 3) // 4
    return index


@internal
@pure
def _positions(head: uint256) -> uint256:
    """
    @notice Number of options, perpetuals and futures.
    """
    count: uint256 = 0
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        count += self._delta_ones(head, u) + ((head >> (8 * u)) & 255)
    return count


@internal
@pure
def _delta_bit(underlying: uint256, kind: uint256) -> uint256:
    """
    @notice Bit of the head for a perpetual (kind 0) or a future (1 = slot 254, 2 = slot 253).
    """
    return 1 << (underlying + (128 if kind == 0 else 208 + 16 * kind))


@internal
@pure
def _delta_ones(head: uint256, underlying: uint256) -> uint256:
    """
    @notice How many of perpetual and futures of an underlying the account has.
    """
    return ((head >> (128 + underlying)) & 1) + ((head >> (224 + underlying)) & 1) + ((head >> (240 + underlying)) & 1)


@internal
@pure
def _put_collateral(
    words: DynArray[uint256, c.MAX_WORDS],
    asset: uint256,
    amount_raw: int256,
    config: uint256,
    cap_raw: uint256,
    total_raw: uint256,
) -> DynArray[uint256, c.MAX_WORDS]:
    """
    @notice State words after a deposit (amount > 0) or withdrawal of an asset.
    @param config decimals (144..151) | linked underlying + 1 (152..159)
    @param cap_raw Cap on the deposits of everybody
    @param total_raw Deposits of everybody before
    """
    assert amount_raw >= -MAX_AMOUNT and amount_raw <= MAX_AMOUNT, errors.BAD_AMOUNT
    bit: uint256 = 1 << (144 + asset)
    first: uint256 = 2
    for k: uint256 in range(asset, bound=c.MAX_COLLATERALS):
        first += (words[0] >> (144 + k)) & 1
    beyond: uint256 = first
    held: int256 = amount_raw
    if words[0] & bit != 0:
        beyond = first + 1
        held += convert(words[first] & (2**128 - 1), int256)
    total: int256 = convert(total_raw, int256) + amount_raw
    assert held >= 0 and total >= 0, errors.BAD_AMOUNT

    section: DynArray[uint256, 34] = []
    head: uint256 = words[0] & ~bit
    if held != 0:
        head |= bit
        use_bps: uint256 = c.BPS
        if cap_raw != 0:
            # up, against the account
            use_bps = min(c.BPS, fixed_math._mul_div_up(convert(total, uint256), c.BPS, cap_raw))
        section.append(convert(held, uint256) | (use_bps << 128) | config)
    return self._splice(words, head, first, beyond, section)


@internal
@pure
def _splice(
    words: DynArray[uint256, c.MAX_WORDS], head: uint256, first: uint256, beyond: uint256, section: DynArray[uint256, 34]
) -> DynArray[uint256, c.MAX_WORDS]:
    """
    @notice Words with those from `first` to before `beyond` replaced, under a new head.
    """
    result: DynArray[uint256, c.MAX_WORDS] = [head]
    for i: uint256 in range(1, first, bound=c.MAX_WORDS):
        result.append(words[i])
    for word: uint256 in section:
        result.append(word)
    for i: uint256 in range(beyond, len(words), bound=c.MAX_WORDS):
        result.append(words[i])
    return result
