# SPDX-License-Identifier: Apache-2.0
"""Renews the lease beside the loop: a turn may take longer than a lease lasts, and a standby must not wait for one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from keeper.errors import KeeperError
from keeper.lease import Lease

BEATS = 6  # in the time of a lease


class Heartbeat:
    """A thread that keeps the lease while the loop does its work, and takes it for a standby.

    Parameters
    ----------
    stall_s
        A loop that has neither begun a turn nor proved the lease for so long loses it: the process lives, but does
        not work, and a standby may.
    on_role
        Called with True when this instance becomes the one that may send, with False when it no longer is.
    on_fatal
        Called with an error that only a person can cure.
    """

    def __init__(
        self,
        lease: Lease,
        stall_s: float,
        on_role: Callable[[bool], object],
        on_fatal: Callable[[KeeperError], object],
    ) -> None:
        self._lease = lease
        self._stall_s = stall_s
        self._on_role = on_role
        self._on_fatal = on_fatal
        self._leads: bool | None = None
        self._failing = False
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._log = structlog.get_logger("lease")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; the lease itself stays until it is released or runs out."""
        self._end.set()
        self._thread.join(timeout=2 * self._lease.ttl_s)

    def _run(self) -> None:
        while not self._end.is_set():
            try:
                self._beat()
                self._failing = False
            except KeeperError as error:
                if error.exit_code in {2, 3}:  # ConfigError, Halt
                    self._on_fatal(error)
                    return
                if not self._failing:
                    self._log.warning(str(error), error=type(error).__name__)
                self._failing = True
            except Exception:  # noqa: BLE001  (without this thread nobody would hold the lease)
                self._log.exception("unexpected error while the lease was renewed; it is tried again")
            self._tell(self._lease.held is not None)
            self._end.wait(self._lease.ttl_s / BEATS)

    def _beat(self) -> None:
        if self._lease.idle_s < self._stall_s:
            self._lease.renew()
        elif self._lease.held is not None:
            self._log.error("the loop stands still; the lease goes to a standby", idle_s=round(self._lease.idle_s))
            self._lease.release()

    def _tell(self, leads: bool) -> None:
        if leads != self._leads:
            self._leads = leads
            self._log.info("role", leads=leads)
            self._on_role(leads)
