# SPDX-License-Identifier: Apache-2.0
"""The key's balance, old intents, what became of transactions and the fund, from a real node and database."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from keeper.app import SystemClock
from keeper.chain.client import ChainClient
from keeper.chain.contracts import Contracts
from keeper.deploy.config import load_config
from keeper.deploy.config_market import Options
from keeper.deploy.execute import Waiting, execute
from keeper.deploy.manifest import ManifestFile, load_manifest
from keeper.deploy.plan import make_plan
from keeper.domain import ContractCall
from keeper.observe.alerts import Alerts
from keeper.observe.board import Instruments
from keeper.observe.delivery import Message
from keeper.observe.health import HealthBoard
from keeper.observe.metrics import Metrics
from keeper.observe.upkeep import INTENT, Upkeep
from keeper.store import open_store
from keeper.store.models import CursorRow, IntentRow, TransactionRow
from keeper.tx.signer import LocalSigner
from tests.node.conftest import Anvil

pytestmark = pytest.mark.node

ROOT = Path(__file__).resolve().parents[2]
ETHER = 10**18


@pytest.fixture
def chain(anvil: Anvil, deployer: LocalSigner, tmp_path: Path) -> ChainClient:
    full = load_config(ROOT / "config" / "local.toml")
    options = Options(expiry_days=(7,), strikes_percent=(Decimal(100),))
    few = tuple(item.model_copy(update={"options": options}) for item in full.underlyings)
    plan = make_plan(full.model_copy(update={"underlyings": few}), anvil.rpc, deployer.address)
    path = tmp_path / "local.json"
    execute(plan, anvil.rpc, deployer, ManifestFile(path), waiting=Waiting(timeout_s=20.0, poll_s=0.02))
    client = ChainClient(anvil.rpc, Contracts(load_manifest(path).deployed()), 31337)
    client.start()
    return client


def intent(epoch: int, state: str, key: str, created_at: int, chain_id: int = 31337) -> IntentRow:
    return IntentRow(
        chain_id=chain_id, kind="bid", subject="1", epoch=epoch, state=state, sender=key, what="x", to=key, data=b"",
        tries=1, created_at=created_at, updated_at=created_at,
    )  # fmt: skip


def signed(intent_id: int, number: int, nonce: int, gwei: int, key: str) -> TransactionRow:
    return TransactionRow(
        intent_id=intent_id, sender=key, hash=bytes([number] * 32), raw=b"", nonce=nonce, gas_limit=1,
        max_fee_wei=gwei * 10**9, priority_fee_wei=1, cancels=False, signed_at=1,
    )  # fmt: skip


def test_upkeep(chain: ChainClient, anvil: Anvil, deployer: LocalSigner, tmp_path: Path) -> None:
    key, now = deployer.address, SystemClock().now()
    store = open_store(f"sqlite:///{tmp_path / 'k.sqlite'}")
    metrics, health, sent = Metrics("1", 31337), HealthBoard({}), list[Message]()
    alerts = Alerts(metrics, send=sent.append)
    job = Upkeep(chain, store, SystemClock(), Instruments(metrics, health), alerts, key, Decimal("0.05"))

    def hold(wei: int) -> str:
        anvil.web3.provider.make_request("anvil_setBalance", [key, hex(wei)])  # type: ignore[arg-type]
        job.run()
        return metrics.render().decode()

    # too little money: told, not ready though healthy; enough: called off
    said = hold(ETHER // 100) and hold(ETHER // 100)
    assert f'account_balance{{address="{key}"}} 0.01' in said
    assert f'current_nonce{{address="{key}"}} {float(chain.nonce(key))}' in said
    assert [m.severity for m in sent] == ["critical"] and "less than 0.05" in sent[0].body
    assert not health.ready(now) and health.report(now).ok
    said = hold(ETHER)
    assert [m.severity for m in sent] == ["critical", "recovered"] and health.ready(now)
    raw = chain.call(ContractCall("InsuranceFund", "totalAssets"))
    fund = next(line for line in said.splitlines() if line.startswith("ballast_keeper_insurance_fund_cash "))
    assert float(fund.split()[1]) == raw / 10**6 > 0 and "oldest_intent_seconds 0.0" in said
    assert "block_checkpoint_lag NaN" in said and "tx_fee_gwei NaN" in said

    # the journal: what is not mined ages, what has ended is counted once, of this chain alone
    with store.session() as session:
        session.add(CursorRow(chain_id=31337, number=chain.block().number - 3, hash=b"\x00" * 32))
        ended = [intent(n, "failed" if n == 3 else "final", key, now) for n in range(4)]
        session.add_all([*ended, intent(8, "mined", key, 10), intent(9, "sent", key, now - 1_000)])
        session.add(intent(10, "sent", key, 5, chain_id=31338))
        session.flush()
        first = ended[0].id
        session.add_all([signed(first, number, nonce, gwei, key) for number, nonce, gwei in
                         ((1, 7, 10), (2, 7, 12), (3, 8, 11))])  # fmt: skip
    said = hold(ETHER) and hold(ETHER)
    assert "block_checkpoint_lag 3.0" in said
    assert 'intents_total{kind="bid",status="final"} 3.0' in said
    assert 'intents_total{kind="bid",status="failed"} 1.0' in said
    assert 'status="sent"' not in said and 'status="mined"' not in said
    assert "tx_gas_bumps_total 1.0" in said and "tx_fee_gwei 11.0" in said
    (check,) = health.report(now).checks
    assert check.name == INTENT and check.age_s is not None and 1_000 <= check.age_s < 1_100 and not check.ok
    store.close()
