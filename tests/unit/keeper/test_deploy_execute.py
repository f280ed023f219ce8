# SPDX-License-Identifier: Apache-2.0
"""Executing a plan on the embedded chain: what is sent, what is not, and how it goes on after each kind of trouble."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.artifacts import load
from keeper.chain.embedded import mine_at
from keeper.deploy.config import DeployConfig, parse_config
from keeper.deploy.execute import Stage, execute
from keeper.deploy.manifest import Manifest, ManifestFile
from keeper.deploy.outbox import create_address
from keeper.deploy.plan import estimate, progress_of
from keeper.deploy.steps import Deploy
from keeper.deploy.verify import problems, verify
from keeper.deploy.wire import Wiring
from keeper.errors import ConfigError, Permanent, Transient
from keeper.tx.signer import LocalSigner
from tests.support.deployment import (
    QUICK,
    KilledError,
    Place,
    create,
    embedded_place,
    kill_at,
    local_config,
    local_data,
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return embedded_place(tmp_path)


def tiny_config() -> DeployConfig:
    """One underlying without options and futures, and no collateral: the shortest plan there is."""
    data = local_data()
    data["underlyings"] = [{**data["underlyings"][1], "options": {}, "futures": []}]
    return parse_config({**data, "collateral": []}, "tiny")


def transfer(place: Place) -> None:
    """Use up a nonce of the deployer for something else."""
    place.web3.eth.send_transaction({"from": place.signer.address, "to": place.signer.address, "gas": 21_000})  # type: ignore[typeddict-item]


def test_create_addresses_are_the_published_ones() -> None:
    # first contracts of key 1 and of anvil's first account, known to every Ethereum developer
    first, second = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf", "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert create_address(first, 0) == "0xF2E246BB76DF876Cef8b38ae84130F4F55De395b"
    assert create_address(second, 0) == "0x5FbDB2315678afecb367f032d93F642f64180aa3"


def test_complete_deployment_reads_back(place: Place) -> None:
    manifest = place.deploy()
    findings = verify(manifest, place.rpc)
    assert [item for item in findings if item.state != "ok"] == []
    assert len(findings) > 50
    assert place.sent() == len([step for step in manifest.steps if step.block])


def every_section(place: Place) -> DeployConfig:
    """Everything that a configuration may name, at values that are nobody's default."""
    data = local_data()
    # a sequencer that is up: answer 0
    uptime = create(place, "MockAggregator", 0, 0)
    for at, item in enumerate(data["underlyings"]):
        second = {"mock": {"price": item["feed"]["mock"]["price"], "decimals": 18}}
        item["feed"] |= {"dead_s": 200_000 + at, "secondary": second, "max_deviation_bps": 150}
        item["futures"] = [30, 7]
    others = [account for account in place.web3.eth.accounts if account != place.signer.address]
    data["roles"] |= {"publishers": ["deployer", *others], "quorum": 2, "steward": others[0], "listers": others}
    guards = {"max_age_s": 1_800, "ramp_s": 3_600, "loosen_delay_s": 7_200, "listing_ramp_s": 60}
    gold = {
        "symbol": "XAU", "mock": {"decimals": 6}, "cap": 10, "feed": {"mock": {"price": 2_500}},
        "parameters": data["collateral"][0]["parameters"],
    }  # fmt: skip
    return parse_config(
        data
        | {
            "collateral": [*data["collateral"], gold],
            "sequencer": {"address": uptime, "grace_s": 0},
            "withdrawal_limit_bps": 2_000,
            "carry": {"max_funding_bps_per_day": 100, "max_basis_step_bps": 50, "min_basis_interval_s": 900},
            "table": {"min_interval_s": 120, "price_tolerance_bps": 150},
            "bonds": {"min_bond": 1_000, "slash": "250.5", "tolerance_lanes": 3, "withdrawal_delay_s": 864_000},
            "auction": {
                "start_bps": 200, "fast_bps": 2_500, "slow_bps": 9_000, "fast_s": 600, "slow_s": 30_000,
                "insolvent_s": 1_200, "target_buffer_bps": 1_400, "end_buffer_bps": 900, "min_slice_usd": 50,
                "tick_s": 300, "reward_gas": 500_000,
            },
            "rates": {
                "base_bps": 100, "slope_low_bps": 400, "slope_high_bps": 5_000, "kink_bps": 8_000, "reserve_bps": 1_000,
            },
            "parameters": {**data["parameters"], "guards": guards},
        },
        "every section",
    )  # fmt: skip


