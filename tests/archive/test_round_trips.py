"""Tables through FITS, Parquet, Arrow, JSON, HTML and VOTable's BINARY, and back through readers that are not ours."""

import json
import math
import subprocess
import warnings
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.io import votable as astropy_votable
from hypothesis import HealthCheck, given, settings

from archive.vo.arrow import arrow_type, shape_of
from archive.vo.columns import Column
from archive.vo.descriptors import links_descriptor
from archive.vo.errors import ArchiveError
from archive.vo.formats import FORMATS, Limited, html, writer_for
from archive.vo.votable import Info, read_votable
from tests.made.tables import ANY_TEXT, batches_of, tables

SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
drawn = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def written(form: str, columns: list[Column], cells: list[list[Any]], *, rows_at_once: int = 2, **told: Any) -> bytes:
    return b"".join(writer_for(form).write(columns, batches_of(columns, cells, rows_at_once), **told))


def as_arrow(columns: list[Column], cells: list[list[Any]]) -> list[list[Any]]:
    """The cells as Arrow holds them: floats of their width."""
    return [pa.array(c, arrow_type(column)).to_pylist() for column, c in zip(columns, cells, strict=True)]


def alike(one: Any, other: Any) -> bool:
    """Equal, NaN too, and the sign of zero."""
    return repr(one) == repr(other)


# ---- Arrow and Parquet: every value as it was


@pytest.mark.parametrize("form", ["arrow", "parquet"])
@drawn
@given(table=tables(ANY_TEXT))
def test_every_table_comes_back_from_pyarrow_as_it_was(form: str, table: Any) -> None:
    columns, cells = table
    document = written(form, columns, cells)
    read = pa.ipc.open_stream(document).read_all() if form == "arrow" else pq.read_table(BytesIO(document))
    assert read.column_names == [column.name for column in columns]
    assert alike([column.to_pylist() for column in read.columns], as_arrow(columns, cells))
    assert [field.type for field in read.schema] == [arrow_type(column) for column in columns]


SKY = [
    Column("obs_id", "char", "*", ucd="meta.id;meta.main", description="names & <angles>, " + "at length " * 20),
    Column("s_ra", "double", unit="deg", ucd="pos.eq.ra;meta.main", utype="obscore:Char.SpatialAxis"),
    Column("s_region", "double", "*", xtype="polygon", unit="deg", ucd="pos.outline;obs.field"),
    Column("obs_date", "char", "*", xtype="timestamp", ucd="time"),
    Column("flux", "float", unit="mJy"),
    Column("note", "unicodeChar", "*"),
    Column("n", "short"),
    Column("ok", "boolean"),
]
NOON = datetime(2024, 5, 6, 12, 0, 0, 250_000)
SKY_CELLS: list[list[Any]] = [
    ["a", "b & c", None],
    [0.1, 359.999999, None],
    [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None, [7.5]],
    [NOON, None, NOON],
    [1.5, math.nan, None],
    ["héß", "<漢字>", None],
    [-32768, 7, None],
    [True, False, None],
]
TOLD: dict[str, Any] = {
    "infos": [Info("QUERY", "SELECT 'a<b'"), Info("MAXREC", "3")],
    "table_name": "sky",
    "resources": [links_descriptor("http://localhost", "obs_id")],
}


def embedded(document: bytes) -> bytes:
    """The VOTable that stands beside the data."""
    if document.startswith(b"PAR1"):
        return bytes(pq.read_metadata(BytesIO(document)).metadata[b"IVOA.VOTable-Parquet.content"])
    if document.startswith(b"SIMPLE"):
        return bytes(fits.getdata(BytesIO(document), 0))
    return bytes(pa.ipc.open_stream(document).schema.metadata[b"IVOA.VOTable-Parquet.content"])


