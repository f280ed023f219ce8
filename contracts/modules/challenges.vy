# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Judging one published row
@notice Collects what the row must have been priced from, out of the page's header and the registry, and asks the verifier.
@dev An honest publisher knew what the registry held when the market was observed, and no later. So a slot whose option was not
     listed before that, or is retired by now, is not judged: nobody can hold anything by that row (see has_row). An expiry
     ahead of the observation counts as not settled, whatever happened since; of an expiry behind it the registry keeps no
     time of settlement, and the row passes if it is right either way.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IRiskTable
from contracts.interfaces import IRowVerifier
from contracts.modules import constants as c
from contracts.modules import errors_table as e
from contracts.modules import table_guard


struct Verdict:
    wrong: bool
    lane: uint256
    expected: uint256
    published: uint256


@internal
@view
def _judge(
    registry: address,
    verifier: address,
    tolerance_lanes: uint256,
    instrument: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
    published: Bytes[c.ROW_BYTES],
) -> Verdict:
    """
    @notice Whether a row is wrong, and in which lane
    """
    assert verifier != empty(address), e.CHALLENGES_OFF
    listed_at: uint256 = staticcall IInstrumentRegistry(registry).listed_at(instrument)
    if listed_at == 0 or listed_at >= header.observed_at:
        return empty(Verdict)
    row: IRowVerifier.Row = self._row(registry, instrument, header, surfaces)
    verdict: Verdict = self._ask(verifier, tolerance_lanes, row, published)
    if verdict.wrong and row.settled_price_wad != 0:
        row.settled_price_wad = 0
        verdict = self._ask(verifier, tolerance_lanes, row, published)
    return verdict


@internal
@view
def _row(
    registry: address,
    instrument: uint256,
    header: IRiskTable.Header,
    surfaces: DynArray[IRiskTable.Surface, table_guard.MAX_SURFACES],
) -> IRowVerifier.Row:
    """
    @notice Inputs of the row of a listed option. Without a surface of its expiry they have a forward ratio of zero, with which
            the verifier finds every living option wrong.
    """
    row: IRowVerifier.Row = empty(IRowVerifier.Row)
    row.expiry, row.strike_wad, row.is_call = staticcall IInstrumentRegistry(registry).option_info(instrument)
    row.observed_at = header.observed_at
    row.reference_price_wad = header.reference_price_wad
    row.lane_unit_wad = header.lane_unit_wad
    row.step_e9 = header.step_e9
    row.vol_up_bps = header.vol_up_bps
    row.vol_down_bps = header.vol_down_bps
    row.vol_power_bps = header.vol_power_bps
    row.short_min_bps = header.short_min_bps
    if row.expiry <= header.observed_at:
        row.settled_price_wad = staticcall IInstrumentRegistry(registry).settlement_price(instrument >> 8, row.expiry)
        return row
    for surface: IRiskTable.Surface in surfaces:
        if surface.expiry == row.expiry:
            row.forward_ratio_wad = surface.forward_ratio_wad
            row.discount_wad = surface.discount_wad
            row.a_wad = surface.a_wad
            row.b_wad = surface.b_wad
            row.rho_wad = surface.rho_wad
            row.m_wad = surface.m_wad
            row.sigma_wad = surface.sigma_wad
            break
    return row


@internal
@view
def _ask(
    verifier: address, tolerance_lanes: uint256, row: IRowVerifier.Row, published: Bytes[c.ROW_BYTES]
) -> Verdict:
    verdict: Verdict = empty(Verdict)
    verdict.wrong, verdict.lane, verdict.expected, verdict.published = staticcall IRowVerifier(verifier).mismatch(
        row, published, tolerance_lanes
    )
    return verdict
