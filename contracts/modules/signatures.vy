# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Signatures of keys and of contracts
@notice A key's ECDSA signature, or what an EIP-1271 contract accepts: up to 1,024 bytes, fifteen owners of a
        multi-signature wallet.
@dev A signature has more than one form, so none may stand for what it signs.
"""

from snekmate.utils import ecdsa

# a wallet that burns all it is given may cost no more than this
CONTRACT_GAS: constant(uint256) = 1_000_000
MAGIC: constant(bytes4) = 0x1626BA7E


@internal
@view
def _is_valid(signer: address, hash: bytes32, signature: Bytes[1024]) -> bool:
    """
    @notice Whether `signer` has signed `hash`: with 64 or 65 bytes when it has no code, as it likes when it has
    @dev A contract that reverts, says anything else or runs out of its gas has not signed. Reverts for a key's signature
         that is none at all.
    """
    if not signer.is_contract:
        if len(signature) == 65:
            return ecdsa._recover_sig(hash, slice(signature, 0, 65)) == signer
        return len(signature) == 64 and ecdsa._recover_sig(hash, slice(signature, 0, 64)) == signer
    success: bool = False
    answer: Bytes[32] = b""
    success, answer = raw_call(
        signer,
        abi_encode(hash, signature, method_id=MAGIC),
        max_outsize=32,
        gas=CONTRACT_GAS,
        is_static_call=True,
        revert_on_failure=False,
    )
    return success and len(answer) == 32 and convert(answer, bytes32) == convert(MAGIC, bytes32)
