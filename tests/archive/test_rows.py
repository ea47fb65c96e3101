"""Rows to Arrow columns. The oracle is psycopg's own reading of the same query, value by value."""

import math
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import scalar_row

from archive.database.engines import psycopg_dsn
from archive.holdings import rows as rows_
from archive.holdings.rows import as_records, record_batch
from tests.databases import embedded

Connection = psycopg.Connection[tuple[Any, ...]]
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "boolean": (pa.bool_(), st.booleans()),
    "smallint": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "integer": (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    "bigint": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "real": (pa.float32(), st.floats(width=32)),
    "double precision": (pa.float64(), st.floats()),
    "text": (pa.string(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    "timestamp": (pa.timestamp("us"), st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))),
    "double precision[]": (pa.list_(pa.float64()), st.lists(st.floats(), max_size=4)),
    "integer[]": (pa.list_(pa.int32()), st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4)),
    "numeric": (pa.float64(), st.decimals(allow_nan=False, allow_infinity=False, places=6, max_value=10**9)),
}


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    """The reader role: what a user's query runs as."""
    with embedded() as postgres, psycopg.connect(psycopg_dsn(postgres.urls.reader), autocommit=True) as connection:
        yield connection


@pytest.fixture(autouse=True, params=["few", "many"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are read in another way than many are."""
    if request.param == "many":
        monkeypatch.setattr(rows_, "FEW", 0)


def fetched(connection: Connection, sql: str, schema: pa.Schema, parameters: object = ()) -> pa.RecordBatch:
    cursor = connection.cursor(binary=True, row_factory=scalar_row)
    rows = cursor.execute(as_records(sql).encode(), parameters).fetchall()  # type: ignore[call-overload]
    batch = record_batch(rows, schema, connection)
    batch.validate(full=True)
    return batch


def same(a: object, b: object) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, Decimal):
        return float(a) == b
    return type(a) is type(b) and a == b


columns = st.lists(st.sampled_from(sorted(TYPES)), min_size=1, max_size=6)


@given(data=st.data(), names=columns, rows=st.integers(1, 12))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_rows_of_any_types_come_as_psycopg_reads_them(
    connection: Connection, data: st.DataObject, names: list[str], rows: int
) -> None:
    values = [
        [data.draw(st.none() | TYPES[name][1], label=name) for name in names]
        for _ in range(rows)
    ]  # fmt: skip
    row = ", ".join(f"%s::{name}" for name in names)
    sql = f"SELECT * FROM (VALUES {', '.join([f'({row})'] * rows)}) AS v"
    parameters = [value for row_ in values for value in row_]
    expected = connection.cursor(binary=True).execute(sql.encode(), parameters).fetchall()
    schema = pa.schema([pa.field(f"c{place}", TYPES[name][0]) for place, name in enumerate(names)])
    got = list(zip(*(column.to_pylist() for column in fetched(connection, sql, schema, parameters)), strict=True))
    assert all(same(a, b) for old, new in zip(expected, got, strict=True) for a, b in zip(old, new, strict=True)), (
        f"{expected}\n{got}"
    )


def test_a_null_at_the_very_end_of_a_page_is_a_null(connection: Connection) -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.float64())])
    assert fetched(connection, "SELECT 7::bigint, NULL::double precision", schema).to_pylist() == [{"a": 7, "b": None}]


def test_columns_named_as_the_wrapping_is_named_are_taken_for_columns(connection: Connection) -> None:
    schema = pa.schema([("r", pa.int32()), ("x", pa.int32())])
    assert fetched(connection, 'SELECT 1 AS r, 2 AS "r.*"', schema).columns[1].to_pylist() == [2]


def test_rows_keep_the_order_of_the_query(connection: Connection) -> None:
    sql = "SELECT n, -n FROM generate_series(1, 20000) AS g(n) ORDER BY mod(n, 97), n DESC LIMIT 15001"
    batch = fetched(connection, sql, pa.schema([("n", pa.int32()), ("m", pa.int32())]))
    assert batch.column(0).to_pylist() == sorted(range(1, 20001), key=lambda n: (n % 97, -n))[:15001]


def test_a_number_becomes_the_type_that_its_column_declares(connection: Connection) -> None:
    schema = pa.schema(
        [("a", pa.float32()), ("b", pa.int16()), ("c", pa.float64()), ("d", pa.uint8()), ("e", pa.int64())]
    )
    sql = "SELECT 0.1::double precision, 12::bigint, 9007199254740995::bigint, 255::smallint, 3::numeric"
    (row,) = fetched(connection, sql, schema).to_pylist()
    assert row == {"a": 0.10000000149011612, "b": 12, "c": 2.0**53 + 4, "d": 255, "e": 3}


def test_a_number_that_its_column_cannot_hold_is_an_error_and_not_another_number(connection: Connection) -> None:
    with pytest.raises(pa.ArrowInvalid, match="300"):
        fetched(connection, "SELECT 300::smallint", pa.schema([("a", pa.uint8())]))


def test_a_timestamp_with_a_zone_is_told_in_utc(connection: Connection) -> None:
    schema = pa.schema([("t", pa.timestamp("us"))])
    (row,) = fetched(connection, "SELECT '2026-11-22 12:00:00.000001+03'::timestamptz", schema).to_pylist()
    assert row["t"] == datetime(2026, 11, 22, 9, 0, 0, 1)


@pytest.mark.parametrize("text", ["infinity", "-infinity", "20000-01-01"])
def test_an_instant_that_no_calendar_of_ours_has_is_refused_in_words(connection: Connection, text: str) -> None:
    with pytest.raises(psycopg.DataError, match="timestamp"):
        fetched(connection, f"SELECT '{text}'::timestamp", pa.schema([("t", pa.timestamp("us"))]))


def test_columns_that_were_not_declared_are_an_error(connection: Connection) -> None:
    with pytest.raises(psycopg.DataError, match="2 columns where 1"):
        fetched(connection, "SELECT 1, 2", pa.schema([("a", pa.int32())]))


def test_a_bound_parameter_still_finds_its_index(connection: Connection) -> None:
    sql = "EXPLAIN " + as_records("SELECT relname FROM pg_class WHERE oid = %(oid)s LIMIT 3")
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(str(line) for (line,) in connection.execute(sql.encode(), {"oid": 1259}).fetchall())
    assert "Index Cond: (oid = " in plan, plan
