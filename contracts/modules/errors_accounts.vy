# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Revert reasons of MarginAccounts, its extension and their modules
@notice `assert x, reason` costs 113 bytes of code at each place, a call of `_fail` about 60; with some fifty places that
        is the difference between fitting EIP-170 and not.
"""

NOT_AUTHORISED: constant(String[32]) = "accounts: not authorised"
NO_ACCOUNT: constant(String[32]) = "accounts: no such account"
NO_ADDRESS: constant(String[32]) = "accounts: zero address"
ZERO_AMOUNT: constant(String[32]) = "accounts: zero amount"
BELOW_IM: constant(String[32]) = "accounts: below initial margin"
NO_DATA: constant(String[32]) = "accounts: risk data dead"
PAUSED: constant(String[32]) = "accounts: paused"
PAUSE_BOUND: constant(String[32]) = "accounts: pause too long"
NOT_VENUE: constant(String[32]) = "accounts: not a venue"
NOT_AUCTION: constant(String[32]) = "accounts: not the auction"
SELF_TRADE: constant(String[32]) = "accounts: same account"
PROTOCOL: constant(String[32]) = "accounts: protocol account"
PRICE: constant(String[32]) = "accounts: price"
NO_ROW: constant(String[32]) = "accounts: no row in table"
FRACTION: constant(String[32]) = "accounts: fraction"
INSTRUMENT: constant(String[32]) = "accounts: instrument"
RIGHTS: constant(String[32]) = "accounts: rights"
OTHER_OWNER: constant(String[32]) = "accounts: another owner"
NOT_EMPTY: constant(String[32]) = "accounts: not empty"
IN_AUCTION: constant(String[32]) = "accounts: in auction"
EXTENSION: constant(String[32]) = "accounts: extension"

PRICE_BAND: constant(String[32]) = "fill: price band"
REDUCE_ONLY: constant(String[32]) = "fill: reduce only"

NOT_REDUCED: constant(String[32]) = "seize: leg does not reduce"

IN_BATCH: constant(String[32]) = "batch: not in a batch"
BATCH_FULL: constant(String[32]) = "batch: too many accounts"

PRICE_STALE: constant(String[32]) = "settlement: price not fresh"

LOTS: constant(String[32]) = "positions: lots"
BASE: constant(String[32]) = "positions: base"
FULL: constant(String[32]) = "positions: full"

BOOK: constant(String[32]) = "cash: not enough held"
TOTALS: constant(String[32]) = "cash: total too large"
RATES: constant(String[32]) = "cash: rates"
COVER: constant(String[32]) = "cash: not covered"
CASH_DECIMALS: constant(String[32]) = "cash: decimals"
LIMITED: constant(String[32]) = "cash: withdrawals limited"
LIMIT_BOUND: constant(String[32]) = "cash: limit out of bounds"

LISTED: constant(String[32]) = "collateral: listed"
LIST_FULL: constant(String[32]) = "collateral: list full"
NOT_LISTED: constant(String[32]) = "collateral: not listed"
DECIMALS: constant(String[32]) = "collateral: decimals"
CAP: constant(String[32]) = "collateral: cap"
CAP_STEP: constant(String[32]) = "collateral: cap step"
LINK: constant(String[32]) = "collateral: link"
BALANCE: constant(String[32]) = "collateral: balance"

REFUSED: constant(String[32]) = "token: refused"
NOTHING_CAME: constant(String[32]) = "token: nothing received"
SENT_MORE: constant(String[32]) = "token: sent too much"


@internal
@pure
def _fail(reason: String[32]):
    """
    @notice Reverts with `reason`
    """
    raise reason
