# SPDX-License-Identifier: Apache-2.0
"""What a margin call says: a body for programs, a sentence for people, and what would cure the account."""

from __future__ import annotations

from collections.abc import Mapping

from keeper.decide import Situation
from keeper.domain import Unknown
from keeper.explain_account import ChainAccount
from keeper.observe.margin_levels import (
    BPS,
    ENDED,
    LIQUIDATABLE,
    RECOVERED,
    STARTED,
    TO_COME,
    WARNING,
    Call,
    Levels,
)
from risk.onchain import Assessment

WAD = 10**18
PERCENT = 100
TEST = "test"
CAUSES = {"expiry": "contracts enter their last day or expire", "parameters": "parameters on chain are being phased in"}


def cash_needed(account: ChainAccount, result: Assessment, target_wad: int = 0) -> int:
    """Cash, USD wad rounded up to cents, that lifts initial health to ``target_wad``; 0 where it is there already."""
    lacking, cent = target_wad - result.im_health, WAD // PERCENT
    if lacking <= 0:
        return 0
    cash = -(-lacking // cent) * cent
    # Cash counts in full, so this is a proof more than a search; a cent more makes good what floats round off.
    for _ in range(PERCENT):
        if account.moved({None: cash / WAD}).im * WAD >= target_wad:
            break
        cash += max(cent, cash // BPS)
    return cash


def content(
    situation: Situation, account: int, owner: str, call: Call, levels: Levels, names: Mapping[int, str] | None = None
) -> dict[str, object] | None:
    """Body of the message: amounts in USD as text with two decimals, times in unix seconds.

    None where the account cannot be judged.
    """
    snapshot, result = situation.snapshot, situation.assessments.get(account)
    words = snapshot.accounts.get(account)
    if result is None or words is None or isinstance(result, Unknown) or isinstance(words, Unknown):
        return None
    if isinstance(snapshot.market, Unknown):
        return None
    chain = ChainAccount(snapshot, snapshot.market, tuple(words), names or {})
    cash = cash_needed(chain, result)
    body: dict[str, object] = {
        "version": 1,
        "kind": call.kind,
        "chain_id": snapshot.chain_id,
        "account": account,
        "owner": owner,
        "block": snapshot.block.number,
        "block_time": snapshot.block.timestamp,
        "equity_usd": usd(result.equity_mark),
        "initial_margin_usd": usd(result.im),
        "maintenance_margin_usd": usd(result.mm),
        "initial_health_usd": usd(result.im_health),
        "maintenance_health_usd": usd(result.mm_health),
        "health_percent": percent(result.mm_health, result.mm),
        "below_percent": _below(call, levels),
        "cash_to_restore_initial_margin_usd": usd(cash),
    }
    if call.ahead is not None:
        body |= {
            "ahead_cause": CAUSES[call.ahead.cause],
            "ahead_at": call.ahead.at,
            "ahead_initial_margin_usd": usd(call.ahead.im),
            "ahead_initial_health_usd": usd(call.ahead.im_health),
            "ahead_maintenance_health_usd": usd(call.ahead.mm_health),
        }
    return body


def _below(call: Call, levels: Levels) -> str | None:
    if not call.level:
        return None
    share = 0 if call.level == levels.deepest else levels.shares_bps[call.level - 1]
    return f"{share / 100:g}"


def usd(wad: int) -> str:
    """USD wad as text with two decimals, rounded down: a health never looks better than it is.

    Examples
    --------
    >>> usd(-1_234_567 * 10**15)
    '-1234.57'
    """
    cents = wad // 10**16
    return f"{'-' if cents < 0 else ''}{abs(cents) // PERCENT}.{abs(cents) % PERCENT:02d}"


def percent(part: int, whole: int) -> str | None:
    """Share in percent with two decimals, rounded down; None where there is no margin to hold."""
    if whole == 0:
        return None
    share = part * BPS // whole
    return f"{'-' if share < 0 else ''}{abs(share) // PERCENT}.{abs(share) % PERCENT:02d}"


def sentence(body: Mapping[str, object]) -> tuple[str, str]:
    """(title, text) of a message for people."""
    account, kind = body["account"], body["kind"]
    cash = body["cash_to_restore_initial_margin_usd"]
    cure = f"A deposit of {cash} USD cash restores initial margin." if cash != "0.00" else ""
    state = (
        f"Health is {body['maintenance_health_usd']} USD over a maintenance margin of "
        f"{body['maintenance_margin_usd']} USD; initial margin {body['initial_margin_usd']} USD, "
        f"equity {body['equity_usd']} USD, block {body['block']}."
    )
    texts = {
        WARNING: f"Health is under {body['below_percent']} % of maintenance margin.",
        LIQUIDATABLE: "The account is below maintenance margin: anybody may start its liquidation.",
        STARTED: "The liquidation of the account has started: positions are offered until margin is restored.",
        ENDED: "The liquidation of the account has ended.",
        RECOVERED: "The account has recovered above all warning levels.",
        TO_COME: (
            f"If prices stay, initial margin becomes {body.get('ahead_initial_margin_usd')} USD and the health over it "
            f"{body.get('ahead_initial_health_usd')} USD because {body.get('ahead_cause')}."
        ),
    }
    title = f"Margin account {account}: {str(kind).replace('_', ' ')}"
    return title, " ".join(part for part in (texts[str(kind)], state, cure) if part)
