# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts with its extension as callers see them: one contract with both ABIs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import boa
from boa.contracts.abi.abi_contract import ABIContractFactory

MAIN = "contracts/MarginAccounts.vy"
EXTENSION = "contracts/MarginAccountsExtension.vy"


def load_accounts(governance: str, guardian: str, cash: str, registry: str, oracle: str) -> Any:
    """Deploy both; the result is boa's contract of MarginAccounts, to which the extension's functions are added.

    A failure in the main contract is traced in its source, one in the extension in the extension's.
    """
    extension = boa.load(EXTENSION, cash, registry, oracle)
    main = boa.load(MAIN, governance, guardian, cash, registry, oracle, extension.address)
    rest = ABIContractFactory.from_abi_dict(extension.abi, "MarginAccountsExtension").at(main.address)
    boa.env.register_contract(main.address, main)
    for name in {item["name"] for item in extension.abi if item["type"] == "function"}:
        if not hasattr(main, name):
            setattr(main, name, _through(rest, name, main))
    main.event_abi_for.update(extension.event_abi_for)
    main.extension = extension
    return main


def calldata(accounts: Any, name: str, *arguments: Any) -> bytes:
    """Calldata of a function of either part, for a batch."""
    holder = accounts if any(item.get("name") == name for item in accounts.abi) else accounts.extension
    return bytes(getattr(holder, name).prepare_calldata(*arguments))


def _through(rest: Any, name: str, main: Any) -> Callable[..., Any]:
    function = getattr(rest, name)

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        finally:
            main._computation = rest._computation

    return call
