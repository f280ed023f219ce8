# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Reads the books of a whole protocol in one call
@notice Adds up what every account has and compares it with what MarginAccounts holds. Tests only; at most 16 accounts, 4
        underlyings and 16 assets. Written from docs/margin-rule.md section 2, not from the ledger's code.
"""

from ethereum.ercs import IERC20

from contracts.interfaces import IMarginEngine


interface Accounts:
    def account_count() -> uint256: view
    def state(account: uint256) -> DynArray[uint256, 128]: view
    def open_lots(instrument: uint256) -> uint256: view
    def collateral_info(asset: uint256) -> (address, uint256, uint256, uint256, uint256): view
    def cash_token() -> address: view
    def cash_book() -> (uint256, uint256, uint256): view


interface Registry:
    def mark(instrument: uint256) -> (uint256, int256): view
    def option_info(instrument: uint256) -> (uint256, uint256, bool): view
    def settlement_price(underlying: uint256, expiry: uint256) -> uint256: view


struct Findings:
    # number + 1 of the first account or instrument for which it does not hold; 0 = holds for all
    lots_wrong: uint256
    open_lots_wrong: uint256
    collateral_wrong: uint256
    assess_failed: uint256
    im_below_mm: uint256
    # claims on cash less the tokens booked, lot x wad: at most 0
    excess: int256
    # cash tokens held less booked, raw: at least 0
    spare_raw: int256
    equities: DynArray[int256, 16]
    healths: DynArray[int256, 16]
    im_healths: DynArray[int256, 16]
    nonces: DynArray[uint256, 16]


UNDERLYINGS: constant(uint256) = 4
SLOTS: constant(uint256) = 1024
LOTS: constant(int256) = 10**6

ACCOUNTS: immutable(address)
REGISTRY: immutable(address)
ENGINE: immutable(address)
CASH_SCALE: immutable(uint256)


@deploy
def __init__(accounts: address, registry: address, engine: address, cash_scale: uint256):
    ACCOUNTS = accounts
    REGISTRY = registry
    ENGINE = engine
    CASH_SCALE = cash_scale


@external
@view
def audit(assets: uint256) -> Findings:
    """
    @notice Everything at once
    """
    found: Findings = empty(Findings)
    lots: int256[SLOTS] = empty(int256[SLOTS])
    open: int256[SLOTS] = empty(int256[SLOTS])
    bases: int256 = 0
    cash: int256 = 0
    held: uint256[16] = empty(uint256[16])
    count: uint256 = staticcall Accounts(ACCOUNTS).account_count()
    for account: uint256 in range(count, bound=16):
        words: DynArray[uint256, 128] = staticcall Accounts(ACCOUNTS).state(account)
        found.nonces.append((words[0] >> 160) & (2**64 - 1))
        cash += convert(convert(words[1], bytes32), int256)
        at: uint256 = 2
        for asset: uint256 in range(16):
            if (words[0] >> (144 + asset)) & 1 != 0:
                held[asset] += words[at] & (2**128 - 1)
                at += 1
        for u: uint256 in range(UNDERLYINGS):
            k: uint256 = 0
            for low: uint256 in [128, 224, 240]:
                if (words[0] >> (low + u)) & 1 != 0:
                    instrument: uint256 = (u << 8) | (255 - k)
                    q: int256 = convert(convert(words[at] << 192, bytes32), int256) >> 192
                    lots[instrument] += q
                    open[instrument] += abs(q)
                    bases += convert(convert(words[at], bytes32), int256) >> 64
                    at += 1
                k += 1
            options: uint256 = (words[0] >> (8 * u)) & 255
            for i: uint256 in range(options, bound=128):
                lane: uint256 = (words[at + i // 4] >> (64 * (i % 4))) & (2**64 - 1)
                q: int256 = convert(lane >> 9, int256)
                if lane & 256 != 0:
                    q = -q
                lots[(u << 8) | (lane & 255)] += q
                open[(u << 8) | (lane & 255)] += abs(q)
            at += (options + 3) // 4
        ok: bool = False
        data: Bytes[352] = b""
        ok, data = raw_call(
            ENGINE,
            abi_encode(account, method_id=method_id("assess(uint256)")),
            max_outsize=352,
            is_static_call=True,
            revert_on_failure=False,
        )
        if not ok or len(data) < 352:
            if found.assess_failed == 0:
                found.assess_failed = account + 1
            found.equities.append(0)
            found.healths.append(0)
            found.im_healths.append(0)
            continue
        im: uint256 = extract32(data, 128, output_type=uint256)
        mm: uint256 = extract32(data, 160, output_type=uint256)
        if im < mm and found.im_below_mm == 0:
            found.im_below_mm = account + 1
        found.equities.append(extract32(data, 32, output_type=int256))
        found.healths.append(extract32(data, 96, output_type=int256) - convert(mm, int256))
        found.im_healths.append(extract32(data, 64, output_type=int256) - convert(im, int256))

    pending: int256 = 0
    for u: uint256 in range(UNDERLYINGS):
        for slot: uint256 in range(256):
            instrument: uint256 = (u << 8) | slot
            if open[instrument] == 0 and lots[instrument] == 0:
                continue
            if lots[instrument] != 0:
                # only one that is being settled may have met some of its holders and not yet the others
                settled: bool = False
                worth: int256 = 0
                settled, worth = self._settled(instrument)
                if not settled and found.lots_wrong == 0:
                    found.lots_wrong = instrument + 1
                pending += lots[instrument] * worth
            if convert(open[instrument], uint256) != staticcall Accounts(ACCOUNTS).open_lots(instrument):
                if found.open_lots_wrong == 0:
                    found.open_lots_wrong = instrument + 1

    for asset: uint256 in range(assets, bound=16):
        token: address = empty(address)
        decimals: uint256 = 0
        linked: uint256 = 0
        cap: uint256 = 0
        total: uint256 = 0
        token, decimals, linked, cap, total = staticcall Accounts(ACCOUNTS).collateral_info(asset)
        if held[asset] != total or total > staticcall IERC20(token).balanceOf(ACCOUNTS):
            if found.collateral_wrong == 0:
                found.collateral_wrong = asset + 1

    booked_raw: uint256 = 0
    dust: uint256 = 0
    credit_wad: uint256 = 0
    booked_raw, dust, credit_wad = staticcall Accounts(ACCOUNTS).cash_book()
    found.excess = (
        cash * LOTS
        + bases
        + pending
        + convert(dust, int256)
        + convert(credit_wad, int256) * LOTS
        - convert(booked_raw * CASH_SCALE, int256) * LOTS
    )
    token: address = staticcall Accounts(ACCOUNTS).cash_token()
    found.spare_raw = convert(staticcall IERC20(token).balanceOf(ACCOUNTS), int256) - convert(booked_raw, int256)
    return found


@internal
@view
def _settled(instrument: uint256) -> (bool, int256):
    """
    @notice (whether it is settled, what one unit is worth then, wad: of a perpetual or future less its carry)
    """
    if instrument & 255 >= 253:
        price: uint256 = 0
        carry: int256 = 0
        price, carry = staticcall Registry(REGISTRY).mark(instrument)
        return price != 0, convert(price, int256) - (carry if instrument & 255 == 255 else 0)
    expiry: uint256 = 0
    strike: uint256 = 0
    is_call: bool = False
    expiry, strike, is_call = staticcall Registry(REGISTRY).option_info(instrument)
    price: uint256 = staticcall Registry(REGISTRY).settlement_price(instrument >> 8, expiry)
    if is_call:
        return price != 0, convert(price - min(price, strike), int256)
    return price != 0, convert(strike - min(price, strike), int256)
