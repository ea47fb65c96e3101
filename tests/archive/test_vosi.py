"""VOSI documents are valid by the IVOA schemas (checked by STILTS, offline) and readable by pyvo."""

import io
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pyvo.io.vosi import parse_availability, parse_capabilities, parse_tables

from archive.vo.capability import (
    BASIC,
    FEATURES_GEO,
    FEATURES_UDF,
    TAP,
    Capability,
    FeatureList,
    Interface,
    Language,
    LanguageFeature,
    Limit,
    TableAccess,
    vosi_capabilities,
)
from archive.vo.columns import Column, ForeignKey, Schema, Table
from archive.vo.vosi import (
    Availability,
    availability_document,
    capabilities_document,
    table_document,
    tables_document,
)

ACCESS = TableAccess(
    languages=(
        Language(
            "ADQL",
            (("2.1", "ivo://ivoa.net/std/ADQL#v2.1"), ("2.0", "ivo://ivoa.net/std/ADQL#v2.0")),
            "with <geometry> & more",
            (
                FeatureList(FEATURES_GEO, (LanguageFeature("CIRCLE"), LanguageFeature("POLYGON"))),
                FeatureList(FEATURES_UDF, (LanguageFeature("ivo_hasword(a VARCHAR, b VARCHAR) -> INTEGER", "a < b"),)),
            ),
        ),
    ),
    upload_methods=("inline", "http"),
    retention_s=Limit(86400, 172800),
    execution_s=Limit(600, 3600),
    output_rows=Limit(10_000, 1_000_000),
    upload_rows=Limit(hard=100_000),
)
CAPABILITIES = (
    Capability(
        TAP,
        (Interface("/tap", version="1.1", use="base", security_methods=(None, BASIC)),),
        extension=ACCESS,
    ),
    *vosi_capabilities("/tap", tables="/tap/tables", examples="/tap/examples"),
    Capability(
        "ivo://ivoa.net/std/SODA#sync-1.0",
        (Interface("/datalink/sync", version="1.0", query_types=("GET", "POST"), result_type="image/fits",
                   test_query="ID=1"),),
        "cut out",
    ),
)  # fmt: skip
OBSCORE = Table(
    "ivoa.obscore",
    (
        Column("obs_id", "char", "*", ucd="meta.id", principal=True, indexed=True, std=True),
        Column("s_ra", "double", unit="deg", ucd="pos.eq.ra", description="a < b"),
        Column("odd name", "double", "*", xtype="polygon", utype="Char.x"),
    ),
    "products",
    utype="ivo://ivoa.net/std/ObsCore#table-1.1",
    kind="view",
    keys=(ForeignKey("ivoa.other", (("obs_id", "id"), ("s_ra", "ra")), "why", "u:t"),),
    title="ObsCore",
    rows=12,
)
SCHEMAS = (Schema("ivoa", "IVOA's", "u:s", (OBSCORE,)), Schema("empty"))


def valid(document: bytes, top: str, tmp_path: Path) -> None:
    """STILTS validates against its own copies of the schemas."""
    path = tmp_path / "document.xml"
    path.write_bytes(document)
    done = subprocess.run(
        ["stilts", "xsdvalidate", f"doc={path}", f"topel={top}", "uselocals=true"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.filterwarnings("ignore")  # pyvo does not know VODataService 1.1's testQuery
def test_capabilities_are_valid_and_say_to_pyvo_what_was_declared(tmp_path: Path) -> None:
    document = capabilities_document(CAPABILITIES, "http://archive.example/base/")
    valid(document, "{http://www.ivoa.net/xml/VOSICapabilities/v1.0}capabilities", tmp_path)
    found = {capability.standardid: capability for capability in parse_capabilities(io.BytesIO(document))}
    tap = found[TAP]
    (interface,) = tap.interfaces
    assert [(url.use, url.content) for url in interface.accessurls] == [("base", "http://archive.example/base/tap")]
    assert (interface.role, interface.version) == ("std", "1.1")
    assert [method.standardid for method in interface.securitymethods] == [None, BASIC]
    assert tap.get_adql().get_feature(FEATURES_GEO, "CIRCLE")
    assert tap.get_adql().get_udf("ivo_hasword") is not None
    assert (tap.outputlimit.default.content, tap.outputlimit.hard.content) == (10_000, 1_000_000)
    assert "csv" in [alias for form in tap.outputformats for alias in form.aliases]
    assert {"ivo://ivoa.net/std/VOSI#capabilities", "ivo://ivoa.net/std/VOSI#availability",
            "ivo://ivoa.net/std/VOSI#tables-1.1", "ivo://ivoa.net/std/DALI#examples"} < set(found)  # fmt: skip


def test_geometry_and_functions_are_declared_under_both_spellings_of_their_ivoid() -> None:
    text = capabilities_document(CAPABILITIES, "http://x").decode()
    for spelling in (FEATURES_GEO, FEATURES_GEO.lower(), FEATURES_UDF, FEATURES_UDF.lower()):
        assert text.count(f'type="{spelling}"') == 1


@pytest.mark.parametrize("available", [True, False])
def test_availability_is_valid_and_read_by_pyvo(available: bool, tmp_path: Path) -> None:
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    document = availability_document(Availability(available, noon, noon, noon, ("a < b", "second")))
    valid(document, "{http://www.ivoa.net/xml/VOSIAvailability/v1.0}availability", tmp_path)
    read = parse_availability(io.BytesIO(document))
    assert read.available is available
    assert read.upsince is not None and str(read.upsince).startswith("2026-01-02T12:00:00")
    assert list(read.notes) == ["a < b", "second"]
    valid(
        availability_document(Availability(available)),
        "{http://www.ivoa.net/xml/VOSIAvailability/v1.0}availability",
        tmp_path,
    )


@pytest.mark.parametrize("detail", ["min", "max"])
def test_the_tableset_is_valid_and_read_by_pyvo(detail: str, tmp_path: Path) -> None:
    document = b"".join(tables_document(SCHEMAS, detail="max" if detail == "max" else "min"))
    valid(document, "{http://www.ivoa.net/xml/VOSITables/v1.0}tableset", tmp_path)
    (table,) = parse_tables(io.BytesIO(document)).iter_tables()
    assert (table.name, table.type, table.title, table.nrows) == ("ivoa.obscore", "view", "ObsCore", 12)
    if detail == "min":
        assert not list(table.columns) and b"foreignKey" not in document
        return
    first, second, third = table.columns
    assert (first.name, first.ucd, first.flags, first.std) == ("obs_id", "meta.id", ["indexed", "principal"], True)
    assert (second.unit, second.datatype.content, second.description) == ("deg", "double", "a < b")
    assert document.count(b"arraysize=") == 2  # none for a scalar
    assert (third.name, third.datatype.content, third.datatype.arraysize) == ('"odd name"', "double", "*")
    assert b'extendedType="polygon"' in document
    (key,) = table.foreignkeys
    assert key.targettable == "ivoa.other"
    assert [(column.fromcolumn, column.targetcolumn) for column in key.fkcolumns] == [("obs_id", "id"), ("s_ra", "ra")]


def test_one_table_is_a_valid_document_of_its_own(tmp_path: Path) -> None:
    valid(table_document(OBSCORE), "{http://www.ivoa.net/xml/VOSITables/v1.0}table", tmp_path)


def test_a_tableset_is_written_table_by_table() -> None:
    def endless() -> Iterator[Schema]:
        number = 0
        while True:
            yield Schema(f"s{number}", tables=(OBSCORE,))
            number += 1

    document = tables_document(endless())
    assert sum(b"<table" in next(document) for _ in range(100)) == 33
