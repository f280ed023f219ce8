# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
# pragma optimize gas
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Risk table epochs
@license GNU Affero General Public License v3.0 only
@notice For each underlying, a page with a row for every option: its value at 15 prices and three volatilities. And the
        joint scenarios over several underlyings. A keeper publishes them inside guards; each epoch is a data contract
        of its own, and one storage write switches to it, so no reader ever sees half an epoch.
@dev Everything an epoch was computed from is in its event and, as a hash, in storage: anybody can recompute any row. The
     owner (a timelock) cannot publish; it grants the role and sets the limits.
@custom:trust governance: roles and limits. guardian: may only forbid a keeper. keeper: epochs inside the limits.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IPriceOracle
from contracts.interfaces import IRiskParameters
from contracts.interfaces import IRiskTable
from contracts.modules import constants as c
from contracts.modules import errors_table as e
from contracts.modules import table_guard
from snekmate.auth import ownable
from snekmate.auth import ownable_2step

implements: IRiskTable

initializes: ownable
initializes: ownable_2step[ownable := ownable]
initializes: table_guard[ownable := ownable]

exports: (
    # renouncing is left out: without governance nobody could ever replace a keeper
    ownable_2step.owner,
    ownable_2step.pending_owner,
    ownable_2step.transfer_ownership,
    ownable_2step.accept_ownership,
    # roles and limits
    table_guard.guardian,
    table_guard.is_keeper,
    table_guard.set_guardian,
    table_guard.set_keeper,
    table_guard.set_limits,
    table_guard.limits,
)


_MAX_ROW_BYTES: constant(uint256) = c.MAX_ROWS * c.ROW_BYTES
_JOINT_BYTES: constant(uint256) = c.MAX_JOINT * 32
_WITHOUT_JOINT: constant(uint256) = 2**16
_MASK_32: constant(uint256) = 2**32 - 1
_MASK_160: constant(uint256) = 2**160 - 1
# copies what follows it to the new contract's code: PUSH2 length DUP1 PUSH1 10 PUSH0 CODECOPY PUSH0 RETURN; the first byte
# of that code is STOP, so a call to it does nothing
_PUSH2: constant(Bytes[1]) = x"61"
_COPY: constant(Bytes[8]) = x"80600a5f395ff300"


REGISTRY: public(immutable(address))
ORACLE: public(immutable(address))
PARAMETERS: public(immutable(address))


# page words 1 and 2 of each underlying, as docs/margin-rule.md lays them out; word 1 zero = no page
_pages: uint256[2][c.MAX_UNDERLYINGS]

# published at 0..31 | at-the-money volatility bps 32..63
_meta: uint256[c.MAX_UNDERLYINGS]

# keccak of (header, surfaces, keccak of the rows), abi-encoded
_content: bytes32[c.MAX_UNDERLYINGS]

# joint word as docs/margin-rule.md lays it out; zero = none
_joint: uint256

# published at 0..31 | observed at 32..63
_joint_meta: uint256


@deploy
def __init__(governance: address, guardian: address, registry: address, oracle: address, parameters: address):
    """
    @param governance Owner: the timelock
    @param guardian May forbid a keeper
    @param registry InstrumentRegistry: how many rows a page needs
    @param oracle PriceOracle: the live price that the reference price is held against
    @param parameters RiskParameters: the scan range that the grid step is held against
    """
    assert governance != empty(address), e.NO_GOVERNANCE
    ownable.__init__()
    ownable_2step.__init__()
    table_guard.__init__(guardian)
    ownable._transfer_ownership(governance)
    REGISTRY = registry
    ORACLE = oracle
    PARAMETERS = parameters


# ------------------------------------------------------------------ keeper


