"""The holdings: versions, names that lead to a file, what the views show and when, catalogues as relations."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import astropy.units as u
import numpy as np
import psycopg
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from archive.app.opened import OpenedArchive
from archive.database.engines import psycopg_dsn
from archive.database.roles import RoleNames
from archive.holdings import catalogues, queries
from archive.holdings.copying import copy_batches
from archive.vo.columns import Column, Table
from archive.vo.regions import Circle
from tests.databases import Postgres
from tests.made.holdings import AUTHORITY, NOW, hold, product
from tests.served import prepared

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenedArchive]:
    options = {"server__public_url": "https://archive.example"}
    with prepared(postgres, tmp_path_factory.mktemp("holdings"), **options) as (opened, _):
        yield opened


def seen(archive: OpenedArchive, sql: str, **parameters: Any) -> list[Any]:
    """What the reader sees, as a user's query sees it."""
    with archive.reader_pool.connection() as connection:
        return connection.execute(sql.encode(), parameters or None).fetchall()


# ---- versions


def test_equal_bytes_change_nothing_and_other_bytes_make_the_next_version(archive: OpenedArchive) -> None:
    with archive.engines.begin("writer") as connection:
        assert hold(connection, "v/a.fits", b"one") == ("accepted", 1)
        assert hold(connection, "v/a.fits", b"one", now=NOW + MINUTE, target_name="ignored") == ("unchanged", 1)
        assert hold(connection, "v/a.fits", b"two", now=NOW + MINUTE) == ("new_version", 2)
        first, second = (queries.file(connection, "v/a.fits", version) for version in (1, 2))
        current = queries.file(connection, "v/a.fits")
        assert first and second
        assert (first.superseded, second.superseded, current) == (True, False, second)
        assert first.arrived == NOW
        assert queries.file(connection, "v/a.fits", 3) is None
        assert queries.file(connection, "v/b.fits") is None
    assert seen(archive, "SELECT dp_version FROM ivoa.obscore WHERE dp_id = 'v/a.fits'") == [(2,)]
    assert seen(archive, "SELECT version FROM pub.file WHERE file_id = 'v/a.fits'") == [(2,)]


def test_versions_that_come_at_once_are_numbered_one_after_the_other(archive: OpenedArchive) -> None:
    def add(number: int) -> int:
        with archive.engines.begin("writer") as connection:
            queries.lock(connection, "v/many.fits")
            return hold(connection, "v/many.fits", f"bytes {number}".encode())[1]

    with ThreadPoolExecutor(6) as writers:
        versions = list(writers.map(add, range(12)))
    assert sorted(versions) == list(range(1, 13))
    assert seen(archive, "SELECT count(*) FROM pub.file WHERE file_id = 'v/many.fits'") == [(1,)]


def test_without_the_lock_two_current_versions_cannot_be(archive: OpenedArchive) -> None:
    with archive.engines.begin("writer") as connection:
        hold(connection, "v/one.fits")
    with pytest.raises(IntegrityError), archive.engines.begin("owner") as connection:
        connection.execute(text("UPDATE arc.file SET superseded_at = NULL WHERE file_id = 'v/many.fits'"))


# ---- names


def test_a_file_is_found_by_its_id_its_did_its_origfile_and_its_creators_did(archive: OpenedArchive) -> None:
    with archive.engines.begin("writer") as connection:
        hold(connection, "n/a b+c&d.fits", origfile="FORS2.2001.fits", obs_creator_did="ivo://author/x#1")
        did = queries.publisher_did(AUTHORITY, "n/a b+c&d.fits")
        for name in ("n/a b+c&d.fits", did, "FORS2.2001.fits", "ivo://author/x#1"):
            assert queries.resolve(connection, name) == "n/a b+c&d.fits", name
        assert queries.resolve(connection, "nothing") is None
        found = queries.files_by_did(connection, [did, "ivo://x/ID?nothing"])
        assert [file.file_id for file in found.values()] == ["n/a b+c&d.fits"]
        assert queries.files_by_did(connection, []) == {}
    rows = seen(archive, "SELECT access_url, obs_publisher_did FROM ivoa.obscore WHERE dp_id = 'n/a b+c&d.fits'")
    assert rows == [(f"https://archive.example/datalink/links?ID=ivo://{AUTHORITY}?n/a%20b%2Bc%26d.fits".replace(
        f"{AUTHORITY}?", f"{AUTHORITY}/ID?"), did)]  # fmt: skip


