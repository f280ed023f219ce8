# pragma version 0.4.3
# pragma nonreentrancy on
# SPDX-License-Identifier: AGPL-3.0-only
"""
@title Raw SVI smile
@notice Total variance of one expiry, w(k) = a + b (rho (k - m) + sqrt((k - m)^2 + sigma^2)) (Gatheral & Jacquier 2014,
        eq. 3.1), k = ln(strike / forward).
"""

from contracts.modules import constants as c


# far beyond a, b, |m| and sigma of any smile that was fitted, and small enough for the products below
MAX_PARAMETER_WAD: constant(int256) = 10**24


@internal
@pure
def _is_sane(a_wad: int256, b_wad: int256, rho_wad: int256, m_wad: int256, sigma_wad: int256) -> bool:
    """
    @notice Whether the five numbers are a smile at all; b, sigma >= 0 and |rho| <= 1
    """
    return (
        a_wad >= -MAX_PARAMETER_WAD
        and a_wad <= MAX_PARAMETER_WAD
        and b_wad >= 0
        and b_wad <= MAX_PARAMETER_WAD
        and rho_wad >= -convert(c.WAD, int256)
        and rho_wad <= convert(c.WAD, int256)
        and m_wad >= -MAX_PARAMETER_WAD
        and m_wad <= MAX_PARAMETER_WAD
        and sigma_wad >= 0
        and sigma_wad <= MAX_PARAMETER_WAD
    )


@internal
@pure
def _total_deviation(
    k_wad: int256, a_wad: int256, b_wad: int256, rho_wad: int256, m_wad: int256, sigma_wad: int256
) -> uint256:
    """
    @notice Square root of the total variance (volatility times the root of the time), wad, rounded down; 0 where the
            variance would be negative
    @dev The variance is kept in 1e-36, because that of a minute is some 1e-7: for |k| <= 1,000 and sane parameters
         |k - m| < 1.1e24, so the inner sum is below 3e42 and its product with b below 3e66.
    @param k_wad ln(strike / forward)
    """
    x: int256 = k_wad - m_wad
    root: int256 = convert(isqrt(convert(x * x + sigma_wad * sigma_wad, uint256)), int256)
    wing: int256 = rho_wad * x + root * convert(c.WAD, int256)
    variance: int256 = a_wad * convert(c.WAD, int256) + b_wad * wing // convert(c.WAD, int256)
    return isqrt(convert(max(variance, 0), uint256))
