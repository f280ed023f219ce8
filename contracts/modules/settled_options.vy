# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Options of an account that have settled and are not booked yet
@notice The engine values options by the page. One that was made before a settlement knows nothing of it and goes on with the
        live price, though what the option pays is fixed. Nobody is judged or sold by that: what has settled is cash first.
@dev Where nothing has settled since the pages were made this reads one slot of the registry for each underlying of options;
     all else it reads is read by the assessment that follows too.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IMarginAccounts
from contracts.interfaces import IRiskTable
from contracts.modules import constants as c
from contracts.modules import errors_auction as e
from contracts.modules import state_words


interface Engine:
    def REGISTRY() -> address: view
    def TABLE() -> address: view


# asks the table for pages only
_WITHOUT_JOINT: constant(uint256) = 2**16
_OBSERVED_AT: constant(uint256) = 192
_MASK_32: constant(uint256) = 2**32 - 1


_ACCOUNTS: immutable(IMarginAccounts)
_REGISTRY: immutable(IInstrumentRegistry)
_TABLE: immutable(IRiskTable)


@deploy
def __init__(accounts: address, engine: address):
    _ACCOUNTS = IMarginAccounts(accounts)
    _REGISTRY = IInstrumentRegistry(staticcall Engine(engine).REGISTRY())
    _TABLE = IRiskTable(staticcall Engine(engine).TABLE())


@internal
def _book(account: uint256):
    """
    @notice Turns options that the account's pages do not know to be settled into cash, as anybody may
    @custom:invariant I-56
    """
    overtaken: uint256 = self._overtaken(account)
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if overtaken >> u == 0:
            break
        if (overtaken >> u) & 1 != 0:
            extcall _ACCOUNTS.settle_options(account, u)


@internal
@view
def _check_booked(account: uint256):
    """
    @notice Reverts while there is something to book: a view cannot, and would tell of another account
    """
    overtaken: uint256 = self._overtaken(account)
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if overtaken >> u == 0:
            break
        if (overtaken >> u) & 1 == 0:
            continue
        for slot: uint256 in range(staticcall _REGISTRY.row_count(u), bound=c.MAX_ROWS):
            instrument: uint256 = (u << 8) | slot
            expiry: uint256 = (staticcall _REGISTRY.option_info(instrument))[0]
            if staticcall _REGISTRY.settlement_price(u, expiry) != 0:
                assert staticcall _ACCOUNTS.position_of(account, instrument) == 0, e.UNBOOKED


@internal
@view
def _overtaken(account: uint256) -> uint256:
    """
    @notice Underlyings, one bit each, of which the account has options and an expiry has settled since the page was made
    """
    shape: state_words.Shape = state_words._shape(staticcall _ACCOUNTS.state(account))
    if shape.optioned == 0:
        return 0
    # the joint word, then two words of each page
    pages: DynArray[uint256, 33] = staticcall _TABLE.read(shape.optioned | _WITHOUT_JOINT)
    overtaken: uint256 = 0
    index: uint256 = 1
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if (shape.optioned >> u) & 1 == 0:
            continue
        if staticcall _REGISTRY.last_settled_at(u) >= (pages[index] >> _OBSERVED_AT) & _MASK_32:
            overtaken |= 1 << u
        index += 2
    return overtaken