@pytest.mark.parametrize("form", ["parquet", "arrow", "fits"])
def test_the_votable_beside_the_data_says_all_that_a_votable_says(form: str, tmp_path: Path) -> None:
    """VOParquet 1.0 §2.1: valid, and without DATA."""
    votable = embedded(written(form, SKY, SKY_CELLS, **TOLD))
    assert b"<DATA>" not in votable
    read = astropy_votable.parse(BytesIO(votable))
    assert [(f.name, f.datatype, f.arraysize, f.ucd, f.utype, f.xtype, f.description)
            for f in read.get_first_table().fields] == [
        (c.name, c.datatype, c.arraysize, c.ucd, c.utype, c.xtype, c.description and c.description.strip()) for c in SKY
    ]  # fmt: skip
    assert [str(f.unit or "") for f in read.get_first_table().fields] == [c.unit or "" for c in SKY]
    assert read.resources[0].coordinate_systems[0].system == "ICRS"
    assert [resource.type for resource in read.resources] == ["results", "meta"]
    path = tmp_path / "t.vot"
    path.write_bytes(votable)
    report = subprocess.run(
        ["stilts", "votlint", f"votable={path}"], capture_output=True, text=True, timeout=120, check=True
    )
    assert "ERROR" not in report.stdout + report.stderr, report.stdout


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_each_arrow_field_has_its_columns_metadata(form: str) -> None:
    document = written(form, SKY, SKY_CELLS)
    schema = pq.read_schema(BytesIO(document)) if form == "parquet" else pa.ipc.open_stream(document).schema
    told = {key.decode(): value.decode() for key, value in schema.field("s_ra").metadata.items()}
    assert {"unit": "deg", "ucd": "pos.eq.ra;meta.main", "datatype": "double"}.items() <= told.items()


def test_parquet_is_written_in_row_groups_as_the_rows_come() -> None:
    """Memory holds one group: pieces come before the end."""
    column = Column("n", "long")
    batches = (pa.record_batch({"n": np.arange(20_000)}) for _ in range(50))
    pieces = list(writer_for("parquet").write([column], batches))
    file = pq.ParquetFile(BytesIO(b"".join(pieces)))
    assert file.metadata.num_rows == 1_000_000 and 5 <= file.metadata.num_row_groups <= 10
    assert sum(len(piece) > 1000 for piece in pieces) >= 5


# ---- JSON


def from_json(value: Any, column: Column) -> Any:
    """A cell as it was meant."""
    if isinstance(value, list):
        return [from_json(one, column) for one in value]
    if column.datatype in ("float", "double", "floatComplex", "doubleComplex") and value is not None:
        number = SPECIAL[value] if isinstance(value, str) else float(value)
        return float(np.float32(number)) if column.datatype.startswith("float") else number
    if column.xtype == "timestamp" and value is not None:
        return datetime.fromisoformat(value)
    return value


def no_constant(name: str) -> Any:
    raise AssertionError(f"{name} is not JSON")


def whole(text: str) -> float:
    """Python's reader drops the sign of "-0", which JavaScript keeps."""
    return -0.0 if text == "-0" else int(text)


@pytest.mark.parametrize("form", ["json", "jsonl"])
@drawn
@given(table=tables(ANY_TEXT))
def test_every_table_comes_back_from_pythons_json_as_it_was(form: str, table: Any) -> None:
    columns, cells = table
    document = written(form, columns, cells)
    if form == "json":
        read = json.loads(document, parse_constant=no_constant, parse_int=whole)
        assert [one["name"] for one in read["metadata"]] == [column.name for column in columns]
        assert [one["datatype"] for one in read["metadata"]] == [column.datatype for column in columns]
        assert read["status"] == "OK"
        rows = read["data"]
    else:
        lines = document.decode().split("\n")
        assert lines.pop() == ""
        objects = [json.loads(line, parse_constant=no_constant, parse_int=whole) for line in lines]
        assert all(list(one) == [column.name for column in columns] for one in objects)
        rows = [list(one.values()) for one in objects]
    there = [[from_json(row[place], column) for row in rows] for place, column in enumerate(columns)]
    assert alike(there, as_arrow(columns, cells))


def test_json_tells_the_query_the_columns_and_a_cut() -> None:
    limited = Limited(batches_of(SKY, SKY_CELLS), 2)
    stream = writer_for("json").write(SKY, limited, overflow=limited.overflow, infos=TOLD["infos"])
    read = json.loads(b"".join(stream))
    assert read["status"] == "OVERFLOW" and len(read["data"]) == 2
    assert read["info"] == {"QUERY": "SELECT 'a<b'", "MAXREC": "3"}
    assert read["metadata"][1] == {
        "name": "s_ra", "datatype": "double", "unit": "deg", "ucd": "pos.eq.ra;meta.main",
        "utype": "obscore:Char.SpatialAxis",
    }  # fmt: skip


