# SPDX-License-Identifier: Apache-2.0
"""Just enough TOML to write a configuration file for a subprocess: everything inline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def value(item: Any) -> str:
    if isinstance(item, Mapping):
        return "{ " + ", ".join(f"{k} = {value(v)}" for k, v in item.items() if v is not None) + " }"
    if isinstance(item, list | tuple):
        return "[" + ", ".join(map(value, item)) + "]"
    if isinstance(item, bool):
        return "true" if item else "false"
    return json.dumps(item)


def dump(data: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {value(item)}\n" for key, item in data.items() if item is not None)
