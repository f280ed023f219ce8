# SPDX-License-Identifier: Apache-2.0
"""Where the shared market history and test vectors are; they are never part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def shared_root() -> Path:
    """Folder of the shared data: ``BALLAST_SHARED``, else ``../shared`` beside the checkout."""
    return Path(os.environ.get("BALLAST_SHARED", ROOT.parent / "shared"))


def shared_path(*parts: str) -> Path:
    """Path below the shared folder; skips the test where it is absent, fails in CI."""
    path = shared_root().joinpath(*parts)
    if path.exists():
        return path
    message = f"shared data not found: {path}; set BALLAST_SHARED to the folder that holds data/ and vectors/"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(message)
    pytest.skip(message)