# ---- FITS


def from_fits(value: Any, column: Column) -> Any:
    """What FITS can say of a cell: text is stripped of its end, and empty where it is missing."""
    if column.is_text:
        return value.decode() if isinstance(value, bytes) else str(value)
    return np.ravel(np.asarray(value))


@drawn
@given(table=tables())
def test_every_table_is_read_by_astropy_from_fits(table: Any) -> None:
    columns, cells = table
    document = written("fits", columns, cells)
    assert len(document) % 2880 == 0
    as_bytes = {"character_as_bytes": True, "logical_as_bytes": True}  # else astropy shows a missing logical as False
    with warnings.catch_warnings(), fits.open(BytesIO(document), **as_bytes) as file:
        warnings.simplefilter("error")
        file.verify("exception")
        data, head = file[1].data, file[1].header
        assert len(data) == len(cells[0])
        for place, (column, wanted) in enumerate(zip(columns, as_arrow(columns, cells), strict=True)):
            assert head[f"TTYPE{place + 1}"] == column.name
            null = head.get(f"TNULL{place + 1}")
            raw = data.field(place) if len(data) else []
            for row, value in enumerate(wanted):
                assert fits_says(raw[row], value, column, null), (column, value, raw[row])


def fits_says(read: Any, value: Any, column: Column, null: int | None) -> bool:
    if column.xtype == "timestamp":
        text = read.decode() if isinstance(read, bytes) else str(read)
        return text == "" if value is None else datetime.fromisoformat(text) == value
    if column.is_text or column.datatype in ("char", "unicodeChar"):
        text = read.tobytes().decode() if isinstance(read, np.ndarray) else read.decode()
        return text.rstrip("\0 ") == (value or "").rstrip("\0 ")
    cells = np.ravel(np.asarray(read))
    if column.datatype == "boolean":
        letters = [cell if isinstance(cell, bytes) else bytes([cell]) for cell in cells.tolist()]
        wanted_letters = value if isinstance(value, list) else [value] * max(1, shape_of(column).count or 0)
        if value is None and shape_of(column).count is None:
            wanted_letters = []
        return [letter.rstrip(b"\0") for letter in letters] == [
            {True: b"T", False: b"F", None: b""}[one] for one in wanted_letters
        ]
    if value is None:
        if shape_of(column).count is None:
            return len(cells) == 0
        if null is not None:
            return bool((cells == null).all())
        return bool(np.isnan(cells).all()) if cells.dtype.kind in "fc" else bool((cells == 0).all())
    wanted = np.ravel(np.array(value))
    if cells.dtype.kind == "c":
        cells = np.stack([cells.real, cells.imag], axis=-1).ravel()
    if null is not None and (cells == null).any():
        return False
    return bool(np.array_equal(cells, wanted.astype(cells.dtype), equal_nan=cells.dtype.kind == "f"))


def test_stilts_reads_fits_with_missing_values_and_all_metadata(tmp_path: Path) -> None:
    """By its own convention, FITS-plus, and without it."""
    path = tmp_path / "t.fits"
    path.write_bytes(written("fits", SKY, SKY_CELLS, **TOLD))
    for form in ("fits-plus", "fits"):
        told = stilts(
            "tpipe", f"in={path}", f"ifmt={form}", "cmd=meta name units ucd utype xtype description", "ofmt=csv"
        )
        lines = told.splitlines()
        assert lines[2].startswith("s_ra,deg,pos.eq.ra;meta.main,obscore:Char.SpatialAxis")
        assert form == "fits" or "polygon" in lines[3]
        assert "at length at length" in lines[1]
        rows = stilts("tpipe", f"in={path}", f"ifmt={form}", "cmd=keepcols 'obs_id s_ra flux n ok'", "ofmt=csv")
        assert rows.splitlines()[1:] == ["a,0.1,1.5,-32768,true", "b & c,359.999999,,7,false", ",,,,"]


