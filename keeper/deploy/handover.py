# SPDX-License-Identifier: Apache-2.0
"""The batch by which a timelock accepts the ownership of every contract that was offered to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_utils.crypto import keccak

from keeper.deploy.steps import Hashed, Ref

ACCEPT_OWNERSHIP = keccak(text="accept_ownership()")[:4]
# targets, amounts, payloads, predecessor, salt
BATCH_TYPES = ("address[]", "uint256[]", "bytes[]", "bytes32", "bytes32")
NOTHING = bytes(32)


def accept_batch(names: Sequence[str]) -> tuple[Any, ...]:
    """Targets, amounts, payloads, predecessor and salt of the batch, as the timelock's functions take them."""
    targets = tuple(Ref(name) for name in names)
    return (targets, (0,) * len(targets), (ACCEPT_OWNERSHIP,) * len(targets), NOTHING, NOTHING)


def batch_id(names: Sequence[str]) -> Hashed:
    """The timelock's identifier of the batch."""
    return Hashed(BATCH_TYPES, accept_batch(names))
