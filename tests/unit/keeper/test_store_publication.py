# SPDX-License-Identifier: Apache-2.0
"""The migration that gives each content of an epoch a row of its own keeps what was there, both ways."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, column, insert, select, table

from keeper.store import Store, open_store
from keeper.store.models import EpochRow, PushRow

EPOCH = {
    "chain_id": 1,
    "underlying": 0,
    "epoch": 7,
    "built_at": 5,
    "content_hash": b"h" * 32,
    "content": '{"rows": ""}',
}
PUSH = {"chain_id": 1, "nonce": 3, "built_at": 6, "verdict": "sent", "content": '{"changes": []}'}


def move(store: Store, revision: str) -> Connection:
    connection = store.engine.connect()
    config = Config()
    config.set_main_option("script_location", "keeper.store:migrations")
    config.attributes["connection"] = connection
    command.downgrade(config, revision)
    return connection


def test_rows_survive_the_way_up_and_down(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/k.sqlite"
    store = open_store(url)
    with move(store, "0003") as connection:
        for name, row in (("epochs", EPOCH), ("pushes", PUSH)):
            connection.execute(insert(table(name, *map(column, row))), row)
        connection.commit()
    store.close()
    again = open_store(url)
    with again.session() as session:
        (epoch,), (push,) = session.scalars(select(EpochRow)).all(), session.scalars(select(PushRow)).all()
        assert (epoch.verdict, epoch.content_hash, epoch.content) == ("sent", b"h" * 32, {"rows": ""})
        assert (push.digest, push.verdict, push.content) == (bytes(32), "sent", {"changes": []})
        session.add_all(
            EpochRow(
                chain_id=1, underlying=0, epoch=7, content_hash=mark * 32, verdict=verdict, built_at=at, content={}
            )
            for mark, verdict, at in ((b"s", "shadow", 8), (b"t", "sent", 9))
        )
    with move(again, "0003") as connection:
        epochs = table("epochs", column("content_hash"), column("epoch"))
        assert connection.execute(select(epochs)).all() == [(b"t" * 32, 7)]  # the last that was sent
    again.close()
