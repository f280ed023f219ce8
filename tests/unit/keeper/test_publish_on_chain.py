# SPDX-License-Identifier: Apache-2.0
"""What the publish package plans, carried out on the real contracts: signatures, pages, pushes, proposals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_utils.crypto import keccak

from keeper.actions import Action, ExecuteProposal, ProposeParameters, PublishJoint, PublishPage, PushParameters
from keeper.assess import assess_all
from keeper.decide import Policy
from keeper.domain import Event, Unknown
from keeper.errors import Reverted
from keeper.index.proposals import QueuedProposal
from keeper.publish.parameters import PushPlan, PushPolicy, plan_push
from keeper.publish.queue import ParameterQueue, read_queue
from keeper.publish.readback import verify
from keeper.publish.rebuild import page_surfaces, verify_page
from keeper.publish.signing import JOINT, PAGE, Publisher
from keeper.publish.tables import plan_joint, plan_pages, surface_slice
from keeper.publish.triggers import PagePolicy
from keeper.tx.signer import LocalSigner
from risk.types import ParameterSet, Provenance, SmileModel
from risk.units import pack_underlying, unpack_collateral, unpack_global, unpack_underlying
from tests.support.keeper_world import joint
from tests.support.protocol import BTC, DAY, ETH, HOUR, PUBLISHER_KEY, START, Protocol
from tests.support.protocol_chain import CHAIN_ID, Hand

PAGES = PagePolicy(drift_bps=300, vol_bps=1_000, heartbeat_s=6 * HOUR, validity_s=DAY)
PUSHES = PushPolicy(deadband_bps=100, heartbeat_s=DAY, max_newly_liquidatable=0, max_newly_liquidatable_wad=0)
STEPS = (5_000, 3_500)
SYMBOLS = ("BTC", "ETH", "SOL")
NAMES = {0: "WETH", 1: "WBTC", 2: "XAU"}


class Place:
    """A protocol, a keeper's hand on it, and what the model wants: at first what the chain has."""

    def __init__(self) -> None:
        self.protocol = Protocol()
        self.hand = Hand(self.protocol, Policy(), self.protocol.keeper)
        signer = LocalSigner.from_key(PUBLISHER_KEY, "test")
        self.publisher = Publisher(signer, CHAIN_ID, self.protocol.table.address)
        self.queued: tuple[QueuedProposal, ...] = ()

    def target(self, scan_bps: int = 0, vol: float = 0.6) -> ParameterSet:
        """What the chain has, but for the scan range of ETH; observed now."""
        words = self.hand.chain.snapshot(accounts=()).parameter_words
        assert not isinstance(words, Unknown)
        under = {symbol: unpack_underlying(words[1, u]) for u, symbol in enumerate(SYMBOLS)}
        if scan_bps:
            under["ETH"] = replace(under["ETH"], scan_bps=scan_bps)
        now = self.protocol.now
        return ParameterSet(
            global_parameters=unpack_global(words[0, 0]),
            underlyings=under,
            collaterals={name: unpack_collateral(words[2, asset]) for asset, name in NAMES.items()},
            surfaces={symbol: SmileModel(vol, vol, 2.0, -0.2, 0.9) for symbol in SYMBOLS},
            joint=joint([[-127, -120, -110]], [[127, 100, 90]]),
            joint_underlyings=SYMBOLS,
            certificate=None,
            provenance=Provenance("t", "0x" + "aa" * 32, "0x" + "bb" * 32, 1, now, now - DAY, now, 24, {}),
        )

    def queue(self) -> ParameterQueue:
        snapshot = self.hand.chain.snapshot(accounts=())
        words = snapshot.parameter_words
        assert not isinstance(words, Unknown)
        found = read_queue(self.hand.chain, snapshot.block, words, self.queued)
        assert not isinstance(found, Unknown), found
        return found

    def plan(self, target: ParameterSet) -> PushPlan:
        snapshot = self.hand.chain.snapshot()
        return plan_push(snapshot, assess_all(snapshot), target, NAMES, PUSHES, self.queue())

    def page(self, u: int, **wanted: Any) -> PublishPage:
        plans = {p.underlying: p for p in plan_pages(self.hand.chain.snapshot(), self.target(**wanted), PAGES, STEPS)}
        action = plans[u].action
        assert action is not None, plans[u]
        return action

    def send(self, action: Action) -> None:
        signed = self.publisher.endorse(action)
        self.hand.act(signed)
        verify(self.hand.chain.snapshot(accounts=()), signed)

    def later(self, seconds: int) -> None:
        self.protocol.wait(seconds)
        self.protocol.refresh()


@pytest.fixture(scope="module")
def built() -> Place:
    return Place()