def test_very_long_text_stands_in_the_rows_and_on_the_heap_where_most_of_a_large_file_would_be_padding() -> None:
    columns = [Column("text", "char", "*"), Column("n", "int")]
    for rows, form in ((100, "100000A"), (20_000, "1PA(2000)")):
        longest = int("".join(filter(str.isdigit, form.removeprefix("1"))) if "P" in form else form[:-1])
        cells: list[list[Any]] = [["x" * longest, "é!", None, *["short"] * (rows - 3)], list(range(rows))]
        document = written("fits", columns, cells, rows_at_once=rows)
        with fits.open(BytesIO(document), character_as_bytes=True) as file:
            assert file[1].header["TFORM1"] == form
            texts = [fits_text(cell) for cell in file[1].data["text"]]
            comment = str(file[1].header["COMMENT"])
        accent, said = ("?", "for what is not ASCII") if "P" in form else ("é", "UTF-8")
        assert texts == ["x" * longest, f"{accent}!", "", *cells[0][3:]] and said in comment


def fits_text(cell: Any) -> str:
    """astropy gives text on the heap as an array of letters."""
    return "".join(cell) if isinstance(cell, np.ndarray) else bytes(cell).decode()


def test_a_missing_integer_is_one_that_the_column_has_not_or_the_column_becomes_wider() -> None:
    columns = [Column("byte", "unsignedByte"), Column("short", "short"), Column("pair", "int", "2")]
    cells: list[list[Any]] = [[*range(256), None], [-32768, *range(255), None], [[-(2**31), 5]] * 256 + [None]]
    with fits.open(BytesIO(written("fits", columns, cells))) as file:
        head = file[1].header
        assert [head[f"TFORM{n}"] for n in (1, 2, 3)] == ["1I", "1I", "2J"]
        for place, name in enumerate(("byte", "short", "pair"), start=1):
            read = file[1].data[name]
            assert read[:-1].tolist() == cells[place - 1][:-1]
            assert (read[-1] == head[f"TNULL{place}"]).all() and head[f"TNULL{place}"] not in read[:-1]


def test_two_dimensions_are_kept_in_fits() -> None:
    columns = [Column("m", "float", "3x2"), Column("names", "char", "4x2")]
    cells: list[list[Any]] = [[[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], None], [["ab", "cdef"], None]]
    with fits.open(BytesIO(written("fits", columns, cells))) as file:
        assert file[1].data["m"][0].tolist() == [[1, 2, 3], [4, 5, 6]]
        assert [name.rstrip() for name in file[1].data["names"][0]] == ["ab", "cdef"]


# ---- BINARY


@drawn
@given(table=tables())
def test_every_table_is_read_from_binary_as_it_was_meant_or_a_warning_says_where_not(table: Any) -> None:
    columns, cells = table
    document = written("votable/binary", columns, cells)
    parsed = astropy_votable.parse(BytesIO(document))
    assert len(parsed.get_first_table().array) == len(cells[0])
    read = read_votable(BytesIO(document))
    batches = pa.Table.from_batches(read.batches)
    for column, wanted in zip(columns, as_arrow(columns, cells), strict=True):
        there = batches[column.name].to_pylist()
        doubtful = f"missing values in {column.name}".encode() in document
        for value, back in zip(wanted, there, strict=True):
            assert alike(value, back) or doubtful or is_nothing(value, back), (column, value, back)


def is_nothing(value: Any, back: Any) -> bool:
    """BINARY has no missing floats but NaN, and none but NaN, "?" or no length in arrays."""
    leaves = back if isinstance(back, list) else [back]
    flat = [one for leaf in leaves for one in (leaf if isinstance(leaf, list) else [leaf])]
    if value is None:
        return all(one is None or one == "" or one != one for one in flat)
    return value in ("", []) and back is None


# ---- HTML


