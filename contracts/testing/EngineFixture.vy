# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Settable state, prices, marks and parameters
@notice Stands in for MarginAccounts, PriceOracle, InstrumentRegistry and RiskParameters of a MarginEngine under test, so
        that any state can be given to it. Tests only. RiskTable.read clashes with PriceOracle.read: see TableFixture.
"""

words_of: HashMap[uint256, DynArray[uint256, 128]]
prices: HashMap[uint256, HashMap[uint256, uint256]]
parameters: HashMap[uint256, HashMap[uint256, uint256]]
marks_of: HashMap[uint256, uint256]
# decimals, linked underlying + 1, cap raw, total raw
assets: HashMap[uint256, uint256[4]]


@external
def set_state(account: uint256, words: DynArray[uint256, 128]):
    self.words_of[account] = words


# a whole price word; kind 0 = underlying, 1 = collateral
@external
def set_price(kind: uint256, id: uint256, word: uint256):
    self.prices[kind][id] = word


# kind 0 = global, 1 = underlying, 2 = collateral
@external
def set_word(kind: uint256, id: uint256, word: uint256):
    self.parameters[kind][id] = word


# settlement price | carry << 128 of a delta-one instrument; bit 0..15 perpetual, 16..31 slot 254, 32..47 slot 253
@external
def set_mark(bit: uint256, word: uint256):
    self.marks_of[bit] = word


@external
def set_asset(asset: uint256, decimals: uint256, linked: uint256, cap_raw: uint256, total_raw: uint256):
    self.assets[asset] = [decimals, linked, cap_raw, total_raw]


# assets whose cap was never set are not listed
@external
@view
def collateral_info(asset: uint256) -> (address, uint256, uint256, uint256, uint256):
    info: uint256[4] = self.assets[asset]
    token: address = empty(address)
    if info[2] != 0:
        token = self
    return token, info[0], info[1], info[2], info[3]


@external
@view
def state(account: uint256) -> DynArray[uint256, 128]:
    return self.words_of[account]


@external
@view
def read(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 32]:
    result: DynArray[uint256, 32] = []
    for i: uint256 in range(16):
        if (underlyings >> i) & 1 == 1:
            result.append(self.prices[0][i])
    for i: uint256 in range(16):
        if (collaterals >> i) & 1 == 1:
            result.append(self.prices[1][i])
    return result


@external
@view
def marks(bitmap: uint256) -> DynArray[uint256, 48]:
    result: DynArray[uint256, 48] = []
    for u: uint256 in range(16):
        for bit: uint256 in [u, u + 16, u + 32]:
            if (bitmap >> bit) & 1 == 1:
                result.append(self.marks_of[bit])
    return result


@external
@view
def words(underlyings: uint256, collaterals: uint256) -> DynArray[uint256, 33]:
    result: DynArray[uint256, 33] = [self.parameters[0][0]]
    for i: uint256 in range(16):
        if (underlyings >> i) & 1 == 1:
            result.append(self.parameters[1][i])
    for i: uint256 in range(16):
        if (collaterals >> i) & 1 == 1:
            result.append(self.parameters[2][i])
    return result
