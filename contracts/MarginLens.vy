# pragma version 0.4.3
# pragma evm-version prague
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Questions to the margin engine
@license GNU Affero General Public License v3.0 only
@notice What an account would come to after trades and deposits, and the health of many accounts at once. The rule is the
        engine's own: this contract writes the words of a state that no account has yet and asks about it.
@dev Stateless views for people and programs off the chain. Amounts wad unless named otherwise.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IMarginEngine
from contracts.interfaces import IMarginLens
from contracts.modules import constants as c
from contracts.modules import errors_engine as errors
from contracts.modules import what_if

implements: IMarginLens

ACCOUNTS: public(immutable(address))
REGISTRY: public(immutable(address))
ENGINE: public(immutable(address))

# an assessment as ABI: an offset, eleven words, the number of scans and sixteen of them
ASSESSMENT_BYTES: constant(uint256) = 32 * (1 + 11 + 1 + 16)
MAX_ASKED: constant(uint256) = 64


@deploy
def __init__(accounts: address, registry: address, engine: address):
    """
    @param accounts MarginAccounts
    @param registry InstrumentRegistry
    @param engine MarginEngine
    """
    ACCOUNTS = accounts
    REGISTRY = registry
    ENGINE = engine


@external
@view
def assess_after(
    account: uint256,
    cash_delta_wad: int256,
    deltas: DynArray[IMarginLens.Delta, 16],
    collaterals: DynArray[IMarginLens.CollateralDelta, 16],
) -> IMarginEngine.Assessment:
    """
    @notice Equity and requirements as if the account had moved this money and made these trades, without fees. Says
            nothing about whether it would be let: caps, rights and price bands are not looked at.
    @param account Account number
    @param cash_delta_wad Added to cash
    @param deltas Trades: an option's premium is paid in cash (rounded against the account), the price of a perpetual or
           future goes to its base
    @param collaterals Deposits (amount > 0) and withdrawals, raw units
    @return As MarginEngine.assess
    """
    words: DynArray[uint256, c.MAX_WORDS] = staticcall IMarginAccounts(ACCOUNTS).state(account)
    words[1] = what_if._add_cash(words[1], cash_delta_wad)
    for delta: IMarginLens.Delta in deltas:
        carry: int256 = 0
        if delta.instrument & 255 == c.PERP_SLOT:
            assert delta.instrument >> 8 < c.MAX_UNDERLYINGS, errors.BAD_INSTRUMENT
            marks: DynArray[uint256, 48] = staticcall IInstrumentRegistry(REGISTRY).marks(1 << (delta.instrument >> 8))
            carry = what_if._signed(marks[0]) >> 128
        words = what_if._trade(words, delta, carry)
    for moved: IMarginLens.CollateralDelta in collaterals:
        assert moved.asset < c.MAX_COLLATERALS, errors.BAD_ASSET
        token: address = empty(address)
        decimals: uint256 = 0
        linked: uint256 = 0
        cap_raw: uint256 = 0
        total_raw: uint256 = 0
        token, decimals, linked, cap_raw, total_raw = staticcall IMarginAccounts(ACCOUNTS).collateral_info(moved.asset)
        assert token != empty(address), errors.BAD_ASSET
        words = what_if._put_collateral(
            words, moved.asset, moved.amount_raw, (decimals << 144) | (linked << 152), cap_raw, total_raw
        )
    return staticcall IMarginEngine(ENGINE).assess_state(words)


@external
@view
def health(accounts: DynArray[uint256, MAX_ASKED]) -> DynArray[IMarginLens.Health, MAX_ASKED]:
    """
    @notice What decides about each of many accounts.
    @param accounts Account numbers
    @return One entry each, in order; is_known is False where the engine reverted
    """
    result: DynArray[IMarginLens.Health, MAX_ASKED] = []
    for account: uint256 in accounts:
        success: bool = False
        answer: Bytes[ASSESSMENT_BYTES] = b""
        success, answer = raw_call(
            ENGINE,
            abi_encode(account, method_id=method_id("assess(uint256)")),
            max_outsize=ASSESSMENT_BYTES,
            is_static_call=True,
            revert_on_failure=False,
        )
        if not success:
            result.append(empty(IMarginLens.Health))
            continue
        found: IMarginEngine.Assessment = abi_decode(answer, IMarginEngine.Assessment)
        result.append(
            IMarginLens.Health(
                is_known=True,
                equity_im=found.equity_im,
                im=found.im,
                equity_mm=found.equity_mm,
                mm=found.mm,
                flags=found.flags,
                doubt=found.doubt,
            )
        )
    return result