def test_every_section_of_a_configuration_reads_back(place: Place) -> None:
    config = every_section(place)
    manifest = place.deploy(config)
    assert [item for item in verify(manifest, place.rpc) if item.state != "ok"] == []
    for step in place.plan(config).steps:
        record = manifest.step(step.id)
        assert record is not None
        assert record.gas_used <= estimate(step), step.id

    def read(name: str, view: str, *args: object) -> object:
        target = place.web3.eth.contract(manifest.addresses[name], abi=load(name).abi)  # type: ignore[call-overload]
        return target.functions[view](*args).call()

    names = manifest.addresses
    feed = (names["feed:BTC"], 172_800, 200_000, names["secondary:BTC"], 150, "0x" + "0" * 40, 0, 0, 0)
    assert read("PriceOracle", "feed_of", 0, 0) == [feed, 8, 18, 0]
    assert read("PriceOracle", "feed_of", 1, 0)[3] == 2  # WETH shares ETH's feed
    assert read("PriceOracle", "feed_of", 1, 1)[0][3] == names["secondary:ETH"]  # wstETH has it times a rate
    assert read("PriceOracle", "cash_price") == [10**18, 0]
    assert read("PriceOracle", "sequencer") == [names["sequencer"], 0]
    assert read("RiskTable", "quorum") == 2
    assert read("RiskTable", "publisher_count") == 3
    assert read("RiskTable", "terms") == (names["RowVerifier"], names["InsuranceFund"], 3, 10**9, 250_500_000, 864_000)
    assert read("LiquidationAuction", "GAS_UNDERLYING") == 1
    assert read("LiquidationAuction", "settings")[8:] == (50 * 10**18, 300, 500_000)
    assert read("InstrumentRegistry", "min_basis_interval_s") == 900
    assert read("MarginAccounts", "collateral_hard_cap", 0)[0] == 500_000 * 10**18
    assert read("MarginAccounts", "collateral_info", 2)[1:4] == [6, 0, 10 * 10**6]
    near, far = (read("InstrumentRegistry", "instrument_info", slot)[1] for slot in (254, 253))
    assert far - near == 23 * 86_400


def test_every_step_costs_the_same_gas_on_both_embedded_chains(place: Place, tmp_path: Path) -> None:
    reference = embedded_place(tmp_path / "reference", "pyevm")
    costs = [[(step.id, step.gas_used) for step in spot.deploy().steps] for spot in (place, reference)]
    assert costs[0] == costs[1]


def test_estimates_cover_every_step_and_are_not_far_above(place: Place) -> None:
    manifest = place.deploy()
    for step in place.plan().steps:
        record = manifest.step(step.id)
        assert record is not None
        # constructors differ by what they store, calls by whether feeds are doubled and slots were empty
        loose = 350_000 if isinstance(step, Deploy) else 115_000
        assert record.gas_used <= estimate(step) <= record.gas_used + loose, step.id


def test_contracts_work_together_afterwards(place: Place) -> None:
    """Not only wired: an account can be opened, funded and assessed."""
    manifest = place.deploy()
    w3, me = place.web3, place.signer.address

    def contract(name: str, artifact: str | None = None):  # type: ignore[no-untyped-def]
        return w3.eth.contract(manifest.addresses[name], abi=load(artifact or name).abi)  # type: ignore[call-overload]

    accounts, token = contract("MarginAccounts"), contract("token:WETH", "TestToken")
    accounts.functions.open_account(me).transact({"from": me})
    number = accounts.functions.account_count().call() - 1
    token.functions.mint(me, 10**18).transact({"from": me})
    token.functions.approve(accounts.address, 10**18).transact({"from": me})
    accounts.functions.deposit(number, token.address, 10**18).transact({"from": me})
    answer = contract("MarginEngine").functions.assess(number).call()
    assert answer[0] == 3_000 * 10**18  # one WETH at the mock's 3000 USD, before any haircut
    assert 0 < answer[4] <= answer[3]  # maintenance and initial margin


@pytest.mark.parametrize("stage", ["intent", "sent", "mined", "done"])
@pytest.mark.parametrize("step_id", ["deploy token:USDC", "deploy MarginEngine", "PriceOracle.record ETH"])
def test_killed_at_each_stage(place: Place, stage: Stage, step_id: str) -> None:
    config = tiny_config()
    with pytest.raises(KilledError):
        place.deploy(config, progress=kill_at(stage, step_id))
    manifest = place.deploy(config)
    assert manifest.complete
    assert place.sent() == len([step for step in manifest.steps if step.block])
    assert problems(verify(manifest, place.rpc)) == []


