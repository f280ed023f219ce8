# SPDX-License-Identifier: Apache-2.0
"""Error classes: what a shell and a handler see."""

from __future__ import annotations

import pytest

from keeper import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [(errors.ConfigError, 2), (errors.Permanent, 1), (errors.Transient, 75), (errors.Halt, 3), (errors.KeeperError, 1)],
)
def test_exit_codes(kind: type[errors.KeeperError], code: int) -> None:
    assert kind.exit_code == code


def test_classes_say_what_to_do() -> None:
    assert issubclass(errors.ConfigError, errors.Permanent)
    assert issubclass(errors.Reverted, errors.Permanent)
    assert issubclass(errors.RangeTooLarge, errors.Transient)
    assert issubclass(errors.Underpriced, errors.Transient)
    assert issubclass(errors.NoFunds, errors.Transient)
    assert not issubclass(errors.Halt, errors.Permanent | errors.Transient)  # a handler of either must not catch it


def test_what_they_carry() -> None:
    assert errors.Transient("rate limit", retry_after_s=3.0).retry_after_s == 3.0
    assert errors.Transient("rate limit").retry_after_s is None
    error = errors.Reverted("bid reverted", reason="auction: price")
    assert (str(error), error.reason) == ("bid reverted", "auction: price")
