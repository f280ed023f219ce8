# SPDX-License-Identifier: Apache-2.0
"""Code size and gas against the snapshots in tests/snapshots: nothing grows unseen, and every contract fits on a chain.

The tolerance is zero: compiler and revm are deterministic, and pinned.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests import snapshots

EIP_170_BYTES = 24_576


@pytest.fixture(scope="module")
def sizes() -> dict[str, Any]:
    return snapshots.code_size()


def test_code_size_is_what_the_snapshot_says(sizes: dict[str, Any]) -> None:
    assert sizes == snapshots.read("code_size"), snapshots.UPDATE


def test_each_contract_fits_on_a_chain(sizes: dict[str, Any]) -> None:
    assert {name: size for name, size in sizes["bytes"].items() if size > EIP_170_BYTES} == {}


def test_gas_is_what_the_snapshot_says() -> None:
    assert snapshots.gas() == snapshots.read("gas"), snapshots.UPDATE
