# SPDX-License-Identifier: Apache-2.0
"""The parts of the local testnet that need no node; tests/node/test_testnet.py starts the whole."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from keeper.demo.market import HOUR
from keeper.errors import ConfigError, Permanent
from keeper.testnet.home import LIQUIDATOR, Facts, Home, key_of, write_json
from keeper.testnet.market import SYMBOLS, Fall, Tape, recorded, simulated, take_order
from keeper.testnet.processes import Child, free_port
from keeper.testnet.up import clear
from risk.market.history import PriceHistory
from tests.support.shared import shared_path

NOW = 1_790_000_000


def history(*closes: float) -> PriceHistory:
    ts = NOW // HOUR * HOUR + HOUR * np.arange(len(closes))
    return PriceHistory(("ETH",), ts, np.array(closes).reshape(-1, 1), np.ones((len(closes), 1)), HOUR)


def test_a_tape_begins_at_the_price_the_chain_has_and_moves_as_the_path_does() -> None:
    tape = Tape(history(100, 110, 99), [2_000.0], speed=60)
    assert tape.prices(0, 0) == [2_000.0]
    assert tape.prices(0, 60) == pytest.approx([2_200.0])  # an hour of the path in a minute
    assert tape.prices(0, 30) == pytest.approx([2_000 * math.sqrt(1.1)])
    assert tape.prices(0, 10**6) == pytest.approx([1_980.0])  # after the end its last price
    assert tape.prices(5, 0) == [2_000.0]


def test_a_fall_takes_its_time_and_stays() -> None:
    tape = Tape(history(100, 100), [50.0], speed=1, falls=[Fall(0.3, 10, began=20)])
    assert [tape.prices(0, t)[0] for t in (19, 20, 30, 500)] == pytest.approx([50, 50, 35, 35])
    assert tape.prices(0, 25)[0] == pytest.approx(50 * math.sqrt(0.7))
    assert Fall(-0.5, 0, 0).factor(0) == pytest.approx(1.5)


def test_an_order_is_taken_once(tmp_path: Path) -> None:
    file = tmp_path / "crash.json"
    assert take_order(file, 7) is None
    write_json(file, {"size": 0.4, "seconds": 30})
    assert take_order(file, 7) == Fall(0.4, 30.0, 7)
    assert take_order(file, 8) is None


def test_paths_begin_now() -> None:
    path = simulated(1, NOW, SYMBOLS)
    assert path.past.ts[-1] < NOW <= path.hours.ts[0] + HOUR
    assert path.past.close[-1].tolist() == pytest.approx(list(SYMBOLS.values()))
    replayed = recorded(shared_path("data", "prices", "hourly"), NOW)
    assert replayed.hours.ts[0] == NOW // HOUR * HOUR
    assert replayed.past.ts[-1] == replayed.hours.ts[0] - HOUR


def test_keys_are_those_everybody_knows() -> None:
    assert key_of(0).address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    assert key_of(LIQUIDATOR).address == "0x90F79bf6EB2c4f870365E785982E1f101E93b906"


def test_facts_are_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.facts() is None
    facts = Facts(("BTC", "ETH"), {"BTC": 1.0, "ETH": 2.0}, "simulated", 5, 6, 7, {"bear": 3})
    home.keep(facts)
    assert home.facts() == facts


def test_a_testnet_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with pytest.raises(ConfigError, match="no testnet runs"):
        home.running()
    home.running_file.write_text(json.dumps({"pid": 2**22 + 1}))
    with pytest.raises(ConfigError, match="no testnet runs"):
        home.running()
    home.running_file.write_text(json.dumps({"pid": os.getpid()}))
    assert home.running()["pid"] == os.getpid()


def test_only_a_testnets_folder_is_removed(tmp_path: Path) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="no testnet's folder"):
        clear(Home(mine))
    assert (mine / "chapter.txt").exists()
    net = Home(tmp_path / "net")
    net.folder.mkdir()
    net.facts_file.write_text("{}")
    net.running_file.write_text(json.dumps({"pid": os.getpid()}))
    with pytest.raises(ConfigError, match="stop it first"):
        clear(net)
    net.running_file.unlink()
    clear(net)
    assert not net.folder.exists()


def test_a_process_that_ends_by_itself_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys; print('no disk'); sys.exit(3)"
    child = Child("the node", [sys.executable, "-c", code], tmp_path / "log", tmp_path)
    deadline = time.monotonic() + 30
    while child.running and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Permanent, match=r"(?s)the node ended with code 3; .*no disk"):
        child.check()
    assert not child.running


def test_a_taken_port_is_replaced() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) != port
