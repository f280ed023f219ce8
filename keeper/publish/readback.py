# SPDX-License-Identifier: Apache-2.0
"""Compare what the chain holds after a publication or a push with what was sent.

The comparison goes through the same snapshot that margin is assessed from, so it also proves that the twin now judges
accounts by what was sent.
"""

from __future__ import annotations

from keeper.actions import Action, ProposeParameters, PublishJoint, PublishPage, PushParameters
from keeper.domain import Snapshot, Unknown
from keeper.errors import Halt


def verify(snapshot: Snapshot, action: Action) -> None:
    """Check a snapshot taken at or after the block of the transaction.

    An action of another kind, and one that a later epoch has already replaced, are not judged. Of a proposal only the
    nonce can be seen: nothing of it is in force, and the contract compares its content when it is executed.

    Raises
    ------
    Halt
        The chain holds something else.
    """
    if isinstance(action, PublishPage):
        _page(snapshot, action)
    elif isinstance(action, PublishJoint):
        _joint(snapshot, action)
    elif isinstance(action, PushParameters):
        _push(snapshot, action)
    elif isinstance(action, ProposeParameters):
        _proposal(snapshot, action)


def _page(snapshot: Snapshot, action: PublishPage) -> None:
    market = snapshot.market
    page = None if isinstance(market, Unknown) else market.pages.get(action.underlying)
    if page is None or page.epoch != action.header.epoch:
        if page is not None and page.epoch > action.header.epoch:
            return
        raise Halt(
            f"page of underlying {action.underlying}: epoch {action.header.epoch} was mined but cannot be read back; "
            "inspect with 'ballast table verify'"
        )
    sent = action.header
    differs = [
        name
        for name, here, there in (
            ("rows", action.rows, page.rows),
            ("reference price", sent.reference_price_wad, page.reference_price),
            ("lane unit", sent.lane_unit_wad, page.lane_unit),
            ("step", sent.step_e9, page.step_e9),
            ("observed at", sent.observed_at, page.observed_at),
            ("expires at", sent.expires_at, page.expires_at),
        )
        if here != there
    ]
    if differs:
        raise Halt(
            f"page of underlying {action.underlying}, epoch {sent.epoch}: {', '.join(differs)} on chain differ from "
            "what was sent; stop publishing and inspect with 'ballast table verify'"
        )


def _joint(snapshot: Snapshot, action: PublishJoint) -> None:
    market = snapshot.market
    joint = None if isinstance(market, Unknown) else market.joint
    if joint is not None and joint.epoch > action.joint_epoch:
        return
    there = b"" if joint is None else b"".join(word.to_bytes(32, "big") for word in joint.scenarios)
    if joint is None or joint.epoch != action.joint_epoch or there != action.scenarios:
        raise Halt(
            f"joint scenarios of epoch {action.joint_epoch} on chain differ from what was sent; stop publishing and "
            "inspect with 'ballast table show'"
        )


def _push(snapshot: Snapshot, action: PushParameters) -> None:
    words, status = snapshot.parameter_words, snapshot.parameters
    if isinstance(words, Unknown) or isinstance(status, Unknown):
        raise Halt(f"{action} was mined but cannot be read back; inspect with 'ballast params show'")
    if status.nonce > action.nonce:
        return
    wrong = [(kind, number) for kind, number, word in action.changes if words.get((kind, number)) != word]
    if wrong or status.nonce != action.nonce:
        raise Halt(
            f"{action}: words {wrong} or nonce {status.nonce} on chain differ from what was sent; stop "
            "pushing and inspect with 'ballast params show'"
        )


def _proposal(snapshot: Snapshot, action: ProposeParameters) -> None:
    status = snapshot.parameters
    if isinstance(status, Unknown) or status.nonce < action.nonce:
        raise Halt(f"{action} was mined but cannot be read back; inspect with 'ballast params show'")
