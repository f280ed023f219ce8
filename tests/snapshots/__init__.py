# SPDX-License-Identifier: Apache-2.0
"""Code size and gas as of the last update: `python -m tests.snapshots` measures again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vyper import __long_version__ as compiler_version

from tests.support.protocol import Protocol
from tests.support.revm import Contract, deploy
from tests.support.shared import ROOT

HERE = Path(__file__).parent
UPDATE = "measured otherwise: when that is meant, run `make snapshots` and commit what it writes"
# contract -> attribute of Protocol
PLACES = {
    "InstrumentRegistry": "registry",
    "InsuranceFund": "fund",
    "LiquidationAuction": "auction",
    "MarginAccounts": "accounts",
    "MarginAccountsExtension": "extension",
    "MarginEngine": "engine",
    "MarginLens": "lens",
    "PriceOracle": "oracle",
    "RiskParameters": "parameters",
    "RiskTable": "table",
    "RowVerifier": "verifier",
}


def read(name: str) -> dict[str, Any]:
    """A snapshot as committed."""
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return found


def code_size() -> dict[str, Any]:
    """Bytes of code on chain of each deployable, immutables with them."""
    world = Protocol()
    placed: dict[str, Contract] = {name: getattr(world, place) for name, place in PLACES.items()}
    governance = world.governance
    placed["Multicall"] = deploy(world.evm, "contracts/Multicall.vy")
    placed["Timelock"] = deploy(world.evm, "contracts/Timelock.vy", 0, [governance], [governance])
    placed["SignedTradeVenue"] = deploy(
        world.evm, "contracts/SignedTradeVenue.vy", governance, world.accounts.address, world.registry.address
    )
    # revm's analysis adds 33 zero bytes
    sizes = {name: len(bytes(world.evm.get_code(c.address)).removesuffix(bytes(33))) for name, c in placed.items()}
    assert set(sizes) == {path.stem for path in (ROOT / "contracts").glob("*.vy")}
    return {"compiler": f"vyper {compiler_version}", "bytes": dict(sorted(sizes.items()))}


def gas() -> dict[str, Any]:
    """Gas of the calls in the cost table, by `scripts/bench_gas.py`."""
    from scripts.bench_gas import measure

    return {"compiler": f"vyper {compiler_version}", "gas": dict(measure())}
