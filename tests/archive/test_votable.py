"""VOTables that we write are read by astropy and STILTS; VOTables that astropy and STILTS write are read by us."""

import base64
import math
import struct
import subprocess
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from astropy.io import votable as astropy_votable
from astropy.table import Table as AstropyTable
from hypothesis import HealthCheck, given, settings

from archive.vo.columns import Column
from archive.vo.errors import ArchiveError, QueryTimeoutError, TooLargeError, UsageError
from archive.vo.formats import Limited
from archive.vo.votable import (
    Info,
    Serialization,
    arrow_schema,
    binary,
    field_ids,
    read_votable,
    votable_error,
    write_votable,
)
from archive.vo.votable.binary import Binary, Binary2
from tests.made.tables import ANY_TEXT, batches_of, tables


def written(columns: list[Column], cells: list[list[Any]], serialization: Serialization, **more: Any) -> bytes:
    return b"".join(write_votable(columns, batches_of(columns, cells), serialization=serialization, **more))


def same(expected: Any, read: Any, column: Column) -> bool:
    """Whether astropy read what was meant; its way of telling a missing value differs by type."""
    if expected is None:
        if column.is_text:
            return read is np.ma.masked or read == ""
        return bool(np.all(np.ma.getmaskarray(read))) or np.size(read) == 0
    if read is np.ma.masked:
        # astropy masks NaN as it masks what is missing.
        return bool(np.isnan(np.array(expected, float)).any())
    if isinstance(expected, datetime):
        return np.datetime64(str(read), "us") == np.datetime64(expected, "us") and "Z" not in str(read)
    if column.is_text:
        return str(read) == expected
    values = np.ravel(np.ma.getdata(read))
    if "Complex" in column.datatype:
        values = np.ravel(np.stack([values.real, values.imag], axis=-1))
    if column.datatype.startswith("float"):
        values = values.astype("f4")  # astropy keeps variable arrays of a TD in double precision
    wanted = np.ravel(np.array(expected, dtype=values.dtype if values.dtype != object else None))
    return bool(np.array_equal(wanted, values, equal_nan=wanted.dtype.kind == "f"))


@pytest.mark.parametrize("serialization", ["binary2", "tabledata"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables())
def test_every_table_is_read_by_astropy_as_it_was_meant(serialization: Serialization, table: Any) -> None:
    columns, cells = table
    if serialization == "tabledata":
        # astropy 8.0.2 raises E02 at an empty TD of a complex array, against VOTable 1.5 §5.1.
        cells = [[value for value in values if value is not None] if "Complex" in column.datatype else values
                 for column, values in zip(columns, cells, strict=True)]  # fmt: skip
        rows = min(map(len, cells))
        cells = [values[:rows] for values in cells]
    document = written(columns, cells, serialization)
    read = astropy_votable.parse(BytesIO(document)).get_first_table()
    assert [field.name for field in read.fields] == [column.name for column in columns]
    assert len(read.array) == len(cells[0])
    for column, values in zip(columns, cells, strict=True):
        for row, value in enumerate(values):
            assert same(value, read.array[column.name][row], column), (column, value, read.array[column.name][row])


@pytest.mark.parametrize("form", [Binary2, Binary])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables(ANY_TEXT))
def test_few_rows_are_the_bytes_that_they_are_among_many(form: type[Binary2], table: Any) -> None:
    columns, cells = table
    told = []
    for most in (binary.FEW, -1):
        writer = form(columns)
        with mock.patch.object(binary, "FEW", most):
            try:
                told.append((b"".join(map(writer.encode, batches_of(columns, cells))), writer.finish(), writer.notes()))
            except ArchiveError as error:
                told.append((b"", str(error).encode(), ()))
    assert told[0] == told[1]


