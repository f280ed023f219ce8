# SPDX-License-Identifier: Apache-2.0
"""The keeper's memory: SQLite by default, anything SQLAlchemy speaks otherwise."""

from keeper.store.engine import Store, open_store

__all__ = ["Store", "open_store"]