def test_resumed_later_keeps_time_and_prices_of_the_first_run(place: Place) -> None:
    with pytest.raises(KilledError):
        place.deploy(progress=kill_at("done", "deploy PriceOracle"))
    first = place.file.load()
    assert first is not None
    steps = place.plan().steps
    mine_at(place.web3, place.web3.eth.get_block("latest")["timestamp"] + 86_400)
    assert place.plan().anchors.time == first.started_at
    assert place.plan().steps == steps
    assert place.deploy().complete


def test_nonce_used_by_something_else_after_the_intent(place: Place) -> None:
    """The recorded transaction can never run: a new one is sent, with a new address."""
    with pytest.raises(KilledError):
        place.deploy(progress=kill_at("intent", "deploy RiskTable"))
    transfer(place)
    manifest = place.deploy()
    record = manifest.step("deploy RiskTable")
    assert record is not None
    assert [item.void for item in record.attempts] == [True, False]
    assert manifest.contracts["RiskTable"].address == record.attempts[1].address
    assert problems(verify(manifest, place.rpc)) == []


def test_fees_are_raised_when_the_base_fee_has_passed_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KilledError):
        place.deploy(progress=kill_at("intent", "deploy RiskTable"))
    manifest = place.file.load()
    assert manifest is not None
    record = manifest.step("deploy RiskTable")
    assert record is not None
    record.attempts[0].max_fee_wei = 5  # as if signed in a much quieter time
    place.file.save(manifest)
    done = place.deploy().step("deploy RiskTable")
    assert done is not None
    assert [item.nonce for item in done.attempts] == [record.attempts[0].nonce] * 2
    assert done.attempts[1].max_fee_wei > 5


def test_poor_deployer_sends_nothing(place: Place) -> None:
    poor = LocalSigner.from_key(b"\x55" * 32, "test key")
    place.signer = poor
    with pytest.raises(ConfigError, match=rf"deployer {poor.address} has 0\.000000 ether and needs about 0\.\d"):
        place.deploy()
    assert place.file.load() is None


def test_key_of_somebody_else_is_refused(place: Place) -> None:
    other = LocalSigner.from_key((2).to_bytes(32, "big"), "test key")
    with pytest.raises(ConfigError, match=f"the key is {other.address}, the plan is for {place.signer.address}"):
        execute(place.plan(), place.rpc, other, place.file, waiting=QUICK)
    assert place.sent() == 0


def test_disk_full_at_the_start_sends_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Permanent, match="No space left on device"):
        place.deploy()
    assert place.sent() == 0


