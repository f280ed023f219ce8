# SPDX-License-Identifier: Apache-2.0
"""A publisher's EIP-712 signature under what goes into the risk table, put on when it is sent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from eth_abi.abi import encode
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from keeper.actions import Action, PublishJoint, PublishPage, Signature
from keeper.publish.rebuild import content_hash

DOMAIN_NAME, DOMAIN_VERSION = "Ballast RiskTable", "1"
PAGE = {"Page": [{"name": "underlying", "type": "uint256"}, {"name": "content_hash", "type": "bytes32"}]}
JOINT = {"Joint": [{"name": "content_hash", "type": "bytes32"}]}
JOINT_CONTENT = ("uint256", "uint256", "uint256", "bytes32", "bytes32", "bytes32")


class TypedSigner(Protocol):
    """A key that signs EIP-712 messages."""

    @property
    def address(self) -> str:
        """Checksummed address of the key."""

    def sign_typed(self, domain: dict[str, Any], types: dict[str, Any], message: dict[str, Any]) -> bytes:
        """Signature (65 bytes) of a message."""


def joint_content_hash(action: PublishJoint) -> bytes:
    """Hash of joint scenarios that publishers sign."""
    head = (action.joint_epoch, action.observed_at, action.expires_at, action.model_hash, action.data_hash)
    return bytes(keccak(encode(JOINT_CONTENT, (*head, keccak(action.scenarios)))))


def typed(action: PublishPage | PublishJoint) -> tuple[dict[str, Any], dict[str, Any]]:
    """EIP-712 types and message of a table."""
    if isinstance(action, PublishPage):
        hashed = content_hash(action.header.as_tuple(), action.surfaces, action.rows)
        return PAGE, {"underlying": action.underlying, "content_hash": hashed}
    return JOINT, {"content_hash": joint_content_hash(action)}


def domain(chain_id: int, table: str) -> dict[str, Any]:
    """EIP-712 domain of a table's contract."""
    return {"name": DOMAIN_NAME, "version": DOMAIN_VERSION, "chainId": chain_id, "verifyingContract": table}


def digest(action: PublishPage | PublishJoint, chain_id: int, table: str) -> bytes:
    """What publishers sign, as ``RiskTable.page_digest`` and ``joint_digest`` give it."""
    signable = encode_typed_data(domain(chain_id, table), *typed(action))
    return bytes(keccak(b"\x19" + signable.version + signable.header + signable.body))


@dataclass(frozen=True, slots=True)
class Publisher:
    """One registered publisher of one table.

    Parameters
    ----------
    table
        Address of ``RiskTable``.
    """

    signer: TypedSigner
    chain_id: int
    table: str

    def endorse(self, action: Action) -> Action:
        """Put this publisher's signature beside those that the action has, ascending; other actions pass unchanged."""
        if not isinstance(action, PublishPage | PublishJoint):
            return action
        others = [item for item in action.signatures if item[0] != self.signer.address]
        return replace(action, signatures=ascending([*others, self.sign(action)]))

    def sign(self, action: PublishPage | PublishJoint) -> Signature:
        """Signature of a table by this publisher's key, with its address."""
        return self.signer.address, self.signer.sign_typed(domain(self.chain_id, self.table), *typed(action))


def ascending(signatures: Iterable[Signature]) -> tuple[Signature, ...]:
    """Signatures in the order in which the contract takes them."""
    return tuple(sorted(signatures, key=lambda item: int(item[0], 16)))
