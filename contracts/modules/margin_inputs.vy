# pragma version 0.4.3
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title What the margin rule reads beside the account
@notice docs/margin-rule.md, section 3. Calls skip the check for code: an address without any returns nothing, and what is
        decoded then reverts all the same.
"""

from contracts.interfaces import IInstrumentRegistry
from contracts.interfaces import IPriceOracle
from contracts.interfaces import IRiskParameters
from contracts.interfaces import IRiskTable

# asks the table for pages only
WITHOUT_JOINT: constant(uint256) = 2**16


@internal
@view
def _prices(oracle: address, underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 32]:
    return staticcall IPriceOracle(oracle).read(underlyings, collaterals, skip_contract_check=True)


@internal
@view
def _parameters(parameters: address, underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 33]:
    return staticcall IRiskParameters(parameters).words(underlyings, collaterals, skip_contract_check=True)


@internal
@view
def _marks(registry: address, bitmap: uint256) -> DynArray[uint256, 48]:
    return staticcall IInstrumentRegistry(registry).marks(bitmap, skip_contract_check=True)


@internal
@view
def _table(table: address, wanted: uint256) -> DynArray[uint256, 33]:
    return staticcall IRiskTable(table).read(wanted, skip_contract_check=True)
