# SPDX-License-Identifier: Apache-2.0
"""Migrations: each goes up and down on both databases with rows in every table, and ends at the models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, insert, inspect, select, types

from keeper.errors import ConfigError
from keeper.store import Store, open_store
from keeper.store.engine import downgrade, upgrade
from keeper.store.models import Base, IntentRow, LeaseRow, MarkRow, TransactionRow


def revisions() -> list[str]:
    """All revisions, oldest first."""
    config = Config()
    config.set_main_option("script_location", "keeper.store:migrations")
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """An empty database without tables."""
    opened = open_store(database_url, migrate=False)
    yield opened
    opened.close()


def sample(kind: types.TypeEngine[Any], number: int) -> Any:
    """A value for a column, near the largest that the keeper's rows may hold."""
    if isinstance(kind, types.JSON):
        return {"amount": str(2**255), "number": number}
    if isinstance(kind, types.LargeBinary):
        return bytes([number]) * 32
    if isinstance(kind, types.Boolean):
        return True
    if isinstance(kind, types.BigInteger):
        return 2**62 + number
    if isinstance(kind, types.Integer):
        return number
    return str(2**200 + number)[: getattr(kind, "length", None) or 60]


def rows(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but alembic's own."""
    found = MetaData()
    found.reflect(connection)
    return {
        table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
        for table in found.sorted_tables
        if table.name != "alembic_version"
    }


def fill(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Put a row into every table there is."""
    found = MetaData()
    with store.engine.begin() as connection:
        found.reflect(connection)
        for table in found.sorted_tables:
            if table.name == "alembic_version":
                continue
            row = {column.name: sample(column.type, 7) for column in table.columns}
            for column in table.columns:
                for key in column.foreign_keys:
                    row[column.name] = sample(key.column.type, 7)
            connection.execute(insert(table), row)
        return rows(connection)


def kept(before: dict[str, list[dict[str, Any]]], store: Store) -> None:
    """Each row of before is there, with all it said in columns that still exist."""
    with store.engine.begin() as connection:
        after = rows(connection)
    for table in before.keys() & after.keys():
        assert len(before[table]) == len(after[table]) == 1, table
        shared = before[table][0].keys() & after[table][0].keys()
        assert {key: before[table][0][key] for key in shared} == {key: after[table][0][key] for key in shared}


def test_migrations_end_at_the_models(store: Store) -> None:
    upgrade(store)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_a_column_that_no_migration_made_is_noticed(store: Store) -> None:
    upgrade(store)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE marks ADD COLUMN more INTEGER")
    with store.engine.connect() as connection:
        assert len(compare_metadata(MigrationContext.configure(connection), Base.metadata)) == 1


@pytest.mark.parametrize("revision", revisions())
def test_rows_of_an_older_version_are_kept_all_the_way_up_and_down(store: Store, revision: str) -> None:
    upgrade(store, revision)
    before = fill(store)
    upgrade(store)
    kept(before, store)
    downgrade(store, revision)
    kept(before, store)
    with store.engine.begin() as connection:
        assert set(rows(connection)) == set(before)
    downgrade(store, "base")
    with store.engine.begin() as connection:
        assert rows(connection) == {}


def test_each_step_has_a_way_back_to_the_same_tables(store: Store) -> None:
    shapes = []
    for revision in revisions():
        upgrade(store, revision)
        shapes.append(shape(store))
    for revision, expected in list(zip(revisions(), shapes, strict=True))[-2::-1]:
        downgrade(store, revision)
        assert shape(store) == expected, revision


def shape(store: Store) -> dict[str, set[str]]:
    with store.engine.begin() as connection:
        found = inspect(connection)
        return {name: {str(column["name"]) for column in found.get_columns(name)} for name in found.get_table_names()}


def test_the_fencing_token_goes_on_from_the_older_version(store: Store) -> None:
    upgrade(store, "0002")
    with store.session() as session:
        session.add(MarkRow(chain_id=5, name="lease:token", value=41))
        session.add(MarkRow(chain_id=5, name="lease:holder", value=2**62))
        session.add(MarkRow(chain_id=5, name="halt:liquidation", value=9))
    upgrade(store)
    with store.session() as session:
        assert session.get_one(LeaseRow, 5).token == 41
        assert [row.name for row in session.scalars(select(MarkRow))] == ["halt:liquidation"]
    downgrade(store, "0002")
    with store.session() as session:
        assert session.get_one(MarkRow, (5, "lease:token")).value == 41


def test_transactions_of_before_get_the_signer_of_their_intent(store: Store) -> None:
    upgrade(store, "0003")
    fill(store)
    upgrade(store)
    with store.session() as session:
        intent = session.scalars(select(IntentRow)).one()
        assert (intent.withdrawn, intent.gas_budget_wei) == (False, None)
        assert session.scalars(select(TransactionRow)).one().sender == intent.sender


def test_an_unknown_revision_is_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="update the keeper"):
        upgrade(store, "9999")
