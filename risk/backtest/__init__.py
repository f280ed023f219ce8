# SPDX-License-Identifier: Apache-2.0
"""Walk-forward backtest of forecast and margin on real history: account classes, tests, peers, procyclicality."""

from __future__ import annotations

from risk.backtest.accounts import MIX, Population, build_population
from risk.backtest.data import Data, until
from risk.backtest.gates import Gate, gates, passed, require
from risk.backtest.impulse import Impulse, impulse_response
from risk.backtest.peers import PeerResult, compare, factor_at, peer_margins, peers
from risk.backtest.resample import Relative, relative_capital
from risk.backtest.run import Progress, Result, backtest, plain
from risk.backtest.settings import BacktestConfig
from risk.backtest.statistics import ClassResult, Coverage, Shortfall, coverage_of, summarise
from risk.backtest.walk import Walk, alter_future, check_no_look_ahead, walk

__all__ = [
    "MIX",
    "BacktestConfig",
    "ClassResult",
    "Coverage",
    "Data",
    "Gate",
    "Impulse",
    "PeerResult",
    "Population",
    "Progress",
    "Relative",
    "Result",
    "Shortfall",
    "Walk",
    "alter_future",
    "backtest",
    "build_population",
    "check_no_look_ahead",
    "compare",
    "coverage_of",
    "factor_at",
    "gates",
    "impulse_response",
    "passed",
    "peer_margins",
    "peers",
    "plain",
    "relative_capital",
    "require",
    "summarise",
    "until",
    "walk",
]
