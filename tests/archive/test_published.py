"""What is published: TAP_SCHEMA says of every table what PostgreSQL has there, to every process, and no more."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from archive.app.opened import OpenedArchive
from archive.database.roles import RoleNames
from archive.holdings import catalogues, published
from archive.holdings.declared import SCHEMAS
from archive.holdings.obscore import COLUMNS as OBSCORE
from archive.holdings.published import PublishedTables, quoted
from archive.holdings.table_documents import TableDocuments
from archive.vo.columns import Column, ForeignKey, Table
from archive.vo.origin import Origin
from archive.vo.vosi import tables_document
from tests.databases import Postgres
from tests.served import prepared

# ObsCore 1.1 table 5: the mandatory columns, by name, unit and UCD, typed in from the standard.
MANDATORY = """dataproduct_type - meta.code.class|calib_level - meta.code;obs.calib|obs_collection - meta.id
obs_id - meta.id|obs_publisher_did - meta.ref.ivoid|access_url - meta.ref.url|access_format - meta.code.mime
access_estsize kbyte phys.size;meta.file|target_name - meta.id;src|s_ra deg pos.eq.ra|s_dec deg pos.eq.dec
s_fov deg phys.angSize;instr.fov|s_region - pos.outline;obs.field|s_xel1 - meta.number|s_xel2 - meta.number
s_resolution arcsec pos.angResolution|t_min d time.start;obs.exposure|t_max d time.end;obs.exposure
t_exptime s time.duration;obs.exposure|t_resolution s time.resolution|t_xel - meta.number
em_min m em.wl;stat.min|em_max m em.wl;stat.max|em_res_power - spect.resolution|em_xel - meta.number
o_ucd - meta.ucd|pol_states - meta.code;phys.polarization|pol_xel - meta.number|facility_name - meta.id;instr.tel
instrument_name - meta.id;instr""".replace("\n", "|")
POSTGRES = {"text": "char", "integer": "int", "bigint": "long", "smallint": "short", "double precision": "double",
            "real": "float", "boolean": "boolean", "timestamp without time zone": "char"}  # fmt: skip


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenedArchive]:
    with prepared(postgres, tmp_path_factory.mktemp("published")) as (opened, _):
        yield opened


def reader(archive: OpenedArchive, sql: str) -> list[Any]:
    with archive.reader_pool.connection() as connection:
        return connection.execute(sql.encode()).fetchall()


def make(archive: OpenedArchive, table: Table) -> None:
    with archive.engines.begin("writer") as connection:
        catalogues.create(
            connection, table, [], archive.sphere, reader=RoleNames.of(archive.urls).reader, file_id=table.name
        )


def test_obscore_has_the_standards_columns_with_its_units_and_ucds() -> None:
    columns = {column.name: column for column in OBSCORE}
    wanted = [line.split() for line in MANDATORY.split("|")]
    assert len(wanted) == 30
    for name, unit, ucd in wanted:
        column = columns[name]
        assert (column.unit or "-", column.std) == (unit, True), name
        assert ucd in (column.ucd or ""), name
        assert (column.utype or "").startswith("obscore:"), name


def test_every_published_table_answers_the_reader_with_the_columns_and_types_it_promises(
    archive: OpenedArchive,
) -> None:
    tables = PublishedTables(archive.engines.writer).tables()
    assert {"ivoa.obscore", "arc.file", "tap_schema.columns"} <= set(tables)
    for one in tables.values():
        with archive.reader_pool.connection() as connection:
            cursor = connection.execute(f"SELECT * FROM {one.sql_name} LIMIT 0".encode())
            assert cursor.description is not None
            there = {column.name: connection.execute("SELECT format_type(%s, NULL)", [column.type_code]).fetchone()
                     for column in cursor.description}  # fmt: skip
        assert set(there) == {column.name for column in one.table.columns}, one.table.name
        for column in one.table.columns:
            found = str((there[column.name] or ("",))[0])
            if column.xtype == "adql:REGION":
                assert found == "double precision[]"
            else:
                assert POSTGRES[found.removesuffix("[]")] == column.datatype, (one.table.name, column.name)
                assert found.startswith("timestamp") is (column.xtype == "timestamp")


def test_tap_schema_describes_itself_and_its_keys_point_at_what_is_there(archive: OpenedArchive) -> None:
    declared = [table for schema in SCHEMAS for table in schema.tables]
    described = set(reader(archive, "SELECT table_name, column_name FROM tap_schema.columns"))
    assert {(table.name, column.typed_name) for table in declared for column in table.columns} <= described
    broken = reader(
        archive,
        """SELECT k.key_id FROM tap_schema.keys k JOIN tap_schema.key_columns c USING (key_id)
        WHERE (from_table, from_column) NOT IN (SELECT table_name, column_name FROM tap_schema.columns)
           OR (target_table, target_column) NOT IN (SELECT table_name, column_name FROM tap_schema.columns)""",
    )
    assert broken == []
    assert reader(archive, "SELECT count(*) FROM tap_schema.keys")[0][0] >= 5


def test_publishing_again_changes_nothing(archive: OpenedArchive) -> None:
    every = "SELECT * FROM tap_schema.{} ORDER BY 1, 2"
    names = ("schemas", "tables", "columns", "keys", "key_columns")
    before = [reader(archive, every.format(name)) for name in names]
    with archive.engines.begin("writer") as connection:
        published.publish_declared(connection)
    assert [reader(archive, every.format(name)) for name in names] == before


def test_what_another_process_publishes_is_seen_and_what_it_withdraws_is_gone(archive: OpenedArchive) -> None:
    ours = PublishedTables(archive.engines.writer, look_again_s=0.0)
    before = ours.tables()
    assert ours.tables() is before, "nothing was published, and everything was read anew"
    odd = Column('odd "name"', "double", unit="Jy", ucd="phot.flux", description="<é>")
    key = ForeignKey("arc.file", (("file", "file_id"),), "where it came from")
    make(
        archive, Table("cat.mine", (odd, Column("file", "char", arraysize="*")), "A <table>", keys=(key,), title="Mine")
    )
    seen = ours.tables()["cat.mine"]
    assert seen.table.column('odd "name"').unit == "Jy"
    assert (seen.table.title, seen.table.rows, seen.table.keys) == ("Mine", 0, (key,))
    assert [table.name for schema in ours.schemas() if schema.name == "cat" for table in schema.tables] == ["cat.mine"]
    with archive.engines.begin("writer") as connection:
        published.withdraw(connection, "cat.mine")
    assert "cat.mine" not in ours.tables()
    assert reader(archive, "SELECT * FROM tap_schema.keys WHERE from_table = 'cat.mine'") == []


def test_a_publication_that_is_rolled_back_was_never_seen(archive: OpenedArchive) -> None:
    ours = PublishedTables(archive.engines.writer, look_again_s=0.0)
    with pytest.raises(RuntimeError), archive.engines.begin("writer") as connection:
        published.publish(connection, Table("cat.never", (Column("a", "int"),)))
        assert "cat.never" not in ours.tables()
        raise RuntimeError
    assert "cat.never" not in ours.tables()


def test_names_are_quoted_so_that_they_are_nothing_but_names(archive: OpenedArchive) -> None:
    name = 'cat.x"; DROP TABLE arc.file; --'
    assert quoted(name) == '"cat"."x""; DROP TABLE arc"."file; --"'
    with archive.engines.begin("owner") as connection:
        assert connection.execute(text("SELECT to_regclass('arc.file')")).scalar() is not None


def test_a_publication_leaves_what_is_known_of_other_tables_and_columns_of_a_table_that_is_gone_are_not_there(
    archive: OpenedArchive,
) -> None:
    ours = PublishedTables(archive.engines.writer, look_again_s=0.0)
    for name in ("cat.stays", "cat.goes"):
        make(archive, Table(name, (Column("a", "int"),)))
    before = ours.tables()
    stays = before["cat.stays"]
    with archive.engines.begin("writer") as connection:
        published.withdraw(connection, "cat.goes")
    assert "cat.goes" in before and before.get("cat.goes") is None  # its head is of a moment ago
    after = ours.tables()
    assert "cat.goes" not in after
    assert after["cat.stays"] is stays, "nothing of it was published, and it was read anew"
    make(archive, Table("cat.stays", (Column("b", "int"),)))
    assert [column.name for column in ours.tables()["cat.stays"].table.columns] == ["b"]


def test_the_kept_tableset_is_the_one_that_is_written_from_all_tables(archive: OpenedArchive) -> None:
    ours = PublishedTables(archive.engines.writer, look_again_s=0.0)
    documents = TableDocuments(ours, most_bytes=2_000)  # too few for all: what was let go is written anew
    odd = Column('odd "<name>"', "double", "*", "polygon", "Jy", "phot.flux", "u:t", "<é>", True, True, True)
    for round_ in range(3):
        make(archive, Table(f"cat.round_{round_}", (odd, Column("b", "int"))))
        every = list(ours.tables().every())
        schemas = [
            replace(schema, tables=tuple(one.table for one in every if one.table.schema == schema.name))
            for schema in ours.schemas()
        ]
        for detail in ("min", "max"):
            told = b"".join(documents.document(detail))
            assert told == b"".join(tables_document(schemas, detail=detail))
            assert told.count(b"<column ") == (sum(len(one.table.columns) for one in every) if detail == "max" else 0)


def test_what_every_archive_publishes_is_published_anew_only_where_it_changed(archive: OpenedArchive) -> None:
    def events() -> int:
        with archive.engines.writer.connect() as connection:
            return int(
                connection.execute(text("SELECT count(*) FROM store.event WHERE kind = 'published'")).scalar_one()
            )

    before = events()
    with archive.engines.begin("writer") as connection:
        published.set_origin(connection, "ivoa.obscore", Origin(rights="CC0 1.0"))
        published.publish_declared(connection)
        assert published.read_set(connection)["ivoa.obscore"].table.origin.rights == "CC0 1.0"
    assert events() == before + 1
    with archive.engines.begin("writer") as connection:
        connection.execute(text("UPDATE tap_schema.tables SET description = 'x' WHERE table_name = 'ivoa.obscore'"))
        published.publish_declared(connection)
    assert events() == before + 2
    table = PublishedTables(archive.engines.writer).tables()["ivoa.obscore"].table
    assert table.description != "x" and table.origin.rights == "CC0 1.0"
