# SPDX-License-Identifier: Apache-2.0
"""Measures code size and gas and rewrites the snapshots; prints what changed."""

from __future__ import annotations

import json
import sys

from tests.snapshots import HERE, code_size, gas


def main() -> int:
    """Rewrite both files, or those named as arguments."""
    for name, measure in (("code_size", code_size), ("gas", gas)):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        file = HERE / f"{name}.json"
        before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        now = measure()
        for kind in ("bytes", "gas"):
            for key, value in now.get(kind, {}).items():
                old = before.get(kind, {}).get(key)
                if old != value:
                    print(f"{kind} of {key}: {old} -> {value}")
        file.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
