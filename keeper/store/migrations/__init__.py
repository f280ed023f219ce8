# SPDX-License-Identifier: Apache-2.0
"""Alembic migrations, applied by ``keeper.store.open_store``."""
