# SPDX-License-Identifier: Apache-2.0
"""MarginAccounts and its extension: one storage, one interface, and an extension that is useless by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import boa
import pytest
from eth_utils import function_abi_to_4byte_selector

from tests.support.accounts_contract import EXTENSION, MAIN
from tests.support.ledger import ALICE, ALL, GOVERNANCE, GUARDIAN, STRANGER, WAD, Ledger, deploy_ledger

ZERO: Final = "0x" + 40 * "0"
INTERFACE: Final = "contracts/interfaces/IMarginAccounts.vyi"
# code that could replace, destroy or create code
DANGEROUS: Final = {"DELEGATECALL", "CALLCODE", "SELFDESTRUCT", "CREATE", "CREATE2"}


@pytest.fixture(scope="module")
def deployment() -> Ledger:
    return deploy_ledger()


@pytest.fixture
def ledger(deployment: Ledger) -> Iterator[Ledger]:
    with boa.env.anchor():
        yield deployment


def selectors(abi: list[dict[str, Any]]) -> dict[bytes, str]:
    return {function_abi_to_4byte_selector(item): item["name"] for item in abi if item["type"] == "function"}  # type: ignore[arg-type]


def layout(part: Any) -> dict[str, Any]:
    found: dict[str, Any] = part.compiler_data.storage_layout
    return found


def test_both_lay_out_storage_alike(ledger: Ledger) -> None:
    main, extension = layout(ledger.accounts), layout(ledger.accounts.extension)
    assert main["storage_layout"] == extension["storage_layout"]
    assert main["transient_storage_layout"] == extension["transient_storage_layout"]
    assert main["transient_storage_layout"]["$.nonreentrant_key"]["slot"] == 0
    assert len(main["storage_layout"]) > 7
    # the main contract has one immutable more: where the extension is
    immutables = dict(main["code_layout"])
    del immutables["EXTENSION"]
    assert immutables == extension["code_layout"]


def test_immutables_are_the_same(ledger: Ledger) -> None:
    assert ledger.accounts.EXTENSION() == ledger.accounts.extension.address
    for name in ("cash_token", "registry", "oracle"):
        value = getattr(ledger.accounts, name)()
        assert value == getattr(ledger.accounts.extension, name)() != ZERO
    cash, registry, oracle = (getattr(ledger.accounts, name)() for name in ("cash_token", "registry", "oracle"))
    for wrong in ((ledger.weth.address, registry, oracle), (cash, oracle, oracle), (cash, registry, registry)):
        extension = boa.load(EXTENSION, *wrong)
        with pytest.raises(boa.BoaError, match="accounts: extension"):
            boa.load(MAIN, GOVERNANCE, GUARDIAN, cash, registry, oracle, extension.address)


def test_together_they_are_the_interface(ledger: Ledger) -> None:
    main, extension = selectors(ledger.accounts.abi), selectors(ledger.accounts.extension.abi)
    assert not main.keys() & extension.keys()  # nothing hides anything
    wanted = selectors(boa.load_vyi(INTERFACE).abi)
    assert wanted.keys() <= main.keys() | extension.keys()


def test_only_the_main_contract_delegates(ledger: Ledger) -> None:
    def operations(part: Any) -> list[str]:
        return [str(item) for item in part.compiler_data.assembly_runtime if str(item) in DANGEROUS]

    assert operations(ledger.accounts.extension) == []
    assert operations(ledger.accounts) == ["DELEGATECALL", "DELEGATECALL"]


def test_everything_takes_the_lock_but_what_says_why_not(ledger: Ledger) -> None:
    """Ownership is snekmate's: it calls nobody and no call in the ledger depends on it midway."""
    ownership = {"owner", "pending_owner", "transfer_ownership", "accept_ownership"}

    def open_to_reentry(part: Any) -> set[str]:
        module = part.compiler_data.annotated_vyper_module._metadata["type"]
        return {function.name for function in module.exposed_functions if not function.nonreentrant}

    assert open_to_reentry(ledger.accounts) == {"__default__", "batch", "state", "has_right", "EXTENSION"}
    assert open_to_reentry(ledger.accounts.extension) == ownership


def test_both_fit_eip_170(ledger: Ledger) -> None:
    for address in (ledger.accounts.address, ledger.accounts.extension.address):
        assert len(boa.env.get_code(address)) <= 24_576


def test_called_directly_the_extension_is_nobodys_and_empty(ledger: Ledger) -> None:
    extension = ledger.accounts.extension
    assert extension.owner() == extension.pending_owner() == extension.guardian() == extension.auction() == ZERO
    for who in (boa.env.eoa, GOVERNANCE, GUARDIAN, STRANGER):
        for name, arguments in (("set_engine", (who,)), ("set_auction", (who,)), ("transfer_ownership", (who,))):
            with boa.reverts("ownable: caller is not the owner"):
                getattr(extension, name)(*arguments, sender=who)
        with boa.reverts("ownable_2step: caller is not the new owner"):
            extension.accept_ownership(sender=who)
        with boa.reverts("accounts: not authorised"):
            extension.pause(0, 1, sender=who)
        for account in (0, 1):
            with boa.reverts("accounts: not authorised"):
                extension.set_operator(account, who, 7, ALL >> 192, sender=who)
        for name, arguments in (
            ("seize", (1, 2, WAD, 0)),
            ("seize_legs", (1, 2, [])),
            ("pay_reward", (1, 2, 0)),
            ("socialise_loss", (0,)),
            ("receive_cover", (0,)),
        ):
            with boa.reverts("accounts: not the auction"):
                getattr(extension, name)(*arguments, sender=who)
        with boa.reverts("accounts: not authorised"):
            extension.set_collateral_cap(0, 0, sender=who)
    extension.settle_many([0, 1, 2], 0)
    extension.settle_options(1, 0)
    extension.settle_delta(1, 255)
    assert extension.cash_book() == (0, 0, 0)


def test_what_nobody_knows_reverts(ledger: Ledger) -> None:
    for data in (b"", b"\x01\x02", b"\xde\xad\xbe\xef"):
        with pytest.raises(boa.BoaError):
            raise_on_error(ledger, data, 0)
    # a known function takes no ether, here or there
    with pytest.raises(boa.BoaError):
        raise_on_error(ledger, ledger.accounts.extension.cash_token.prepare_calldata(), 1)


def raise_on_error(ledger: Ledger, data: bytes, value: int) -> None:
    boa.env.set_balance(ALICE, WAD)
    computation = boa.env.execute_code(
        to_address=ledger.accounts.address, sender=ALICE, data=data, value=value, gas=10**6
    )
    if computation.is_error:
        raise boa.BoaError.create(computation, ledger.accounts)
