"""What the store's tests share: a catalogue in a fresh database, on both PostgreSQL servers."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, delete
from sqlalchemy.schema import CreateSchema

from archive.database.roles import grant
from storage.tables import NOTE_COPIES, container, counted, event, metadata, stored_object, unsettled, volume, walk
from tests.databases import Postgres


@pytest.fixture(scope="module")
def catalogue_writer(database: Postgres) -> Iterator[Engine]:
    """An engine of role writer on a database that holds the store's tables and nothing else."""
    with database.engines(pool_sizes={"writer": 16}) as engines:
        with engines.owner.begin() as connection:
            connection.execute(CreateSchema("store", if_not_exists=True))
            metadata.create_all(connection)
            for statement in NOTE_COPIES:
                connection.exec_driver_sql(statement)
        grant(engines, published=(), working=("store",), creatable=())
        yield engines.writer


@pytest.fixture
def writer(catalogue_writer: Engine) -> Engine:
    """The same, emptied for each test."""
    with catalogue_writer.begin() as connection:
        for table in (event, stored_object, unsettled, walk, container, volume, counted):
            connection.execute(delete(table))
    return catalogue_writer
