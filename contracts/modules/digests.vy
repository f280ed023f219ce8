# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What publishers sign
@notice EIP-712 messages of the domain ("Ballast RiskTable", "1"): Page(uint256 underlying,bytes32 content_hash), whose content
        hash is keccak256(abi_encode(header, surfaces, keccak256(rows))), and Joint(bytes32 content_hash) over
        (epoch, observed_at, expires_at, model_hash, data_hash, keccak256(scenarios)).
@dev Both contents name an epoch, so no signature is good twice.
"""

from contracts.interfaces import IRiskTable
from contracts.modules import constants as c
from contracts.modules import table_guard
from snekmate.utils import eip712_domain_separator

uses: eip712_domain_separator


JOINT_BYTES: constant(uint256) = c.MAX_JOINT * 32
_PAGE_TYPE_HASH: constant(bytes32) = keccak256("Page(uint256 underlying,bytes32 content_hash)")
_JOINT_TYPE_HASH: constant(bytes32) = keccak256("Joint(bytes32 content_hash)")


@external
@view
def page_digest(
    underlying: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
    rows_hash: bytes32,
) -> bytes32:
    """
    @notice EIP-712 hash that a publisher signs for a page; rows_hash = keccak256 of its rows
    """
    return self._page_digest(underlying, keccak256(abi_encode(header, surfaces, rows_hash)))


@external
@view
def joint_digest(
    epoch: uint256,
    observed_at: uint256,
    expires_at: uint256,
    model_hash: bytes32,
    data_hash: bytes32,
    scenarios: Bytes[JOINT_BYTES],
) -> bytes32:
    """
    @notice EIP-712 hash that a publisher signs for joint scenarios
    """
    return self._joint_digest(epoch, observed_at, expires_at, model_hash, data_hash, scenarios)


@internal
@view
def _page_digest(underlying: uint256, content_hash: bytes32) -> bytes32:
    return eip712_domain_separator._hash_typed_data_v4(
        keccak256(abi_encode(_PAGE_TYPE_HASH, underlying, content_hash))
    )


@internal
@view
def _joint_digest(
    epoch: uint256,
    observed_at: uint256,
    expires_at: uint256,
    model_hash: bytes32,
    data_hash: bytes32,
    scenarios: Bytes[JOINT_BYTES],
) -> bytes32:
    content_hash: bytes32 = keccak256(
        abi_encode(epoch, observed_at, expires_at, model_hash, data_hash, keccak256(scenarios))
    )
    return eip712_domain_separator._hash_typed_data_v4(keccak256(abi_encode(_JOINT_TYPE_HASH, content_hash)))