@external
def publish(
    underlying: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, 16],
    rows: Bytes[_MAX_ROW_BYTES],
):
    """
    @notice Stores the rows of one underlying and makes them the living epoch.
    @param underlying Underlying, listed
    @param header Epoch (last + 1), times (unix s), reference price, lane unit (wad per unit), grid step (1e-9),
           at-the-money volatility (bps a year), hashes of model and data
    @param surfaces What the rows were priced with, one an expiry; only logged and hashed
    @param rows 96 bytes for each option slot, from slot 0
    """
    assert table_guard.is_keeper[msg.sender], e.NOT_KEEPER
    assert len(rows) % c.ROW_BYTES == 0, e.ROW_LENGTH
    self._check_page(underlying, header, len(rows) // c.ROW_BYTES)
    page: address = raw_create(
        concat(_PUSH2, convert(convert(len(rows) + 1, uint16), bytes2), _COPY, rows)
    )
    content_hash: bytes32 = keccak256(abi_encode(header, surfaces, keccak256(rows)))
    self._pages[underlying] = [
        convert(page, uint256) | (header.epoch << 160) | (header.observed_at << 192) | (header.expires_at << 224),
        header.reference_price_wad | (header.lane_unit_wad << 112) | (header.step_e9 << 208),
    ]
    self._meta[underlying] = block.timestamp | (header.atm_vol_bps << 32)
    self._content[underlying] = content_hash
    log IRiskTable.PagePublished(
        underlying=underlying,
        epoch=header.epoch,
        page=page,
        header=header,
        surfaces=surfaces,
        content_hash=content_hash,
    )


@external
def publish_joint(
    epoch: uint256,
    observed_at: uint256,
    expires_at: uint256,
    model_hash: bytes32,
    data_hash: bytes32,
    scenarios: Bytes[_JOINT_BYTES],
):
    """
    @notice Stores the joint scenarios and makes them the living ones.
    @param epoch Last epoch of the joint scenarios + 1
    @param observed_at Time of the newest market data used (unix s)
    @param expires_at When they expire (unix s)
    @param model_hash Version of the model
    @param data_hash Its inputs
    @param scenarios 32 bytes each, 1..64
    """
    assert table_guard.is_keeper[msg.sender], e.NOT_KEEPER
    count: uint256 = len(scenarios) // 32
    assert len(scenarios) % 32 == 0 and count != 0, e.SCENARIOS
    assert epoch == ((self._joint >> 160) & _MASK_32) + 1, e.BAD_EPOCH
    last: uint256 = self._joint_meta
    table_guard._check_times(observed_at, expires_at, table_guard._limits.joint_life_s, last >> 32, last & _MASK_32)
    # always the length of 64 scenarios, of which `count` are in force, as the engine copies code in constant lengths
    # only; copying past the end of the initcode gives zeros
    page: address = raw_create(
        concat(_PUSH2, convert(convert(_JOINT_BYTES + 1, uint16), bytes2), _COPY, scenarios)
    )
    self._joint = convert(page, uint256) | (epoch << 160) | (count << 192) | (expires_at << 200)
    self._joint_meta = block.timestamp | (observed_at << 32)
    log IRiskTable.JointPublished(
        epoch=epoch,
        page=page,
        count=count,
        observed_at=observed_at,
        expires_at=expires_at,
        model_hash=model_hash,
        data_hash=data_hash,
    )


@external
@view
def check_publish(underlying: uint256, header: IRiskTable.Header, row_count: uint256):
    """
    @notice Reverts with the reason that publish() would give a keeper now; returns nothing otherwise
    @param underlying Underlying
    @param header As for publish
    @param row_count Number of rows
    """
    self._check_page(underlying, header, row_count)


# ------------------------------------------------------------------ views


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
        (self._meta[underlying] >> 32) & _MASK_32,
    )


@external
@view
@reentrant
def rows_of(underlying: uint256) -> uint256:
    """
    @notice Number of rows of the living page, 0 when there is none
    @dev Reentrant for the same reason as read.
    """
    page: address = convert(self._pages[underlying][0] & _MASK_160, address)
    return 0 if page == empty(address) else (page.codesize - 1) // c.ROW_BYTES


# ------------------------------------------------------------------ internal


@internal
@view
def _check_page(underlying: uint256, header: IRiskTable.Header, row_count: uint256):
    """
    @notice Everything that must hold for a page to become the living one
    """
    assert underlying < staticcall IInstrumentRegistry(REGISTRY).underlying_count(), e.UNKNOWN_UNDERLYING
    last: uint256 = self._pages[underlying][0]
    meta: uint256 = self._meta[underlying]
    assert header.epoch == ((last >> 160) & _MASK_32) + 1, e.BAD_EPOCH
    table_guard._check_times(
        header.observed_at,
        header.expires_at,
        table_guard._limits.page_life_s,
        (last >> 192) & _MASK_32,
        meta & _MASK_32,
    )
    table_guard._check_vol(header.atm_vol_bps, (meta >> 32) & _MASK_32)

    price: uint256 = (staticcall IPriceOracle(ORACLE).read(1 << underlying, 0))[0]
    assert (price >> 128) & 255 == c.PRICE_FRESH, e.PRICE_DEAD
    table_guard._check_price(header.reference_price_wad, price & (2**128 - 1))
    assert header.lane_unit_wad != 0 and header.lane_unit_wad < 2**96, e.LANE_UNIT
    # a twelfth of the scan range, in 1e-9: the scan then ends at the twelfth grid step
    scan_bps: uint256 = (staticcall IRiskParameters(PARAMETERS).word(1, underlying)) & (2**16 - 1)
    assert header.step_e9 != 0 and header.step_e9 == scan_bps * 10**5 // 12, e.GRID_STEP
    assert row_count <= c.MAX_ROWS, e.ROW_COUNT
    assert row_count >= staticcall IInstrumentRegistry(REGISTRY).row_count(underlying), e.ROW_COUNT
