# SPDX-License-Identifier: Apache-2.0
"""A parameter set survives JSON and keeps its hash; anything unusable is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from risk.errors import BadInput
from risk.types import (
    Certificate,
    CollateralParameters,
    GlobalParameters,
    JointScenarios,
    ParameterSet,
    Provenance,
    SmileModel,
    UnderlyingParameters,
)

SET = ParameterSet(
    GlobalParameters(10_000, 8_000, 10_000, 2_000, 25),
    {"ETH": UnderlyingParameters(1_800, 4_000, 2_500, 3_000, 50, 30, 20, 5, 500, 100, 400, 450)},
    {"WETH": CollateralParameters(1_000, 500, 10, 100, 50)},
    {"ETH": SmileModel(0.6, 0.7, 4.0, -0.2, 0.9)},
    JointScenarios(np.array([[1], [-127]], np.int8), np.array([[5], [6]], np.int8)),
    ("ETH",),
    Certificate(2, 100, 1_000, 7, 0.57, 0.86, 1.15, 2.2, 1.36, "0x00"),
    Provenance("1", "0x01", "0x02", 7, 3, 1, 2, 100, {"fallbacks": ["ETH"], "ratio": np.float64(1.5)}),
)


def test_json_round_trip_keeps_equality_and_hash() -> None:
    again = ParameterSet.from_json(SET.to_json())
    assert again == SET
    assert again.content_hash() == SET.content_hash()
    assert len(SET.content_hash()) == 66


def test_hash_ignores_the_order_of_mappings_and_sees_every_change() -> None:
    two = {"A": SET.underlyings["ETH"], "B": SET.underlyings["ETH"]}
    back = dict(reversed(two.items()))
    assert replace(SET, underlyings=two).content_hash() == replace(SET, underlyings=back).content_hash()
    other = replace(SET, global_parameters=GlobalParameters(10_000, 8_000, 10_000, 2_001, 25))
    assert other.content_hash() != SET.content_hash()
    assert replace(SET, joint=JointScenarios(SET.joint.vol_bytes, SET.joint.price_bytes)) != SET


def test_sets_without_joint_scenarios_round_trip() -> None:
    bare = replace(SET, joint=None, joint_underlyings=(), certificate=None)
    assert ParameterSet.from_json(bare.to_json()) == bare


def test_unusable_sets_are_refused() -> None:
    with pytest.raises(BadInput, match="malformed"):
        ParameterSet.from_json("{}")
    with pytest.raises(BadInput, match="malformed"):
        ParameterSet.from_json("not json")
    with pytest.raises(BadInput, match="cannot be written"):
        replace(SET, provenance=replace(SET.provenance, diagnostics={"x": float("nan")})).to_json()
    with pytest.raises(BadInput, match="columns"):
        replace(SET, joint_underlyings=("ETH", "BTC"))
    with pytest.raises(BadInput, match="int8"):
        JointScenarios(np.zeros((1, 1)), np.zeros((1, 1), np.int8))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="differ"):
        JointScenarios(np.zeros((1, 1), np.int8), np.zeros((2, 1), np.int8))
