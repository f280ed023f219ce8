# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Settable risk table
@notice Stands in for the RiskTable of a MarginEngine under test, and for a publisher that is a contract. Tests only.
"""

event BlobStored:
    blob: address

joint: uint256
pages: HashMap[uint256, uint256[2]]
# hash -> the only signature that is good for it
approved: HashMap[bytes32, bytes32]


# word 1 = page address | epoch << 160 | observed at << 192 | expires at << 224; word 2 = R | lane unit << 112 | h << 208
@external
def set_page(underlying: uint256, word_1: uint256, word_2: uint256):
    self.pages[underlying] = [word_1, word_2]


# blob address | epoch << 160 | count << 192 | expires at << 200
@external
def set_joint(word: uint256):
    self.joint = word


# a data contract: STOP and then the bytes given
@external
def store(data: Bytes[24480]) -> address:
    # PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN
    initcode: Bytes[24491] = concat(
        0x61, convert(convert(len(data) + 1, uint16), bytes2), 0x80600a5f395ff3, 0x00, data
    )
    blob: address = raw_create(initcode)
    log BlobStored(blob=blob)
    return blob


@external
@view
def read(optioned: uint256) -> DynArray[uint256, 33]:
    result: DynArray[uint256, 33] = [self.joint]
    for i: uint256 in range(16):
        if (optioned >> i) & 1 == 1:
            result.append(self.pages[i][0])
            result.append(self.pages[i][1])
    return result


# EIP-1271: only these bytes will be a good signature of the hash
@external
def approve_hash(hash: bytes32, signature: Bytes[65]):
    self.approved[hash] = keccak256(signature)


@external
@view
def isValidSignature(hash: bytes32, signature: Bytes[65]) -> bytes4:
    return 0x1626BA7E if self.approved[hash] == keccak256(signature) else 0xFFFFFFFF
