# SPDX-License-Identifier: Apache-2.0
"""Errors of the keeper, named for what the handler should do.

Every message is one sentence that names the subject, the value and the remedy. ``exit_code`` is what the command line
returns when the error reaches it.
"""
# ruff: noqa: N818  (a class is named for what the handler should do)

from typing import ClassVar


class KeeperError(Exception):
    """Base of every error the keeper raises on purpose."""

    exit_code: ClassVar[int] = 1


class Transient(KeeperError):
    """Try again later: the network, a rate limit, a busy database.

    Parameters
    ----------
    message
        One sentence: subject, value, remedy.
    retry_after_s
        Seconds the other side asked us to wait, when it said so.
    """

    exit_code: ClassVar[int] = 75  # EX_TEMPFAIL of sysexits.h

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unreachable(Transient):
    """The endpoint gave no usable answer: nobody listens, the line was cut, HTTP 5xx, HTML in place of JSON."""


class RateLimited(Transient):
    """The endpoint wants fewer requests."""


class Behind(Transient):
    """The endpoint lacks the block that was asked for, or has another one in its place."""


class LeaseLost(KeeperError):
    """Another keeper may send now: end the turn, send nothing, stand by."""

    exit_code: ClassVar[int] = 75


class RangeTooLarge(Transient):
    """The endpoint refuses this span of blocks; ask for a smaller one."""


class Permanent(KeeperError):
    """Trying again cannot help; this one action or command has failed."""

    exit_code: ClassVar[int] = 1


class Refused(Permanent):
    """The endpoint does not serve us (a wrong key or path); another one may."""


class NotOffered(Refused):
    """The endpoint lacks the method; another one may have it."""


class Reverted(Permanent):
    """The contract refused the call.

    Parameters
    ----------
    message
        One sentence: subject, value, remedy.
    reason
        The revert string, or the raw data in hex when it is not one.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigError(Permanent):
    """The settings, the manifest or the command line are wrong; a person must change them."""

    exit_code: ClassVar[int] = 2


class Halt(KeeperError):
    """Going on could do harm: stop acting and call a person."""

    exit_code: ClassVar[int] = 3


class NonceTooLow(Permanent):
    """The account has already used this nonce."""


class Underpriced(Transient):
    """The node wants higher fees for this transaction."""


class NoFunds(Transient):
    """The signer cannot pay for gas; sending goes on by itself once somebody has sent it ether."""
