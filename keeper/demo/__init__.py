# SPDX-License-Identifier: Apache-2.0
"""The main job end to end on an embedded chain, and the tools local tests share with it."""

from keeper.demo.record import Totals
from keeper.demo.run import run_demo

__all__ = ["Totals", "run_demo"]
