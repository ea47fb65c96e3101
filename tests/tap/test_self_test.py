"""What is declared is tried at the start: it all works on both databases, and what does not is not declared."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg_pool import ConnectionPool

from archive.database.engines import psycopg_dsn
from archive.holdings.sessions import Session
from tap.adql.geometry import feature_list
from tap.adql.trials import trials
from tap.protocol import features
from tap.self_test import self_test
from tests.databases import Postgres


@pytest.fixture
def fresh(postgres: Postgres) -> Iterator[Postgres]:
    made = postgres.fresh_database()
    reader = sql.Identifier(str(made.urls.reader.username))
    with psycopg.connect(psycopg_dsn(made.urls.owner), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA tap_schema")
        connection.execute(
            "CREATE TABLE tap_schema.schemas AS SELECT * FROM (VALUES ('a', 'u', 'd', 1), ('b', 'u', 'd', 2)) "
            "AS t(schema_name, utype, description, schema_index)"
        )
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA tap_schema TO {}").format(reader))
        connection.execute(sql.SQL("GRANT SELECT ON tap_schema.schemas TO {}").format(reader))
    yield made
    made.drop()


def test_everything_that_is_declared_has_a_trial() -> None:
    assert {form for _, form, _ in feature_list()} <= {trial.form for trial in trials()}


def test_all_of_it_works_and_what_is_taken_away_is_told_and_not_declared(fresh: Postgres) -> None:
    with ConnectionPool(psycopg_dsn(fresh.urls.reader), connection_class=Session, min_size=1, max_size=1) as pool:
        first = self_test(pool, fresh.sphere)
        assert dict(first.failed) == {}
        assert first.tried > 60
        with psycopg.connect(psycopg_dsn(fresh.admin), autocommit=True) as connection:
            connection.execute("DROP FUNCTION sphere.healpix CASCADE")
        second = self_test(pool, fresh.sphere)
    gone = {form for form in second.failed if form.startswith("ivo_healpix_index(")}
    assert len(gone) == 2
    assert all("sphere.healpix" in second.failed[form] for form in gone)
    told = {one.form for each in features(second.failed) for one in each.features}
    assert not gone & told
    assert {"CONTAINS", "LOWER", "ivo_hasword(haystack VARCHAR(*), needle VARCHAR(*)) -> INTEGER"} <= told


def test_without_a_database_nothing_can_be_tried_and_the_service_starts(fresh: Postgres) -> None:
    pool = ConnectionPool(psycopg_dsn(fresh.urls.reader), connection_class=Session, min_size=0, max_size=1, open=False)
    assert dict(self_test(pool, fresh.sphere).failed) == {}