SKY = [
    Column("obs_id", "char", "*", ucd="meta.id;meta.main", description="names & <angles>"),
    Column("s_ra", "double", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("s_dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
    Column("s_region", "double", "*", xtype="polygon", unit="deg", ucd="pos.outline;obs.field"),
    Column("t_min", "double", unit="d", ucd="time.start;obs.exposure"),
    Column("released", "char", "*", xtype="timestamp", ucd="time.release"),
    Column("n", "int"),
    Column("good", "boolean"),
    Column("mag", "float", unit="mag", ucd="phot.mag;em.opt.V"),
    Column("title", "unicodeChar", "*", ucd="meta.title"),
    Column("1st flag", "short"),
]
SKY_CELLS: list[list[Any]] = [
    ["a<b&c", None, "x"],
    [0.1, 359.9, None],
    [-90.0, math.nan, None],
    [[1.0, 2.0, 3.0, 4.0, 5.0, 6.5], [0.5, 0.25, 1.0, 1.5, 2.0, 0.0], [10.0, 0.0, 10.0, 1.0, 11.0, 0.0]],
    [60000.5, None, 1.0],
    [datetime(2024, 2, 29, 1, 2, 3), None, datetime(2024, 2, 29, 1, 2, 3, 250000)],
    [2**31 - 1, None, 0],
    [True, None, False],
    [math.inf, None, -math.inf],
    ["Æblegrød 𝔸", None, "z"],
    [1, None, -1],
]


def stilts(*arguments: str) -> str:
    done = subprocess.run(["stilts", *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("serialization", ["binary2", "tabledata"])
def test_votlint_finds_nothing_wrong_in_either_serialization(serialization: Serialization, tmp_path: Path) -> None:
    path = tmp_path / "sky.vot"
    infos = [Info("QUERY", "SELECT * FROM t WHERE a < 1"), Info("citation", "2024A&A", ucd="meta.bib.bibcode")]
    path.write_bytes(written(SKY, SKY_CELLS, serialization, infos=infos, overflow=lambda: True, description="A & B"))
    if serialization == "binary2":
        # votlint 3.4.7 loses its place in any BINARY2 with a variable array of xtype polygon, STILTS's own too.
        columns, cells = SKY[:3] + SKY[4:], SKY_CELLS[:3] + SKY_CELLS[4:]
        path.write_bytes(written(columns, cells, serialization, infos=infos, overflow=lambda: True))
    assert stilts("votlint", f"votable={path}", "ucd=true", "unit=true").strip() == ""


def test_stilts_reads_the_same_rows_from_both_serializations_missing_values_too(tmp_path: Path) -> None:
    texts = []
    for serialization in ("binary2", "tabledata"):
        path = tmp_path / f"{serialization}.vot"
        path.write_bytes(written(SKY, SKY_CELLS, serialization))
        texts.append(stilts("tpipe", f"in={path}", "ifmt=votable", "ofmt=csv", "cmd=addcol gone NULL_n"))
    assert texts[0] == texts[1]
    lines = texts[0].splitlines()
    assert lines[0].startswith("obs_id,s_ra") and len(lines) == 4
    assert lines[1].startswith("a<b&c,0.1,-90.0,") and "2024-02-29T01:02:03," in lines[1] and "Æblegrød 𝔸" in lines[1]
    assert lines[2].endswith(",true") and lines[2].startswith(",359.9,")
    assert "2024-02-29T01:02:03.250" in lines[3] and lines[3].endswith(",-1,false")


def test_text_that_is_not_ascii_arrives_whole_in_unicode_columns_and_in_tabledata() -> None:
    columns = [Column("n", "int"), Column("c", "char", "*"), Column("u", "unicodeChar", "*"), Column("f", "char", "9")]
    cells = [[1, 2], ["Ærø", "ab"], ["Ærø", "𝔸"], ["ok", None]]
    in_text = written(columns, cells, "tabledata")
    in_binary = written(columns, cells, "binary2")
    for document, expected in ((in_text, "Ærø"), (in_binary, "?r?")):
        read = astropy_votable.parse(BytesIO(document)).get_first_table().array
        assert [str(cell) for cell in read["c"]] == [expected, "ab"]
        assert [str(cell) for cell in read["u"]] == ["Ærø", "𝔸"]
        assert str(read["f"][0]) == "ok"
    assert [value for name, value, _ in infos_of(in_binary) if name == "WARNING"] == ["non-ASCII text in c"]
    assert b"WARNING" not in in_text


def test_control_characters_do_not_break_the_document() -> None:
    columns = [Column("c", "char", "*"), Column("d", "char", "*")]
    document = written(
        columns, [["a\x00b\x1fc\ufffed", "x\r\n]]>"], ["\uffff", "\tx"]], "tabledata", description="\x01"
    )
    read = astropy_votable.parse(BytesIO(document)).get_first_table().array
    assert str(read["c"][0]) == "a\ufffdb\ufffdc\ufffdd"
    assert str(read["c"][1]) == "x\r\n]]>"


def infos_of(document: bytes) -> list[tuple[str, str, str | None]]:
    resource = astropy_votable.parse(BytesIO(document)).resources[0]
    assert resource.type == "results"
    return [(info.name, info.value, info.content) for info in resource.infos]


def statuses(document: bytes) -> list[str]:
    """QUERY_STATUS before the table and after it, as pyvo looks for it."""
    return [value for name, value, _ in infos_of(document) if name == "QUERY_STATUS"]


def test_overflow_is_told_after_the_table_and_only_if_rows_were_cut() -> None:
    columns, cells = [Column("n", "int")], [[1, 2, 3, 4, 5]]
    for maxrec, rows, expected in (
        (5, 5, ["OK"]),
        (4, 4, ["OK", "OVERFLOW"]),
        (0, 0, ["OK", "OVERFLOW"]),
        (2, 2, ["OK", "OVERFLOW"]),
    ):
        limited = Limited(batches_of(columns, cells), maxrec)
        document = b"".join(write_votable(columns, limited, overflow=limited.overflow))
        assert len(astropy_votable.parse(BytesIO(document)).get_first_table().array) == rows
        assert statuses(document) == expected
        if len(expected) == 2:
            assert document.index(b"OVERFLOW") > document.index(b"</TABLE>")


@pytest.mark.parametrize("serialization", ["binary2", "tabledata"])
def test_a_late_failure_leaves_a_whole_document_that_says_so(serialization: Serialization) -> None:
    columns, cells = [Column("n", "int"), Column("t", "char", "*")], [[1, 2, 3, 4], ["a", "b", "cc", "d"]]

    def broken(error: Exception) -> Iterator[pa.RecordBatch]:
        yield from batches_of(columns, cells, cut=3)
        raise error

    for error, expected in (
        (QueryTimeoutError("the query took longer than 30 s"), "the query took longer than 30 s"),
        (RuntimeError("password=hunter2"), "The service failed"),
    ):
        document = b"".join(write_votable(columns, broken(error), serialization=serialization))
        assert len(astropy_votable.parse(BytesIO(document)).get_first_table().array) == 4
        assert statuses(document) == ["OK", "ERROR"]
        assert expected in (infos_of(document)[-1][2] or "")
        assert b"hunter2" not in document
    with pytest.raises(RuntimeError):
        list(write_votable(columns, broken(RuntimeError()), late_failures="raised"))


def test_a_value_that_does_not_fit_its_declaration_is_never_written_as_another_one() -> None:
    for column, value in ((Column("n", "short"), 70000), (Column("n", "char", "3"), "four"), (Column("n", "int"), 1.5)):
        batch = pa.record_batch([pa.array([value])], names=["n"])
        document = b"".join(write_votable([column], [batch]))
        assert statuses(document) == ["OK", "ERROR"]
        assert "column n" in (infos_of(document)[-1][2] or "")


def test_a_missing_element_in_an_integer_array_is_an_error_and_in_a_float_array_nan() -> None:
    for serialization in ("binary2", "tabledata"):
        for size in ("2", "*"):
            document = written([Column("a", "int", size)], [[[1, None]]], serialization)
            assert statuses(document) == ["OK", "ERROR"]
            document = written([Column("a", "double", size)], [[[1.0, None]]], serialization)
            assert statuses(document) == ["OK"]
            cell = np.ma.getdata(astropy_votable.parse(BytesIO(document)).get_first_table().array["a"][0])
            assert cell[0] == 1.0 and math.isnan(cell[1])


def test_columns_of_known_frames_refer_to_systems_defined_before_them() -> None:
    parsed = astropy_votable.parse(BytesIO(written(SKY, SKY_CELLS, "binary2")))
    fields = {field.name: field for field in parsed.get_first_table().fields}
    resource = parsed.resources[0]
    assert {name: fields[name].ref for name in ("s_ra", "t_min", "released", "n")} == {
        "s_ra": "coosys", "t_min": "timesys_mjd", "released": "timesys_timestamp", "n": None}  # fmt: skip
    assert [system.system for system in resource.coordinate_systems] == ["ICRS"]
    assert {s.ID: (s.timeorigin, s.timescale) for s in resource.time_systems} == {
        "timesys_mjd": (2400000.5, "UTC"), "timesys_timestamp": (None, "UTC")}  # fmt: skip
    assert b"COOSYS" not in b"".join(write_votable(SKY, [], coosys=None))


def test_field_ids_are_unique_names_of_xml_whatever_the_columns_are_called() -> None:
    columns = [Column(name, "int") for name in ("a b", "a_b", "A b", "1st", "coosys", "é", "ra")]
    ids = field_ids(columns)
    assert ids == ["a_b", "a_b_2", "A_b_3", "_1st", "coosys_2", "_", "ra"]


def test_an_error_document_is_what_votlint_and_pyvo_expect(tmp_path: Path) -> None:
    document = votable_error('line 1: expected FROM, not "<&\x00"')
    path = tmp_path / "error.vot"
    path.write_bytes(document)
    assert stilts("votlint", f"votable={path}").strip() == ""
    assert infos_of(document) == [("QUERY_STATUS", "ERROR", 'line 1: expected FROM, not "<&\ufffd"')]


def test_rows_are_written_while_later_ones_are_not_there_yet() -> None:
    """Constant memory: the writer holds no batch that it has written."""
    columns = [Column("n", "long"), Column("t", "char", "*")]
    asked = 0

    def endless() -> Iterator[pa.RecordBatch]:
        nonlocal asked
        while True:
            asked += 1
            yield pa.record_batch([pa.array(range(100)), pa.array(["x"] * 100)], schema=arrow_schema(columns))

    for serialization in ("binary2", "tabledata"):
        asked = 0
        stream = write_votable(columns, endless(), serialization=serialization)
        pieces = [next(stream) for _ in range(52)]
        assert asked == 50 and all(len(piece) < 10_000 for piece in pieces)


# Reading


def read_back(document: bytes, **limits: int) -> tuple[dict[str, Column], dict[str, list[Any]]]:
    table = read_votable(BytesIO(document), **limits)
    whole = pa.Table.from_batches(table.batches)
    assert whole.schema.equals(arrow_schema(table.columns))
    return {column.name: column for column in table.columns}, whole.to_pydict()


@pytest.mark.parametrize("serialization", ["binary2", "tabledata"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(table=tables())
def test_an_upload_comes_back_as_it_was(serialization: Serialization, table: Any) -> None:
    """TAP-13. What we write was shown above to be what astropy reads; here it makes the round trip, NaN and all."""
    columns, cells = table
    found, values = read_back(written(columns, cells, serialization))
    for column, expected in zip(columns, cells, strict=True):
        assert (found[column.name].datatype, found[column.name].xtype) == (column.datatype, column.xtype)
        for sent, got in zip(expected, values[column.name], strict=True):
            assert repr(sent).replace(", fold=1", "") == repr(got) or (sent is None and got == "" and column.is_text)


@pytest.mark.filterwarnings("ignore")  # astropy on a name that is no XML ID
@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
def test_a_table_written_by_astropy_is_read_in_every_serialization(form: str) -> None:
    source = AstropyTable(masked=True)
    source["Name of it"] = ["NGC 1", "Ærø"]
    source["ra"] = np.array([10.5, 350.0])
    source["ra"].unit = "deg"
    # astropy 8.0.2 writes no BINARY with a missing integer.
    source["n"] = np.ma.array([1, 2], mask=[False, form != "binary"], dtype="i4")
    source["flag"] = [True, False]
    source["v"] = np.array([[1.0, 2.0], [3.0, 4.0]], dtype="f4")
    stream = BytesIO()
    astropy_votable.from_table(source).to_xml(stream, tabledata_format=form)
    columns, values = read_back(stream.getvalue())
    assert values == {
        "Name of it": ["NGC 1", "Ærø"],
        "ra": [10.5, 350.0],
        "n": [1, 2 if form == "binary" else None],
        "flag": [True, False],
        "v": [[1.0, 2.0], [3.0, 4.0]],
    }
    assert columns["ra"].unit == "deg" and columns["n"].datatype == "int" and columns["v"].arraysize == "2"


@pytest.mark.parametrize(
    ("version", "kind"),
    [("V11", "BINARY"), ("V11", "TABLEDATA"), ("V12", "BINARY"), ("V12", "TABLEDATA"), ("V14", "BINARY2")],
)
def test_a_table_written_by_stilts_is_read_in_every_version(version: str, kind: str, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text("id,ra dec,text\n1,10.25,a&b\n2,,\n")
    out = tmp_path / "out.vot"
    stilts(
        "tpipe",
        f"in={source}",
        "ifmt=csv",
        f"out={out}",
        f"ofmt=votable(format={kind},version={version},inline=true)",
    )
    _, values = read_back(out.read_bytes())
    assert values["id"] == [1, 2] and values["text"][0] == "a&b" and not values["text"][1]
    assert values["ra dec"][0] == 10.25
    assert values["ra dec"][1] is None or math.isnan(values["ra dec"][1])


def votable_with(data: str, declaration: str = "", fields: str = '<FIELD name="a" datatype="int"/>') -> bytes:
    return (f'<?xml version="1.0"?>{declaration}<VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
            f"<RESOURCE><TABLE>{fields}<DATA>{data}</DATA></TABLE></RESOURCE></VOTABLE>").encode()  # fmt: skip


BOMB = '<!DOCTYPE VOTABLE [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (votable_with("<TABLEDATA><TR><TD>&b;</TD></TR></TABLEDATA>", BOMB), "entity"),
        (votable_with("<BINARY><STREAM href='http://127.0.0.1:9/x' encoding='base64'/></BINARY>"), "elsewhere"),
        (votable_with("<FITS><STREAM href='file:///etc/passwd'/></FITS>"), "FITS"),
        (votable_with("<TABLEDATA><TR><TD>1</TD>"), "well-formed"),
        (votable_with("<TABLEDATA><TR><TD>one</TD></TR></TABLEDATA>"), "column a.*one"),
        (votable_with("<BINARY2><STREAM encoding='base64'>AAAA</STREAM></BINARY2>"), "end within row 1"),
        (votable_with("<BINARY><STREAM encoding='base64'>AAAAAQAA</STREAM></BINARY>"), "end within row 2"),
        (votable_with("<BINARY><STREAM encoding='base64'>*</STREAM></BINARY>"), "base64"),
        (votable_with("<TABLEDATA><TR><TD>1</TD><TD>2</TD></TR></TABLEDATA>"), "has 2 cells"),
        (
            votable_with("<TABLEDATA><TR><TD>70000</TD></TR></TABLEDATA>", fields='<FIELD name="s" datatype="short"/>'),
            "column s.*70000",
        ),
        (votable_with("<TABLEDATA/>", fields='<FIELD name="s" datatype="quad"/>'), "no VOTable datatype"),
        (votable_with("<TABLEDATA/>", fields='<FIELD name="s" datatype="int" arraysize="two"/>'), "arraysize"),
        (
            votable_with(
                "<TABLEDATA><TR><TD>1 2</TD></TR></TABLEDATA>", fields='<FIELD name="s" datatype="int" arraysize="3"/>'
            ),
            "2 elements",
        ),
        (b"<html/>", "no VOTable"),
        (b"SIMPLE  =                    T", "well-formed"),
        (b'<VOTABLE version="1.3"><RESOURCE/></VOTABLE>', "no TABLE"),
        (b"", "well-formed"),
    ],
)
def test_a_document_that_must_not_be_believed_is_refused_with_its_reason(document: bytes, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        read_votable(BytesIO(document))


def test_a_short_document_cannot_claim_much_memory() -> None:
    field = '<FIELD name="s" datatype="double" arraysize="2000000000"/>'
    with pytest.raises(TooLargeError, match="column s"):
        read_votable(BytesIO(votable_with("<TABLEDATA><TR><TD/></TR></TABLEDATA>", fields=field)))
    variable = '<FIELD name="s" datatype="double" arraysize="*"/>'
    claim = "<BINARY><STREAM encoding='base64'>f////w==</STREAM></BINARY>"
    with pytest.raises(UsageError, match="end within row 1"):
        read_votable(BytesIO(votable_with(claim, fields=variable)))


@pytest.mark.parametrize("size", ["11", "*"])
def test_bit_arrays_are_packed_as_stilts_reads_them(size: str, tmp_path: Path) -> None:
    """astropy 8.0.2 takes a byte for each bit of a variable array, so STILTS is asked."""
    columns = [Column("b", "bit", size), Column("n", "int")]
    cells: list[list[Any]] = [
        [[True, False, False, True] + [False] * 6 + [True], [False, True] * 5 + [True], None],
        [1, 2, 3],
    ]
    for serialization in ("binary2", "tabledata"):
        _, values = read_back(written(columns, cells, serialization))
        assert [values["b"], values["n"]] == cells
    path = tmp_path / "bits.vot"
    path.write_bytes(written(columns, cells, "binary2"))
    first, second, third = stilts("tpipe", f"in={path}", "ofmt=csv").splitlines()[1:]
    for bits, line in zip(cells[0][:2], (first, second), strict=True):
        assert str(tuple(bits)).lower() in line
    assert third.endswith(",3")


def test_integers_may_be_hexadecimal_signed_and_missing_by_declaration() -> None:
    field = (
        '<FIELD name="n" datatype="int"><VALUES null="-99"/></FIELD><FIELD name="v" datatype="short" arraysize="*"/>'
    )
    cells = (("0x1F", "1  2\n3"), (" +7 ", ""), ("-99", "-1"))
    rows = "".join(f"<TR><TD>{n}</TD><TD>{v}</TD></TR>" for n, v in cells)
    _, values = read_back(votable_with(f"<TABLEDATA>{rows}</TABLEDATA>", fields=field))
    assert values == {"n": [31, 7, None], "v": [[1, 2, 3], None, [-1]]}
    data = base64.b64encode(struct.pack(">iih", 5, 1, 9) + struct.pack(">ii", -99, 0)).decode()
    _, values = read_back(votable_with(f"<BINARY><STREAM encoding='base64'>{data}</STREAM></BINARY>", fields=field))
    assert values == {"n": [5, None], "v": [[9], None]}


def test_an_external_entity_is_refused_before_anything_is_opened() -> None:
    declaration = '<!DOCTYPE VOTABLE [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    with pytest.raises(UsageError, match="entity"):
        read_votable(BytesIO(votable_with("<TABLEDATA><TR><TD>&x;</TD></TR></TABLEDATA>", declaration)))


def test_an_upload_beyond_a_limit_is_too_large() -> None:
    document = written([Column("n", "int")], [[1, 2, 3]], "tabledata")
    with pytest.raises(TooLargeError, match="2"):
        read_votable(BytesIO(document), max_rows=2)
    with pytest.raises(TooLargeError, match="100 bytes"):
        read_votable(BytesIO(document), max_bytes=100)
    with pytest.raises(TooLargeError, match="2"):
        read_votable(BytesIO(written([Column("n", "int")], [[1, 2, 3]], "binary2")), max_rows=2)


def test_timestamps_are_instants_unless_one_of_them_is_not() -> None:
    field = '<FIELD name="t" datatype="char" arraysize="*" xtype="timestamp"/>'
    rows = "<TABLEDATA><TR><TD>{}</TD></TR><TR><TD>2020-01-01T00:00:00Z</TD></TR><TR><TD/></TR></TABLEDATA>"
    columns, values = read_back(votable_with(rows.format("2020-02-29"), fields=field))
    assert columns["t"].xtype == "timestamp"
    assert values["t"] == [datetime(2020, 2, 29), datetime(2020, 1, 1), None]
    for odd in ("2021-02-29", "2016-12-31T23:59:60", "yesterday"):
        columns, values = read_back(votable_with(rows.format(odd), fields=field))
        assert columns["t"].xtype is None and values["t"][0] == odd
