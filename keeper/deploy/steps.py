# SPDX-License-Identifier: Apache-2.0
"""A deployment as data: what to create, what to call, and how to see on chain that it has been done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.crypto import keccak

from keeper.artifacts import Artifact, load
from keeper.chain.contracts import signature, types_of
from keeper.errors import Permanent


@dataclass(frozen=True, slots=True)
class Ref:
    """The address of a contract of the manifest, known once it is deployed."""

    name: str


@dataclass(frozen=True, slots=True)
class AtLeast:
    """An expected value that may have grown since."""

    value: int


@dataclass(frozen=True, slots=True)
class Hashed:
    """Keccak-256 of ABI-encoded values, known once the addresses in them are."""

    types: tuple[str, ...]
    values: tuple[Any, ...]


class Kind(StrEnum):
    """How long a check is expected to hold."""

    FIXED = "fixed"
    INITIAL = "initial"  # operation changes it later: parameters, prices, caps


@dataclass(frozen=True, slots=True)
class Check:
    """A view whose first return values must equal ``expect``; None in ``expect`` is not compared."""

    contract: str
    function: str
    args: tuple[Any, ...]
    expect: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Deploy:
    """Create ``artifact`` under the manifest's name ``contract``."""

    contract: str
    artifact: str
    args: tuple[Any, ...]

    @property
    def id(self) -> str:
        """Unique in a plan."""
        return f"deploy {self.contract}"


@dataclass(frozen=True, slots=True)
class Call:
    """Call a function of a deployed contract; done when any one of ``checks`` holds."""

    contract: str
    function: str
    args: tuple[Any, ...]
    checks: tuple[Check, ...]
    subject: str = ""
    kind: Kind = Kind.FIXED

    @property
    def id(self) -> str:
        """Unique in a plan."""
        return f"{self.contract}.{self.function}" + (f" {self.subject}" if self.subject else "")


Step = Deploy | Call


def resolve(value: Any, addresses: Mapping[str, str]) -> Any:
    """Replace each :class:`Ref` inside a value by its address, and each :class:`Hashed` by its hash.

    Raises
    ------
    Permanent
        A contract that has no address yet.
    """
    if isinstance(value, Ref):
        if value.name not in addresses:
            raise Permanent(f"{value.name} is needed before it is deployed; put its step earlier in the plan")
        return addresses[value.name]
    if isinstance(value, Hashed):
        return keccak(encode(value.types, resolve(value.values, addresses)))
    if isinstance(value, tuple | list):
        return tuple(resolve(item, addresses) for item in value)
    return value


def references(value: Any) -> set[str]:
    """Names that a value refers to."""
    if isinstance(value, Ref):
        return {value.name}
    if isinstance(value, Hashed):
        return references(value.values)
    if isinstance(value, tuple | list):
        return set().union(*(references(item) for item in value)) if value else set()
    return set()


def _encode(types: tuple[str, ...], args: tuple[Any, ...], what: str) -> bytes:
    try:
        return bytes(encode(types, args))
    except (EncodingError, TypeError, ValueError) as error:
        raise Permanent(f"{what} cannot take {args!r:.200} ({error}); correct the configuration") from error


def creation_code(artifact: Artifact, args: tuple[Any, ...]) -> bytes:
    """Creation code with encoded constructor arguments."""
    types = types_of(artifact.constructor_types())
    if len(types) != len(args):
        raise Permanent(f"{artifact.name} takes {len(types)} constructor arguments, the plan has {len(args)}")
    return artifact.bytecode + _encode(types, args, f"the constructor of {artifact.name}")


def function_of(artifact: Artifact, name: str, count: int) -> Mapping[str, Any]:
    """ABI item of a function with ``count`` arguments."""
    for item in artifact.abi:
        if item["type"] == "function" and item["name"] == name and len(item["inputs"]) == count:
            return item
    raise Permanent(f"{artifact.name} has no function {name} with {count} arguments; the plan and the ABI differ")


def call_data(artifact: Artifact, name: str, args: tuple[Any, ...]) -> bytes:
    """Selector and encoded arguments."""
    item = function_of(artifact, name, len(args))
    return signature(item)[:4] + _encode(types_of(item["inputs"]), args, f"{artifact.name}.{name}")


def holds(check: Check, artifact: Artifact, addresses: Mapping[str, str], read: Callable[[str, bytes], bytes]) -> bool:
    """Whether the chain answers what a check expects."""
    return not different(answer_of(check, artifact, addresses, read), resolve(check.expect, addresses))


def answer_of(
    check: Check, artifact: Artifact, addresses: Mapping[str, str], read: Callable[[str, bytes], bytes]
) -> tuple[Any, ...]:
    """What the chain answers to a check; ``read`` makes the call."""
    args = resolve(check.args, addresses)
    item = function_of(artifact, check.function, len(args))
    data = read(addresses[check.contract], call_data(artifact, check.function, args))
    try:
        return tuple(decode(types_of(item["outputs"]), data))
    except DecodingError as error:
        raise Permanent(
            f"{check.contract}.{check.function} answers what its ABI does not say; check the address"
        ) from error


def different(found: Any, expected: Any) -> bool:
    """Whether an answer differs from what is expected, nested values included."""
    if expected is None:
        return False
    if isinstance(expected, AtLeast):
        return bool(found < expected.value)
    if isinstance(expected, tuple | list):
        return len(found) < len(expected) or any(different(a, b) for a, b in zip(found, expected, strict=False))
    if isinstance(expected, str) and isinstance(found, str):
        return found.lower() != expected.lower()
    return bool(found != expected)


def artifact_of(step_or_name: Step | str, artifacts: Mapping[str, str]) -> Artifact:
    """Artifact behind a name of the manifest; ``artifacts`` maps names to artifact names."""
    name = step_or_name if isinstance(step_or_name, str) else step_or_name.contract
    return load(artifacts.get(name, name))
