# SPDX-License-Identifier: Apache-2.0
"""Errors of the risk library, named for what the caller should do about them.

Every message names the subject, the offending value with its unit, and the next step.
"""

from __future__ import annotations


class RiskError(Exception):
    """Base of every error the risk library raises on purpose."""


class BadInput(RiskError, ValueError):  # noqa: N818 (named for what the caller should do)
    """The caller handed over something that cannot be used: fix the input and call again."""


class InsufficientHistory(BadInput):
    """There are too few observations for the estimate asked for: hand over a longer history."""


class DataGap(RiskError):  # noqa: N818 (named for what the caller should do)
    """A price history has holes where the caller's policy does not allow any."""


class CalibrationFailed(RiskError):  # noqa: N818 (named for what the caller should do)
    """A calibration could not reach a usable parameter set: keep the previous one."""


class GateFailed(RiskError):  # noqa: N818 (named for what the caller should do)
    """A calibration finished but fails an acceptance gate: it must not be pushed."""


class MissingDependency(RiskError):  # noqa: N818 (named for what the caller should do)
    """An optional library is not installed: the message names the extra that brings it."""


class LookAhead(RiskError):  # noqa: N818 (named for what the caller should do)
    """A backtest used what was not yet known: its results are worthless until the reader of the future is found."""


class RiskWarning(UserWarning):
    """Something was repaired or replaced by a fallback; the result is usable and says so."""