@drawn
@given(table=tables())
def test_every_table_stands_in_the_page_as_text(table: Any) -> None:
    columns, cells = table
    page = lxml.html.document_fromstring(written("html", columns, cells, table_name="<x>").decode())
    assert [th.text for th in page.iter("th")] == [column.name for column in columns]
    rows = [[td.text_content() for td in tr.iter("td")] for tr in page.find(".//tbody")]
    assert len(rows) == len(cells[0])
    for place, column in enumerate(columns):
        if column.datatype == "unicodeChar":
            assert [row[place] for row in rows] == [value or "" for value in cells[place]]


def test_the_page_asks_nothing_of_anybody_and_runs_no_script() -> None:
    columns = [Column('<script>"', "unicodeChar", "*", description='"><script>')]
    evil = ['<script>alert(1)</script>', "javascript:alert(1)", 'http://a/"onclick="x', "https://example.org/?a=1&b=<",
            "https://example.org/?a=1&b=2"]  # fmt: skip
    text = written("html", columns, [evil], infos=[Info("QUERY", "</pre><script>")], table_name="<script>").decode()
    assert "<script" not in text and "default-src 'none'" in text
    page = lxml.html.document_fromstring(text)
    assert [a.get("href") for a in page.iter("a")] == ["https://example.org/?a=1&b=2"]
    assert not list(page.iter("img", "link", "iframe", "script"))


def test_the_page_ends_where_a_browser_would_and_says_so() -> None:
    columns = [Column("n", "int")]
    rows = html.MAX_ROWS + 1
    page = written("html", columns, [list(range(rows))]).decode()
    assert page.count("<tr>") == html.MAX_ROWS + 1 and "first 10,000 rows" in page
    exact = written("html", columns, [list(range(html.MAX_ROWS))], overflow=lambda: False).decode()
    assert "first 10,000" not in exact and "10,000 rows" in exact


# ---- cuts and failures


def cut(form: str) -> bytes:
    limited = Limited(batches_of(SKY, SKY_CELLS), 2)
    return b"".join(writer_for(form).write(SKY, limited, overflow=limited.overflow))


def test_a_cut_is_told_wherever_the_format_has_a_place_for_it() -> None:
    for form in ("votable", "votable/td", "votable/binary"):
        assert b'value="OVERFLOW"' in cut(form)
    assert b'value="OVERFLOW"' in embedded(cut("parquet"))
    assert b'value="OVERFLOW"' in embedded(cut("fits"))
    assert fits.getheader(BytesIO(cut("fits")), 1)["QSTATUS"] == "OVERFLOW"
    assert "there are more rows" in cut("html").decode()
    with pa.ipc.open_stream(cut("arrow")) as reader:
        *_, (last, said) = reader.iter_batches_with_custom_metadata()
    assert last.num_rows == 0 and said[b"QUERY_STATUS"] == b"OVERFLOW"


TELLING = {"votable", "votable/td", "votable/binary", "json", "html"}


@pytest.mark.parametrize("form", [form.aliases[0] for form in FORMATS])
def test_a_late_failure_is_told_in_the_document_or_breaks_the_stream(form: str) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield next(batches_of(SKY, SKY_CELLS))
        raise ArchiveError("the disk is full")

    if form in TELLING:
        document = b"".join(writer_for(form).write(SKY, broken()))
        assert b"the disk is full" in document
    with pytest.raises(ArchiveError, match="the disk is full"):
        list(writer_for(form).write(SKY, broken(), **({"late_failures": "raised"} if form in TELLING else {})))


@pytest.mark.parametrize("form", [form.aliases[0] for form in FORMATS])
def test_a_table_of_no_rows_is_a_document_of_its_format(form: str) -> None:
    document = b"".join(writer_for(form).write(SKY, iter(())))
    names = [column.name for column in SKY]
    match form:
        case "fits":
            assert fits.getdata(BytesIO(document), 1).names == names
        case "parquet":
            assert pq.read_table(BytesIO(document)).column_names == names
        case "arrow":
            assert pa.ipc.open_stream(document).read_all().column_names == names
        case "json":
            assert json.loads(document)["data"] == []
        case "jsonl":
            assert document == b""
        case _:
            assert all(name.encode() in document for name in names)


def stilts(*arguments: str) -> str:
    return subprocess.run(["stilts", *arguments], capture_output=True, text=True, timeout=120, check=True).stdout