def test_disk_full_in_the_middle_goes_on_later(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    save, writes = ManifestFile.save, []

    def flaky(self: ManifestFile, manifest: Manifest) -> None:
        writes.append(1)
        if len(writes) == 20:
            raise Permanent("manifest cannot be written (No space left on device)")
        save(self, manifest)

    monkeypatch.setattr(ManifestFile, "save", flaky)
    with pytest.raises(Permanent, match="No space left"):
        place.deploy()
    manifest = place.deploy()
    assert place.sent() == len([step for step in manifest.steps if step.block])
    assert problems(verify(manifest, place.rpc)) == []


def test_refused_step_names_the_contracts_reason(place: Place) -> None:
    data = local_data()
    data["table"] = {"max_age_s": 59}  # the contract wants at least a minute
    with pytest.raises(Permanent, match=r"step 'RiskTable.set_limits' would revert with 'table: limits'"):
        place.deploy(parse_config(data, "x"))
    sent = place.sent()
    with pytest.raises(Permanent):
        place.deploy(parse_config(data, "x"))
    assert place.sent() == sent
    assert place.deploy().complete  # with the corrected file


def test_other_constructor_arguments_are_refused(place: Place) -> None:
    with pytest.raises(KilledError):
        place.deploy(progress=kill_at("done", "deploy RiskParameters"))
    data = local_data()
    data["roles"]["guardian"] = "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF"
    with pytest.raises(ConfigError, match=r"RiskParameters in .* was created with other arguments; use"):
        place.deploy(parse_config(data, "x"))


def test_manifest_of_another_deployer_is_refused(place: Place) -> None:
    place.deploy()
    place.signer = LocalSigner.from_key((2).to_bytes(32, "big"), "test key")
    with pytest.raises(ConfigError, match=r"the manifest has deployer .*, this run has"):
        place.plan()


def test_reset_chain_is_noticed(place: Place, tmp_path: Path) -> None:
    place.deploy()
    fresh = embedded_place(tmp_path)
    with pytest.raises(ConfigError, match=r"token:USDC at .* has no code on this chain; .* was reset"):
        fresh.deploy()
    assert fresh.sent() == 0


def test_added_options_are_listed_by_running_again(place: Place) -> None:
    before = len([step for step in place.deploy().steps if step.block])
    data = local_data()
    data["underlyings"][1]["options"]["strikes_percent"] = [100, 110]
    manifest = place.deploy(parse_config(data, "x"))
    assert len([step for step in manifest.steps if step.block]) == before + 2
    assert problems(verify(manifest, place.rpc)) == []


def test_strikes_added_below_take_the_slots_that_are_free(place: Place) -> None:
    """Whatever the order of the file, also when somebody else has listed in between."""
    manifest = place.deploy()
    registry = place.web3.eth.contract(manifest.addresses["InstrumentRegistry"], abi=load("InstrumentRegistry").abi)  # type: ignore[call-overload]
    (expiry, strike, _) = registry.functions.option_info(0).call()
    registry.functions.list_option(0, expiry, strike + 10**18, True).transact({"from": place.signer.address})
    data = local_data()
    data["underlyings"][0]["options"]["strikes_percent"] = [80, 100]
    data["underlyings"][0]["futures"] = [7, 30]
    manifest = place.deploy(parse_config(data, "x"))
    found = [registry.functions.option_info(slot).call() for slot in range(5)]
    assert [row[1] // 10**18 for row in found] == [60_000, 60_000, 60_001, 48_000, 48_000]
    near, far = (registry.functions.instrument_info(slot).call()[1] for slot in (253, 254))
    assert far - near == 23 * 86_400  # the far one was there first
    assert [item for item in verify(manifest, place.rpc) if item.state != "ok"] == []


def test_an_option_that_was_retired_is_neither_listed_again_nor_given_a_slot(place: Place) -> None:
    place.deploy()
    progress = progress_of(local_config(), place.rpc, place.file.load())
    expiry = next(terms[0] for terms in progress.taken[0] if len(terms) > 1)
    left = {terms: slot for terms, slot in progress.taken[0].items() if slot != 0}
    data = local_data()
    data["underlyings"][0]["options"]["strikes_percent"] = [80, 100]
    plan = place.plan(parse_config(data, "x"))
    after = replace(progress, taken={**progress.taken, 0: left})
    steps = Wiring(plan.config, plan.deployer, plan.anchors, plan.multicall, after).steps()
    slots = {
        step.id: step.checks[0].args for step in steps if getattr(step, "function", "") == "list_option" and step.checks
    }
    assert f"InstrumentRegistry.list_option BTC {expiry} 60000 call" not in slots
    assert slots[f"InstrumentRegistry.list_option BTC {expiry} 48000 call"] == (0,)
    assert slots[f"InstrumentRegistry.list_option BTC {expiry} 60000 put"] == (1,)
    assert slots[f"InstrumentRegistry.list_option BTC {expiry} 48000 put"] == (2,)


def test_waiting_too_long_is_transient(place: Place) -> None:
    """Without mining nothing is confirmed: the run ends with the way to go on, and does go on."""
    plan = place.plan(tiny_config())
    tester = place.web3.provider.ethereum_tester  # type: ignore[attr-defined]
    tester.disable_auto_mine_transactions()
    with pytest.raises(Transient, match="is not confirmed after 2 s; run the same command again"):
        execute(plan, place.rpc, place.signer, place.file, waiting=QUICK)
    tester.enable_auto_mine_transactions()
    manifest = place.deploy(tiny_config())
    assert place.sent() == len([step for step in manifest.steps if step.block])


def test_a_deployment_that_stopped_half_way_knows_it(place: Place) -> None:
    with pytest.raises(KilledError):
        place.deploy(progress=kill_at("done", "deploy RiskTable"))
    half = place.file.load()
    assert half is not None and not half.complete
    done, wanted = half.progress
    assert (done, wanted) == (len(half.steps), len(place.plan().steps))
    assert place.deploy().progress == (wanted, wanted)


def test_a_first_word_that_is_in_force_is_not_judged_by_bounds_that_came_later(place: Place) -> None:
    place.deploy()
    data = local_data()
    data["parameters"]["bounds_global"]["high"]["im_scale_bps"] = 12_000  # the first word had 12,500
    assert place.deploy(parse_config(data, "x")).complete
