# SPDX-License-Identifier: Apache-2.0
"""Where boa keeps what it has compiled: a folder for each state of the contracts.

boa's own key holds the sources that a contract imports, but not those that these import: after a change two imports
deep it would hand out code of before.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import boa


def keep_by_sources(root: Path) -> None:
    """Use the folder of the sources below ``root`` as they are now."""
    digest = hashlib.sha256()
    for path in sorted((root / "contracts").rglob("*.vy*")):
        digest.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    boa.interpret.set_cache_dir(str(root / ".pytest_cache" / "boa" / digest.hexdigest()[:24]))
