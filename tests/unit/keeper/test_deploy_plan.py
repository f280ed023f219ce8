# SPDX-License-Identifier: Apache-2.0
"""The plan: order, amounts worked out by hand, and refusals before anything is sent."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from keeper.deploy.config import parse_config
from keeper.deploy.config_market import Options
from keeper.deploy.plan import make_plan, plan_json, plan_table
from keeper.deploy.steps import AtLeast, Call, Deploy, Ref, different, references, resolve
from keeper.deploy.wire import Wiring
from keeper.deploy.wire_listing import Anchors
from keeper.errors import ConfigError, Permanent, Transient
from tests.support.deployment import Place, embedded_place, local_config, local_data

ME = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
NOBODY = "0x1111111111111111111111111111111111111111"
ZERO = "0x" + "0" * 40
# Friday 20 November 2026, 12:00 UTC
NOON = 1_795_176_000


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return embedded_place(tmp_path)


@pytest.fixture
def wiring() -> Wiring:
    return Wiring(local_config(), ME, Anchors(NOON, {"BTC": Decimal(60_000), "ETH": Decimal("3012.34")}, {}), True)


def call(wiring: Wiring, step_id: str) -> Call:
    found = next(step for step in wiring.steps() if step.id == step_id)
    assert isinstance(found, Call)
    return found


def test_steps_are_unique_and_need_only_earlier_ones(place: Place) -> None:
    plan = place.plan()
    assert len({step.id for step in plan.steps}) == len(plan.steps)
    known: set[str] = set()
    for step in plan.steps:
        assert references(step.args) <= known
        if isinstance(step, Deploy):
            known.add(step.contract)


def test_every_protocol_contract_is_created_once(place: Place) -> None:
    names = [step.contract for step in place.plan().creations]
    assert sorted(name for name in names if ":" not in name) == [
        "InstrumentRegistry", "InsuranceFund", "LiquidationAuction", "MarginAccounts", "MarginAccountsExtension",
        "MarginEngine", "MarginLens", "Multicall", "PriceOracle", "RiskParameters", "RiskTable", "RowVerifier",
        "SignedTradeVenue",
    ]  # fmt: skip


def test_expiries_fall_on_eight_utc(wiring: Wiring) -> None:
    # 21 November 2026 08:00 UTC and 27 November, by a calendar; the fixed one stays
    options = Options(expiry_days=(7, 1), expiries=(1_800_000_000,))
    assert wiring.listing.expiries(options) == [1_795_248_000, 1_795_766_400, 1_800_000_000]


def test_strikes_are_rounded_to_the_step(wiring: Wiring) -> None:
    item = wiring.config.underlyings[1]
    options = Options(strikes_percent=(Decimal(90), Decimal(100)), strikes=(Decimal("2712.5"),))
    eth = item.model_copy(update={"options": options})
    # 3012.34 * 0.9 = 2711.1 -> 2710; 3012.34 -> 3010
    assert wiring.listing.strikes(eth) == [2_710 * 10**18, 27_125 * 10**17, 3_010 * 10**18]


def test_words_and_amounts_are_packed_as_documented(wiring: Wiring) -> None:
    # im 12500 | mm 10000 << 16 | charge 15000 << 32 | floor 2500 << 48 | reserve 10 << 64
    word = 12_500 + (10_000 << 16) + (15_000 << 32) + (2_500 << 48) + (10 << 64)
    assert call(wiring, "RiskParameters.initialise global").args == (0, 0, word)
    weth = call(wiring, "MarginAccounts.list_collateral WETH")
    assert weth.args == (Ref("token:WETH"), 2, 100_000 * 10**18, 500_000 * 10**18)  # underlying 1, plus one
    feed = call(wiring, "PriceOracle.set_feed collateral wstETH")
    # dead after two heartbeats, no second feed
    config = (Ref("feed:ETH"), 172_800, 345_600, ZERO, 0, Ref("token:wstETH"), 1, 10**9, 16 * 10**8)
    assert feed.args == (1, 1, config)
    # an asset that moves one for one with its underlying asks for no feed of its own
    assert call(wiring, "PriceOracle.share_feed collateral WETH").args == (0, 1)
    # verifier and fund; two lanes, no bond, a week
    terms = (Ref("RowVerifier"), Ref("InsuranceFund"), 2, 0, 0, 604_800)
    assert call(wiring, "RiskTable.set_terms").args == (terms,)
    assert call(wiring, "InsuranceFund.deposit seed").args == (10**12, ME)  # a million USDC of six decimals
    lows = call(wiring, "RiskParameters.set_bounds collateral").args[1]
    assert lows == 100 + (1 << 48)


def test_handover_only_to_another_governance(wiring: Wiring) -> None:
    assert not [step for step in wiring.steps() if "transfer_ownership" in step.id]
    data = local_data()
    data["roles"]["governance"] = NOBODY
    other = Wiring(parse_config(data, "x"), ME, wiring.anchors, True)
    offers = [step for step in other.steps() if isinstance(step, Call) and step.function == "transfer_ownership"]
    assert len(offers) == 8
    assert {step.args for step in offers} == {(NOBODY,)}


def test_table_and_json_show_every_step(place: Place) -> None:
    plan = place.plan()
    parsed = json.loads(plan_json(plan, done=[plan.steps[0].id]))
    assert [item["id"] for item in parsed["steps"]] == [step.id for step in plan.steps]
    assert [item["done"] for item in parsed["steps"][:2]] == [True, False]
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(plan_table(plan, gas_price_wei=10**9))
    text = console.export_text()
    assert "deploy MarginAccounts" in text
    assert f"{len(plan.steps)} steps, {len(plan.creations)} contracts" in text


def change(**places: Any) -> dict[str, Any]:
    data = local_data()
    for path, value in places.items():
        *keys, last = path.split("__")
        target: Any = data
        for key in keys:
            target = target[int(key) if key.isdigit() else key]
        if value is None:
            del target[last]
        else:
            target[last] = value
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (change(network__chain_id=31337), "endpoint embedded is on chain 1337, settings expect 31337"),
        (change(cash__mock=None, cash__token=NOBODY), f"token USDC at {NOBODY} has no code on chain 1337; correct"),
        (
            change(underlyings__0__feed={"address": NOBODY}),
            f"feed of BTC at {NOBODY} has no code on chain 1337; correct",
        ),
        (change(collateral__0__cap="0.0000000000000000001"), "has more decimals than"),
        (change(parameters__bounds_global__low={"nonsense": 1}), "bounds low name lane 'nonsense'; the lanes are im_"),
        (
            change(parameters__initial__im_scale_bps=10_900),
            r"^parameters.initial.im_scale_bps = 10900 is outside parameters.bounds_global, 11000..20000; correct",
        ),
        (
            change(underlyings__1__parameters__depth=0xFFFF, parameters__bounds_underlying__high__depth=60_000),
            r"^underlyings.1.parameters \(ETH\).depth = 65535 is outside parameters.bounds_underlying, 1..60000;",
        ),
        (
            change(collateral__0__parameters__haircut_im_bps=99, collateral__0__parameters__haircut_mm_bps=99),
            r"^collateral.0.parameters \(WETH\).haircut_im_bps = 99 is outside parameters.bounds_collateral, 100..",
        ),
        (
            change(parameters__bounds_global__low__reserve_usd=101),
            "^parameters.bounds_global: low reserve_usd = 101 is above high reserve_usd = 100; swap them$",
        ),
        (
            change(underlyings__0__parameters__vol_day_bps=801),
            r"\(BTC\).scan_bps = 2400 is below 2403, which vol_day_bps = 801 needs by parameters.guards.min_scan_mul",
        ),
        (change(underlyings__0__options={"expiry_days": [1], "strikes_percent": ["0.001"]}), "rounds a strike to zero"),
    ],
)
def test_refusals_before_anything_is_sent(place: Place, data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        place.plan(parse_config(data, "x"))
    assert place.sent() == 0


def test_a_first_word_at_its_limits_is_planned_and_taken(place: Place) -> None:
    """3 times 800 is 2,400, the scan range; the bounds of the chain include themselves."""
    at_limits = change(underlyings__0__parameters__vol_day_bps=800, parameters__initial__im_scale_bps=11_000)
    assert place.deploy(parse_config(at_limits, "x")).complete


def test_without_the_rule_a_scan_range_may_be_below_the_volatility(place: Place) -> None:
    free = change(underlyings__0__parameters__vol_day_bps=2_999, parameters__guards__min_scan_multiple_bps=0)
    assert place.plan(parse_config(free, "x")).steps


def test_unreachable_node_is_transient() -> None:
    from keeper.chain.rpc import Rpc

    with pytest.raises(Transient, match="did not get through"):
        make_plan(local_config(), Rpc.connect(["http://127.0.0.1:9"], timeout_s=1), ME)


def test_resolving_an_unknown_contract_is_an_error() -> None:
    assert resolve((Ref("A"), (1, Ref("A"))), {"A": ME}) == (ME, (1, ME))
    with pytest.raises(Permanent, match="B is needed before it is deployed"):
        resolve(Ref("B"), {})


@pytest.mark.parametrize(
    ("found", "expected", "result"),
    [
        ((1, 2), (1, None), False),
        ((1, 2), (1,), False),
        ((1,), (1, 2), True),
        ((ME.lower(),), (ME,), False),
        ((NOBODY,), (ME,), True),
        ((5,), (AtLeast(5),), False),
        ((4,), (AtLeast(5),), True),
        (((1, 2),), ((1, 3),), True),
        ((True,), (False,), True),
    ],
)
def test_comparing_answers(found: Any, expected: Any, result: bool) -> None:
    assert different(found, expected) is result