@pytest.fixture
def place(built: Place) -> Any:
    """The same protocol for every test, rolled back after it."""
    built.hand = Hand(built.protocol, Policy(), built.protocol.keeper)  # remembers blobs by address, which come again
    mark, now, options = built.protocol.evm.snapshot(), built.protocol.now, dict(built.protocol.options)
    yield built
    built.protocol.evm.revert(mark)
    built.protocol.now, built.protocol.options, built.queued = now, options, ()
    built.protocol._block()


def test_the_message_that_is_signed_is_the_tables(place: Place) -> None:
    place.later(7 * HOUR)
    page = place.page(ETH)
    signer = place.publisher.signer
    (signature,) = place.publisher.endorse(page).signatures  # type: ignore[attr-defined]
    digest = place.protocol.table.call(
        "page_digest", ETH, page.header.as_tuple(), list(page.surfaces), keccak(page.rows)
    )
    assert signature == place.protocol.sign(digest)
    assert signature[0] == signer.address == place.protocol.publisher
    found = plan_joint(place.hand.chain.snapshot(), place.target(), PAGES)
    assert found is not None
    args = (found[0].joint_epoch, found[0].observed_at, found[0].expires_at, found[0].model_hash, found[0].data_hash)
    digest = place.protocol.table.call("joint_digest", *args, found[0].scenarios)
    assert place.publisher.endorse(found[0]).signatures == (place.protocol.sign(digest),)  # type: ignore[attr-defined]
    assert set(PAGE) | set(JOINT) == {"Page", "Joint"}


def test_pages_and_scenarios_are_published_by_anybody_with_the_signature(place: Place) -> None:
    place.later(7 * HOUR)
    page, found = place.page(ETH), plan_joint(place.hand.chain.snapshot(), place.target(), PAGES)
    assert found is not None and isinstance(found[0], PublishJoint)
    with pytest.raises(Reverted, match="table: too few"):
        place.hand.act(page)
    place.hand.sender = place.protocol.stranger
    place.send(page)
    place.send(found[0])


def test_signatures_ascend_and_a_signer_signs_once(place: Place) -> None:
    place.later(7 * HOUR)
    page = place.page(ETH)
    other = Publisher(LocalSigner.from_key(b"\x08" * 32, "test"), CHAIN_ID, place.protocol.table.address)
    both = other.endorse(place.publisher.endorse(place.publisher.endorse(page)))
    numbers = [int(address, 16) for address, _ in both.signatures]  # type: ignore[attr-defined]
    assert len(numbers) == 2 and numbers == sorted(numbers)
    with pytest.raises(Reverted, match="table: not publisher"):
        place.hand.act(both)
    place.protocol.govern(place.protocol.table, "set_publisher", other.signer.address, True)
    place.protocol.govern(place.protocol.table, "set_quorum", 2)
    place.hand.act(both)


def test_a_tightening_goes_out_as_a_push_and_a_loosening_waits_to_be_executed_by_anybody(place: Place) -> None:
    place.later(2 * HOUR)
    before = place.target().underlyings["ETH"]
    wider = place.plan(place.target(scan_bps=before.scan_bps + 100))
    assert isinstance(wider.action, PushParameters)
    place.send(wider.action)
    place.later(2 * HOUR)
    narrow = place.plan(place.target(scan_bps=before.scan_bps - 200))
    assert isinstance(narrow.action, ProposeParameters)
    place.send(narrow.action)
    word = pack_underlying(replace(before, scan_bps=before.scan_bps - 200))
    assert narrow.changes == ((1, ETH, word),)
    place.queued = (QueuedProposal(1, place.protocol.now + 12 * HOUR, narrow.changes),)
    (waiting,) = place.queue().proposals
    assert (waiting.eta, waiting.stale) == (place.protocol.now + 12 * HOUR, False)
    assert place.plan(place.target(scan_bps=before.scan_bps - 200)).action is None
    execute = ExecuteProposal(1, narrow.changes)
    place.later(12 * HOUR - 1)
    with pytest.raises(Reverted, match="params: proposal not yet"):
        place.hand.act(execute)
    place.later(1)
    place.hand.act(execute)
    assert place.protocol.parameters.call("word", 1, ETH) == word
    assert place.queue().proposals == ()


