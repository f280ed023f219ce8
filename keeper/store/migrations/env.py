# SPDX-License-Identifier: Apache-2.0
"""Runs migrations on the connection that ``keeper.store.open_store`` hands over."""

from alembic import context

from keeper.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # alembic's default for SQLite would leave half a migration behind after a crash
)
with context.begin_transaction():
    context.run_migrations()
