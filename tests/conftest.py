# SPDX-License-Identifier: Apache-2.0
"""Shared by all tests: hypothesis profiles, and no logger that outlives the stream of another test."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.postgres import database_url, own_postgres, postgres_server, postgres_url
from tests.support.shared import ROOT

__all__ = ["database_url", "own_postgres", "postgres_server", "postgres_url"]  # fixtures for all tests

settings.register_profile("quick", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", parent=settings.get_profile("quick"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True, scope="session")
def short_contract_names() -> None:
    """On each revert boa writes out the contract's storage: slow, and it fails on keys that another contract left."""
    module = sys.modules.get("boa.contracts.vyper.vyper_contract")
    if module is not None:
        module.VyperContract.__repr__ = lambda self: f"<{self.filename} at {self.address}>"  # type: ignore[attr-defined]


@pytest.fixture(autouse=True, scope="session")
def sources_read_once() -> None:
    """On each load boa analyses the source and its imports again, which takes seconds; none changes meanwhile."""
    module = sys.modules.get("boa.interpret")
    if module is not None:
        from tests.support.boa_cache import keep_by_sources

        keep_by_sources(ROOT)
        module.loads_partial = cache(module.loads_partial)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def fresh_logging() -> Iterator[None]:
    """A command under test configures logging for its own captured stream; the next test must not write there."""
    yield
    structlog.reset_defaults()