def test_pages_follow_a_push_of_the_shocks_every_hour_and_once_at_its_end(place: Place) -> None:
    place.later(7 * HOUR)
    place.send(place.page(ETH))
    wanted = place.target()
    lanes = replace(wanted.underlyings["ETH"], vol_up_bps=5_200, vol_down_bps=3_100, short_min_bps=160)
    push = place.plan(replace(wanted, underlyings={**wanted.underlyings, "ETH": lanes}))
    assert isinstance(push.action, PushParameters)
    place.send(push.action)
    said = []
    for _ in range(15):
        place.later(HOUR // 2)
        plan = {p.underlying: p for p in plan_pages(place.hand.chain.snapshot(), place.target(), PAGES, STEPS)}[ETH]
        if plan.action is None:
            continue
        # a block later: what the contract compares is the observation
        place.protocol.wait(12)
        place.send(plan.action)
        header = plan.action.header
        said.append((header.vol_up_bps, header.short_min_bps))
    # 40 % to 52 % and 1 % to 1.6 % in six hours; each page 12 s later in its hour than the last, and one at the end
    assert said == [(4_200, 110), (4_400, 120), (4_601, 130), (4_802, 140), (5_002, 150), (5_200, 160)]


def test_an_urgent_push_makes_the_proposal_stale_and_the_queue_says_so(place: Place) -> None:
    place.later(2 * HOUR)
    scan = place.target().underlyings["ETH"].scan_bps
    heartbeat = place.plan(place.target())
    assert isinstance(heartbeat.action, PushParameters) and heartbeat.changes == ()
    place.send(heartbeat.action)
    narrow = place.plan(place.target(scan_bps=scan - 100))
    assert isinstance(narrow.action, ProposeParameters)
    place.send(narrow.action)
    place.queued = (QueuedProposal(1, place.protocol.now + 12 * HOUR, narrow.changes),)
    place.later(HOUR)
    assert place.plan(place.target(scan_bps=scan + 100)).action is None
    urgent = place.plan(place.target(scan_bps=scan + 600))
    assert isinstance(urgent.action, PushParameters) and urgent.unwanted == (1,)
    place.send(urgent.action)
    assert place.queue().proposals[0].stale
    place.later(12 * HOUR)
    with pytest.raises(Reverted, match="params: stale proposal"):
        place.hand.act(ExecuteProposal(1, narrow.changes))
    again = place.plan(place.target(scan_bps=scan))
    assert isinstance(again.action, ProposeParameters)
    place.send(again.action)


def event_of(page: PublishPage) -> Event:
    args = {"underlying": page.underlying, "epoch": page.header.epoch}
    args |= {"header": page.header.as_tuple(), "surfaces": page.surfaces}
    return Event(1, b"", 0, b"", "RiskTable", "PagePublished", args)


def test_a_page_is_rebuilt_from_its_event_after_the_parameters_changed(place: Place) -> None:
    place.later(7 * HOUR)
    page = place.page(ETH)
    place.send(page)
    push = place.plan(place.target(scan_bps=place.target().underlyings["ETH"].scan_bps + 100))
    assert push.action is not None
    place.send(push.action)
    snapshot = place.hand.chain.snapshot(accounts=())
    assert not isinstance(snapshot.table, Unknown) and not isinstance(snapshot.market, Unknown)
    status, living = snapshot.table.pages[ETH], snapshot.market.pages[ETH]
    assert verify_page(snapshot, status, living, event_of(page)).problems == ()
    wrong = replace(living, rows=bytes([1]) + living.rows[1:])
    found = verify_page(snapshot, status, wrong, event_of(page)).problems
    assert "the content hash is not that of header, surfaces and rows" in found
    assert "1 rows differ from a rebuild (slots [0])" in found
    lied = replace(page, header=replace(page.header, vol_up_bps=page.header.vol_up_bps + 500))
    found = verify_page(snapshot, status, living, event_of(lied)).problems
    assert any("rows differ from a rebuild" in text for text in found)
    assert verify_page(snapshot, status, living, None).problems == ("its PagePublished event was not found",)
    # what peers price the same account by
    other = replace(page, header=replace(page.header, epoch=page.header.epoch - 1), surfaces=())
    found_surfaces = page_surfaces([event_of(other), event_of(page)], {ETH: living})
    assert found_surfaces == {ETH: tuple(surface_slice(item) for item in page.surfaces)}
    assert page_surfaces([event_of(other)], {ETH: living}) == page_surfaces([event_of(page)], {}) == {}


def test_a_slot_used_again_has_no_row_until_the_next_page(place: Place) -> None:
    place.later(2 * HOUR)
    expiry = (START // DAY + 60) * DAY
    instrument = place.protocol.list_option(BTC, expiry, 61_000, is_call=True)
    assert not place.protocol.table.call("has_row", instrument)
    place.later(60)
    page = place.page(BTC)
    assert len(page.rows) // 96 == place.protocol.registry.call("row_count", BTC)
    place.send(page)
    assert place.protocol.table.call("has_row", instrument)
