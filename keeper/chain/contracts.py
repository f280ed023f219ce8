# SPDX-License-Identifier: Apache-2.0
"""The deployed contracts: encoding and decoding by ABI, and the checks made before any of them is trusted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_typing import ABIElement
from eth_utils.abi import collapse_if_tuple
from web3 import Web3

from keeper.chain.rpc import Rpc
from keeper.domain import ContractCall
from keeper.errors import ConfigError, Permanent

AbiItem = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract of the manifest; ``code_hash`` is keccak of the runtime code, None where the manifest has none."""

    name: str
    address: str
    abi: Sequence[AbiItem]
    code_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """A function of an ABI, ready to encode and decode."""

    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def types_of(items: Iterable[AbiItem]) -> tuple[str, ...]:
    """ABI types of inputs, outputs or event fields, structs written out as tuples."""
    return tuple(collapse_if_tuple(cast("dict[str, Any]", item)) for item in items)


def signature(item: ABIElement | AbiItem) -> bytes:
    """Keccak of the canonical signature of a function or an event."""
    entry = cast("AbiItem", item)
    return bytes(Web3.keccak(text=f"{entry['name']}({','.join(types_of(entry['inputs']))})"))


class Contracts:
    """All contracts of one deployment, by the manifest's names."""

    def __init__(self, deployed: Iterable[Deployed]) -> None:
        self._deployed = {item.name: item for item in deployed}
        self._names = {item.address.lower(): item.name for item in self._deployed.values()}
        self._functions: dict[tuple[str, str, int], Function] = {}
        for item in self._deployed.values():
            self._add(item)

    def _add(self, deployed: Deployed) -> None:
        for entry in deployed.abi:
            if entry["type"] == "function":
                inputs, outputs = types_of(entry["inputs"]), types_of(entry["outputs"])
                function = Function(signature(entry)[:4], inputs, outputs)
                self._functions[deployed.name, entry["name"], len(inputs)] = function

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the contracts."""
        return tuple(self._deployed)

    @property
    def addresses(self) -> dict[str, str]:
        """Checksummed address of each name."""
        return {name: Web3.to_checksum_address(item.address) for name, item in self._deployed.items()}

    def get(self, name: str) -> Deployed:
        """Return a contract.

        Raises
        ------
        ConfigError
            The manifest does not have it.
        """
        if name not in self._deployed:
            listed = ", ".join(sorted(self._deployed)) or "nothing"
            raise ConfigError(
                f"contract {name} is not in the manifest (it lists {listed}); deploy it or correct the manifest"
            )
        return self._deployed[name]

    def name_at(self, address: str) -> str | None:
        """Name of the contract at an address."""
        return self._names.get(address.lower())

    def has(self, name: str, function: str, arguments: int) -> bool:
        """Whether a contract has a function of so many arguments."""
        return (name, function, arguments) in self._functions

    def encode(self, call: ContractCall) -> tuple[str, bytes]:
        """Return (address, call data).

        Raises
        ------
        Permanent
            There is no such function, or an argument does not fit its type.
        """
        target, function = self.get(call.contract), self._function(call)
        try:
            return Web3.to_checksum_address(target.address), function.selector + encode(function.inputs, call.args)
        except (EncodingError, TypeError, ValueError) as error:
            raise Permanent(f"{call} cannot take {call.args!r:.200} ({error}); correct the arguments") from error

    def decode(self, call: ContractCall, data: bytes) -> Any:
        """Decode what a call returned: the value itself where the function returns one, else a tuple.

        Raises
        ------
        Permanent
            The data is not what the ABI says.
        """
        function = self._function(call)
        if not data and function.outputs:
            raise Permanent(
                f"{call} returned nothing, {self.get(call.contract).address} has no contract; if the node was reset "
                "bring its state back or deploy again under another network name, else check the manifest's address"
            )
        try:
            values = decode(function.outputs, data)
        except (DecodingError, OverflowError, UnicodeDecodeError) as error:
            raise Permanent(
                f"{call} returned {len(data)} bytes that do not fit its ABI ({error}); check the manifest's address"
            ) from error
        return values[0] if len(values) == 1 else values

    def check(self, rpc: Rpc) -> None:
        """Make sure that each address holds the code the manifest says.

        Raises
        ------
        ConfigError
            An address has no code or other code.
        Transient
            The node did not answer.
        """
        for item in self._deployed.values():
            code = rpc.code(item.address)
            if not code:
                raise ConfigError(
                    f"{item.name} has no code at {item.address}; the manifest is of another chain or deployment"
                )
            found = bytes(Web3.keccak(code))
            if item.code_hash is not None and found != item.code_hash:
                raise ConfigError(
                    f"{item.name} at {item.address} has code 0x{found.hex()}, the manifest says "
                    f"0x{item.code_hash.hex()}; use the manifest of this deployment"
                )

    def _function(self, call: ContractCall) -> Function:
        self.get(call.contract)
        key = (call.contract, call.function, len(call.args))
        if key not in self._functions:
            raise Permanent(
                f"{call} with {len(call.args)} arguments is not in the ABI; the keeper and the ABI differ, update one"
            )
        return self._functions[key]
