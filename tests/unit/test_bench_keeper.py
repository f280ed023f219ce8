# SPDX-License-Identifier: Apache-2.0
"""The script that measures the keeper holds it to the design's figures."""

from __future__ import annotations

from scripts.bench_book import mapped
from scripts.bench_keeper import TARGETS


def test_targets_are_those_of_the_design() -> None:
    assert {target.key: target.limit for target in TARGETS} == {
        "assess_100k_ms": 150.0,
        "crash_to_auction_blocks": 1.0,
        "idle_rpc_calls": 3.0,
        "sync_100k_seconds": 60.0,
    }


def test_slots_of_a_mapping_are_those_of_vyper() -> None:
    # keccak256(slot . key): the other order of Solidity's mappings
    assert mapped(0, 1) != mapped(1, 0)
    assert hex(mapped(0, 0)) == "0xad3228b676f7d3cd4284a5443f17f1962b36e491b30a40b2405849e597ba5fb5"