# ---- what the views show, and when


def test_a_file_becomes_public_by_the_clock_and_by_nothing_else(archive: OpenedArchive) -> None:
    now = datetime.now(UTC)
    with archive.engines.begin("writer") as connection:
        for name, rights, date in (
            ("past", "proprietary", now - MINUTE), ("future", "proprietary", now + MINUTE),
            ("embargoed", "public", now + MINUTE), ("open", "public", None), ("never", "proprietary", None),
            ("hidden", "secure", now - MINUTE),
        ):  # fmt: skip
            hold(connection, f"r/{name}", rights=rights, release_date=date)
    shown = dict(seen(archive, "SELECT dp_id, data_rights FROM ivoa.obscore WHERE dp_id LIKE 'r/%'"))
    assert shown == {"r/past": "public", "r/future": "proprietary", "r/embargoed": "proprietary", "r/open": "public",
                     "r/never": "proprietary"}  # fmt: skip
    assert seen(archive, "SELECT file_id FROM pub.file WHERE file_id = 'r/hidden'") == []


def test_obscore_shows_science_and_arc_file_everything_that_is_no_secret(archive: OpenedArchive) -> None:
    with archive.engines.begin("writer") as connection:
        for kind in ("raw", "mcalib", "product", "ancillary", "catalogue", "log", "document", "preview"):
            hold(connection, f"k/{kind}", kind=kind, calib_level=1, dataproduct_type=None)
        hold(connection, "k/flat", kind="raw", dp_cat="CALIB", calib_level=1, dataproduct_type=None)
        hold(connection, "k/light", kind="raw", dp_cat="SCIENCE", calib_level=1)
    science = {name for (name,) in seen(archive, "SELECT dp_id FROM ivoa.obscore WHERE dp_id LIKE 'k/%'")}
    assert science == {"k/raw", "k/product", "k/catalogue", "k/light"}
    assert seen(archive, "SELECT count(*) FROM pub.file WHERE file_id LIKE 'k/%'") == [(10,)]


def test_galactic_coordinates_and_sizes_are_those_that_astropy_and_arithmetic_give(archive: OpenedArchive) -> None:
    region = Circle(266.4, -29.0, 0.5)
    with archive.engines.begin("writer") as connection:
        hold(connection, "g/a", b"x" * 1001, s_ra=266.4, s_dec=-29.0, s_region=region)
    lon, lat, size, shape = seen(
        archive, "SELECT gal_lon, gal_lat, access_estsize, s_region FROM ivoa.obscore WHERE dp_id = 'g/a'"
    )[0]
    galactic = SkyCoord(266.4 * u.deg, -29.0 * u.deg).galactic
    np.testing.assert_allclose([lon, lat], [galactic.l.deg, galactic.b.deg], rtol=1e-12)
    assert size == 2  # kB, rounded up
    np.testing.assert_allclose(shape, [266.4, -29.0, 0.5])


@pytest.mark.parametrize(
    "wrong",
    [{"s_ra": 10.0}, {"s_ra": 360.0, "s_dec": 0.0}, {"s_ra": 0.0, "s_dec": -90.1}, {"t_min": 2.0, "t_max": 1.0},
     {"em_min": 2.0, "em_max": 1.0}, {"calib_level": 5}, {"dataproduct_type": "picture"}],
)  # fmt: skip
def test_what_cannot_be_is_refused_as_a_value_and_by_the_database(
    archive: OpenedArchive, wrong: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="w/a"):
        product("w/a", **wrong)
    if "dataproduct_type" in wrong:  # an open list in ObsCore; the value alone guards it
        return
    with archive.engines.begin("writer") as connection:
        hold(connection, "w/good", s_ra=1.0, s_dec=1.0, t_min=1.0, t_max=1.5, em_min=1.0, em_max=1.5)
    changed = wrong | ({"s_dec": None} if list(wrong) == ["s_ra"] else {})
    words = ", ".join(f"{name} = :{name}" for name in changed)
    with pytest.raises(IntegrityError), archive.engines.begin("owner") as connection:
        connection.execute(text(f"UPDATE arc.file SET {words} WHERE file_id = 'w/good'"), changed)


# ---- catalogues


