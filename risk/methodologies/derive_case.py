# SPDX-License-Identifier: Apache-2.0
"""Reads a case file of Derive's PMRM_2 tests: keys ``Scenario`` (the account), ``Parameters`` and ``Result``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from risk.errors import BadInput
from risk.methodologies.derive import (
    Account,
    Contingencies,
    Discounts,
    Options,
    Rules,
    Shock,
    Skew,
    Token,
    VolShock,
)


def is_derive_case(raw: object) -> bool:
    """Whether a JSON document has the shape of one."""
    return isinstance(raw, Mapping) and {"Scenario", "Parameters"} <= set(raw)


def read_case(raw: Mapping[str, Any]) -> tuple[Account, Rules]:
    """The account and the rules of a case.

    Raises
    ------
    BadInput
        When a field is missing, or an option has no feed.
    """
    try:
        return _account(raw["Scenario"]), _rules(raw["Parameters"])
    except KeyError as error:
        raise BadInput(f"the Derive case has no field {error}; hand over one of Derive's own case files") from error


def _account(raw: Mapping[str, Any]) -> Account:
    feeds = {feed["FeedExpiry"]: feed for feed in raw["OptionFeeds"]}
    expiries = sorted({option["Expiry"] for option in raw["Options"]})
    return Account(
        spot=float(raw["SpotPrice"]),
        cash=float(raw["Cash"]),
        perps=float(raw["NumPerps"]),
        perp_price=float(raw["PerpPrice"]),
        perp_pnl=float(raw["UnrealisedPerpPNL"]),
        funding=float(raw["UnrealisedFunding"]),
        stable=float(raw["StablePrice"]),
        tokens=tuple(_token(item) for item in raw["Collaterals"]),
        expiries=tuple(
            _options(expiry, feeds[expiry], [item for item in raw["Options"] if item["Expiry"] == expiry])
            for expiry in expiries
        ),
        spot_confidence=float(raw["SpotConfidence"]),
        perp_confidence=float(raw["PerpConfidence"]),
    )


def _token(raw: Mapping[str, Any]) -> Token:
    return Token(
        float(raw["Amount"]), float(raw["Price"]), bool(raw["IsRiskCancelling"]), float(raw["IMHaircut"]),
        float(raw["MMHaircut"]), float(raw["Confidence"]), float(raw["ConfidenceFactor"]),
    )  # fmt: skip


def _options(expiry: int, feed: Mapping[str, Any], options: list[Mapping[str, Any]]) -> Options:
    def column(name: str) -> Any:
        return np.array([float(item[name]) for item in options])

    confidences = (feed["ForwardConfidence"], feed["RateConfidence"], feed["OptionVolConfidences"])
    return Options(
        int(expiry), float(feed["Forward"]), float(feed["Rate"]), float(options[0]["MarkDiscount"]), column("Strike"),
        column("IsCall") > 0.0, column("Amount"), column("MarkVol"), min(map(float, confidences)),
    )  # fmt: skip


def _rules(raw: Mapping[str, Any]) -> Rules:
    vol, margin, skew = raw["VolShock"], raw["Margin"], raw["SkewShock"]
    return Rules(
        shocks=tuple(
            Shock(float(item["SpotShock"]), item["VolShockDirection"], float(item["DampeningFactor"]))
            for item in raw["Scenarios"]
        ),
        vol=VolShock(
            vol["VOLRANGEUP"], vol["VOLRANGEDOWN"], vol["SHORTTERMPOWER"], vol["LONGTERMPOWER"],
            vol["MIN_VOL_EVAL_SHOCKED"], vol["DTE_FLOOR"],
        ),
        discounts=Discounts(
            margin["BASE_STATIC_DISCOUNT"], margin["LONG_RATE_MULTSCALE"], margin["LONG_RATE_ADDSCALE"],
            margin["BASE_STATIC_DISCOUNT_NEG"], margin["SHORT_RATE_MULTSCALE"], margin["SHORT_RATE_ADDSCALE"],
        ),
        skew=Skew(
            skew["LINEAR_SCALE_CAP"], skew["LINEAR_CBASE"], skew["ABS_SCALE_CAP"], skew["ABS_CBASE"],
            skew["MIN_K_STAR"], skew["MIN_WIDTH_SCALE"], skew["VOL_PARAM_STATIC"], skew["VOL_PARAM_SCALE"],
        ),
        other=_contingencies(margin, raw["BasisContingency"], raw["OtherContingency"]),
    )  # fmt: skip


def _contingencies(margin: Mapping[str, Any], basis: Mapping[str, Any], other: Mapping[str, Any]) -> Contingencies:
    return Contingencies(
        margin["MM_LOSS_FACTOR"], margin["IM_LOSS_FACTOR"], basis["SCENARIO_SPOT_UP"], basis["SCENARIO_SPOT_DOWN"],
        basis["BASIS_CONT_ADD_FACTOR"], basis["BASIS_CONT_MULT_FACTOR"], other["MM_PERP_PERCENT"],
        other["IM_PERP_PERCENT"], other["MM_OPTION_PERCENT"], other["IM_OPTION_PERCENT"], other["PEG_LOSS_THRESHOLD"],
        other["PEG_LOSS_FACTOR"], other["CONF_THRESHOLD"], other["CONF_MARGIN"],
    )  # fmt: skip
