# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Epochs in force
@notice The living and the previous epoch of each underlying, and the joint scenarios. Readers see the whole of an epoch or
        nothing of it: nothing foreign is called between the writes of a switch.
"""

from contracts.interfaces import IRiskTable
from contracts.modules import constants as c
from contracts.modules import page_code


MASK_32: constant(uint256) = 2**32 - 1
_WITHOUT_JOINT: constant(uint256) = 2**16
_EPOCH_AT: constant(uint256) = 160
_OBSERVED_AT: constant(uint256) = 192
_EXPIRES_AT: constant(uint256) = 224
_VOL_AT: constant(uint256) = 32
_LAST_EPOCH_AT: constant(uint256) = 64
_LISTINGS_AT: constant(uint256) = 96
_SIGNERS_AT: constant(uint256) = 136


# page words 1 and 2 of each underlying, as docs/margin-rule.md lays them out; word 1 zero = no page
_pages: uint256[2][c.MAX_UNDERLYINGS]

# published at 0..31 | at-the-money volatility bps 32..63 | last epoch number used 64..95 | the registry's count of listings at
# publication 96..135 | numbers of the signers, a byte each 136..199. After a revocation without an epoch to return to only
# the last epoch number is left.
_meta: uint256[c.MAX_UNDERLYINGS]

# keccak of (header, surfaces, keccak of the rows), abi-encoded; zero = no epoch, or one that was revoked
_content: bytes32[c.MAX_UNDERLYINGS]

# the same of the epoch that the living one replaced; content zero = none
_previous_pages: uint256[2][c.MAX_UNDERLYINGS]
_previous_meta: uint256[c.MAX_UNDERLYINGS]
_previous_content: bytes32[c.MAX_UNDERLYINGS]

# joint word as docs/margin-rule.md lays it out; zero = none
_joint: uint256

# published at 0..31 | observed at 32..63
_joint_meta: uint256


@external
@view
@reentrant
def read(optioned: uint256) -> DynArray[uint256, 33]:
    """
    @notice Joint word, then two page words for each set bit of `optioned` (0..15), ascending
    @param optioned Bitmap; bit 16 leaves the joint word 0, for accounts with one underlying
    @dev Reentrant: each epoch is switched by one write, after which nothing foreign is called.
    """
    words: DynArray[uint256, 33] = [0]
    if optioned & _WITHOUT_JOINT == 0:
        words[0] = self._joint
    bits: uint256 = optioned & (_WITHOUT_JOINT - 1)
    for u: uint256 in range(c.MAX_UNDERLYINGS):
        if bits == 0:
            break
        if bits & 1 == 1:
            words.append(self._pages[u][0])
            words.append(self._pages[u][1])
        bits = bits >> 1
    return words


@external
@view
@reentrant
def page_info(underlying: uint256) -> (uint256, uint256, bytes32, uint256):
    """
    @notice (page word 1, page word 2, content hash, at-the-money volatility bps)
    @dev Reentrant for the same reason as read.
    """
    return (
        self._pages[underlying][0],
        self._pages[underlying][1],
        self._content[underlying],
        self._vol_bps(self._meta[underlying]),
    )


@external
@view
def previous_page(underlying: uint256) -> (uint256, uint256, bytes32, uint256):
    """
    @notice As page_info, of the epoch that a revocation of the living one would return to; zeros = none
    """
    return (
        self._previous_pages[underlying][0],
        self._previous_pages[underlying][1],
        self._previous_content[underlying],
        self._vol_bps(self._previous_meta[underlying]),
    )


@external
@view
def last_epoch(underlying: uint256) -> uint256:
    """
    @notice Last epoch number used, that of a revoked epoch included
    """
    return self._last_epoch(underlying)


@external
@view
@reentrant
def rows_of(underlying: uint256) -> uint256:
    """
    @notice Number of rows of the living page, 0 when there is none
    @dev Reentrant for the same reason as read.
    """
    return page_code._row_count(self._pages[underlying][0])


@internal
def _switch(
    underlying: uint256,
    page: address,
    header: IRiskTable.Header,
    content_hash: bytes32,
    signers: uint256,
    listings: uint256,
):
    """
    @notice Makes an epoch the living one, and the living one the previous, unless that was revoked
    @custom:invariant I-39
    """
    living_content: bytes32 = self._content[underlying]
    if living_content != empty(bytes32):
        self._previous_pages[underlying] = self._pages[underlying]
        self._previous_meta[underlying] = self._meta[underlying]
        self._previous_content[underlying] = living_content
    self._pages[underlying] = [
        convert(page, uint256)
        | (header.epoch << _EPOCH_AT)
        | (header.observed_at << _OBSERVED_AT)
        | (header.expires_at << _EXPIRES_AT),
        header.reference_price_wad | (header.lane_unit_wad << 112) | (header.step_e9 << 208),
    ]
    self._meta[underlying] = (
        block.timestamp
        | (header.atm_vol_bps << _VOL_AT)
        | (header.epoch << _LAST_EPOCH_AT)
        | (listings << _LISTINGS_AT)
        | (signers << _SIGNERS_AT)
    )
    self._content[underlying] = content_hash


@internal
def _revoke(underlying: uint256, is_living: bool, listings: uint256):
    """
    @notice Takes the living or the previous epoch out of force
    @dev An epoch that is returned to is not to be trusted when anything was listed since it was published: a slot that was
         given to another option meanwhile would be judged by the row of the first, and what is new has no row. So nothing
         may leave by it, and nobody is liquidated by it alone. Without an epoch to return to the revoked page stays in the
         same way, observed never: with no page every short option would be charged the whole price of its underlying.
    @param listings The registry's count now
    """
    if is_living:
        word: uint256 = self._pages[underlying][0]
        meta: uint256 = self._previous_meta[underlying]
        if self._previous_content[underlying] != empty(bytes32):
            word = self._previous_pages[underlying][0]
            if (meta >> _LISTINGS_AT) & (2**40 - 1) != listings:
                word = self._distrusted(word)
            self._pages[underlying][1] = self._previous_pages[underlying][1]
        else:
            word = self._distrusted(word & ~(MASK_32 << _OBSERVED_AT))
        self._pages[underlying][0] = word
        self._content[underlying] = self._previous_content[underlying]
        self._meta[underlying] = (meta & ~(MASK_32 << _LAST_EPOCH_AT)) | (
            self._last_epoch(underlying) << _LAST_EPOCH_AT
        )
    self._previous_pages[underlying] = empty(uint256[2])
    self._previous_meta[underlying] = 0
    self._previous_content[underlying] = empty(bytes32)


@internal
@view
def _last_epoch(underlying: uint256) -> uint256:
    return (self._meta[underlying] >> _LAST_EPOCH_AT) & MASK_32


@internal
@pure
def _epoch(word: uint256) -> uint256:
    """
    @notice Epoch number in a page word 1
    """
    return (word >> _EPOCH_AT) & MASK_32


@internal
@pure
def _observed_at(word: uint256) -> uint256:
    return (word >> _OBSERVED_AT) & MASK_32


@internal
@pure
def _published_at(meta: uint256) -> uint256:
    return meta & MASK_32


@internal
@pure
def _vol_bps(meta: uint256) -> uint256:
    return (meta >> _VOL_AT) & MASK_32


@internal
@pure
def _signers(meta: uint256) -> uint256:
    return meta >> _SIGNERS_AT


@internal
@pure
def _distrusted(word: uint256) -> uint256:
    """
    @notice The page word 1 with an expiry of 0: long past, which casts doubt on all that the page says
    """
    return word & (2**_EXPIRES_AT - 1)
