# SPDX-License-Identifier: Apache-2.0
"""A publisher's EIP-712 signature under what goes into the risk table, put on when it is sent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from keeper.actions import Action, PublishJoint, PublishPage
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
        if isinstance(action, PublishPage):
            hashed = content_hash(action.header.as_tuple(), action.surfaces, action.rows)
            message = {"underlying": action.underlying, "content_hash": hashed}
            return replace(action, signatures=self._with(action.signatures, PAGE, message))
        if isinstance(action, PublishJoint):
            message = {"content_hash": joint_content_hash(action)}
            return replace(action, signatures=self._with(action.signatures, JOINT, message))
        return action

    def _with(
        self, there: tuple[tuple[str, bytes], ...], types: dict[str, Any], message: dict[str, Any]
    ) -> tuple[tuple[str, bytes], ...]:
        domain = {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": self.chain_id,
            "verifyingContract": self.table,
        }
        mine = (self.signer.address, self.signer.sign_typed(domain, types, message))
        others = [item for item in there if item[0] != self.signer.address]
        return tuple(sorted([*others, mine], key=lambda item: int(item[0], 16)))