COLUMNS = (
    Column("id", "long", ucd="meta.id;meta.main"),
    Column("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
    Column("ok", "boolean"),
    Column("flux", "float", arraysize="*"),
    Column("counts", "int", arraysize="*"),
    Column("seen", "char", arraysize="*", xtype="timestamp"),
    Column("remark", "unicodeChar", arraysize="*"),
)
TYPES = pa.schema([
    ("id", pa.int64()), ("ra", pa.float64()), ("dec", pa.float64()), ("ok", pa.bool_()),
    ("flux", pa.list_(pa.float32())), ("counts", pa.list_(pa.int32())),
    ("seen", pa.timestamp("us")), ("remark", pa.string()),
])  # fmt: skip
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=12)
rows = st.fixed_dictionaries({
    "id": st.none() | st.integers(-(2**63), 2**63 - 1),
    "ra": st.none() | st.floats(),
    "dec": st.none() | st.floats(-90, 90),
    "ok": st.none() | st.booleans(),
    "flux": st.none() | st.lists(st.none() | st.floats(width=32), max_size=4),
    "counts": st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=4),
    "seen": st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
    "remark": st.none() | texts | st.sampled_from(["", "\\.", "\\N", "NULL", '"', "a,b", "{1,2}", "\n", "\r\n"]),
})  # fmt: skip


@pytest.fixture
def create(archive: OpenedArchive) -> Any:
    def make(name: str, batches: list[pa.RecordBatch], file_id: str = "c/a.fits") -> int:
        reader = RoleNames.of(archive.urls).reader
        with archive.engines.begin("writer") as connection:
            table = Table(f"cat.{name}", COLUMNS)
            return catalogues.create(connection, table, batches, archive.sphere, reader=reader, file_id=file_id)

    return make


def test_any_value_comes_out_of_a_relation_as_it_was_copied_in(archive: OpenedArchive) -> None:
    types = [catalogues.postgres_type(column) for column in COLUMNS]
    declared = ", ".join(f'"{column.name}" {type_}' for column, type_ in zip(COLUMNS, types, strict=True))
    with psycopg.connect(psycopg_dsn(archive.urls.owner)) as connection:
        connection.execute(f"CREATE TEMPORARY TABLE copied ({declared})".encode())

        @settings(deadline=None)
        @given(st.lists(rows, max_size=8), st.integers(0, 3))
        def there_and_back(values: list[dict[str, Any]], skipped: int) -> None:
            for number, row in enumerate(values):
                row["id"] = number
            batch = pa.RecordBatch.from_pylist(values, schema=TYPES).slice(skipped)
            connection.execute("TRUNCATE copied")
            assert copy_batches(connection, sql.Identifier("copied"), types, [batch]) == batch.num_rows
            got = connection.execute("SELECT * FROM copied ORDER BY id", binary=True).fetchall()
            for row, cells in zip(values[skipped:], got, strict=True):
                for name, cell in zip(TYPES.names, cells, strict=True):
                    np.testing.assert_equal(cell, row[name], err_msg=name)

        there_and_back()


def test_a_catalogue_made_anew_is_the_old_one_until_it_is_committed(archive: OpenedArchive, create: Any) -> None:
    def batch(count: int) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist([{"id": n, "ra": 1.0 * n, "dec": 0.0} for n in range(count)], schema=TYPES)

    assert create("anew", [batch(3), batch(2)]) == 5
    with pytest.raises(ZeroDivisionError):
        create("anew", (batch(n) if n < 3 else 1 / 0 for n in range(5)))
    assert seen(archive, "SELECT count(*) FROM cat.anew") == [(5,)]
    assert create("anew", [batch(7)]) == 7
    assert seen(archive, "SELECT count(*) FROM cat.anew") == [(7,)]
    assert seen(archive, "SELECT count(*) FROM tap_schema.tables WHERE table_name = 'cat.anew'") == [(1,)]
    marked = seen(archive, "SELECT column_name FROM tap_schema.columns WHERE table_name = 'cat.anew' AND indexed = 1")
    assert {name for (name,) in marked} == {"id", "ra", "dec"}


def test_a_catalogue_keeps_its_name_and_takes_no_other_files(archive: OpenedArchive, create: Any) -> None:
    create("sources", [], "c/one/sources.csv")
    with archive.engines.begin("writer") as connection:
        assert catalogues.name_for(connection, "cat.sources", "c/one/sources.csv") == "cat.sources"
        assert catalogues.name_for(connection, "cat.sources", "c/two/sources.csv") == "cat.sources_2"
        connection.execute(text("CREATE TABLE cat.nobodys (a int)"))
        assert catalogues.name_for(connection, "cat.nobodys", "c/three.csv") == "cat.nobodys_2"
