# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title A wallet of three keys, two of which must sign
@notice EIP-1271, as common multi-signature wallets do it: 65 bytes a key, ascending by address; what follows is ignored.
        Tests only.
"""

from snekmate.utils import ecdsa

keys: public(address[3])


@deploy
def __init__(keys: address[3]):
    self.keys = keys


@external
@view
def isValidSignature(hash: bytes32, signatures: Bytes[1024]) -> bytes4:
    """
    @notice The magic value when two different keys have signed; reverts otherwise
    """
    assert len(signatures) >= 130, "wallet: too few"
    first: address = ecdsa._recover_sig(hash, slice(signatures, 0, 65))
    second: address = ecdsa._recover_sig(hash, slice(signatures, 65, 65))
    assert first in self.keys and second in self.keys, "wallet: not an owner"
    assert convert(first, uint160) < convert(second, uint160), "wallet: not ascending"
    return 0x1626BA7E
