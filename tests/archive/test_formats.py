"""RESPONSEFORMAT, and CSV and TSV as Python, astropy and STILTS read them."""

import csv
import io
import math
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.vo.columns import Column
from archive.vo.errors import UsageError
from archive.vo.formats import FORMATS, Limited, write_csv, write_tsv, writer_for
from archive.vo.votable import arrow_schema

COLUMNS = [
    Column("name", "char", "*"),
    Column("ra", "double"),
    Column("n", "long"),
    Column("good", "boolean"),
    Column("when", "char", "*", xtype="timestamp"),
    Column("shape", "double", "*", xtype="polygon"),
]
NOON = datetime(2024, 5, 6, 12)
CELLS: list[list[Any]] = [
    ['say "a, b"', None, "two\nlines", ""],
    [0.1, None, math.nan, -math.inf],
    [2**62, None, -1, 0],
    [True, None, False, True],
    [NOON, None, NOON.replace(microsecond=5), NOON.replace(microsecond=120_000)],
    [[1.0, 2.5], None, [1e-300], []],
]


def batch(columns: list[Column], cells: list[list[Any]]) -> pa.RecordBatch:
    schema = arrow_schema(columns)
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(cells, schema, strict=True)], schema=schema)


def test_csv_quotes_what_needs_it_and_leaves_missing_values_empty() -> None:
    text = b"".join(write_csv(COLUMNS, [batch(COLUMNS, CELLS)])).decode()
    assert text.splitlines() == [
        "name,ra,n,good,when,shape",
        '"say ""a, b""",0.1,4611686018427387904,true,2024-05-06T12:00:00,1 2.5',
        ",,,,,",
        '"two',
        'lines",NaN,-1,false,2024-05-06T12:00:00.000005,1e-300',
        '"",-Infinity,0,true,2024-05-06T12:00:00.120,',
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.text(max_size=8), st.text('",\n\r ab', max_size=8), st.floats(allow_nan=False)), max_size=5)
)
def test_csv_comes_back_from_pythons_reader_as_it_was(rows: list[tuple[str, str, float]]) -> None:
    columns = [Column("a", "unicodeChar", "*"), Column("b, c", "char", "*"), Column("x", "double")]
    cells = [[row[place] for row in rows] for place in range(3)]
    stream = b"".join(write_csv(columns, [batch(columns, cells)])).decode()
    header, *read = csv.reader(io.StringIO(stream, newline=""))
    assert header == ["a", "b, c", "x"]
    assert [(a, b, float(x)) for a, b, x in read] == rows


def test_stilts_reads_csv_and_tsv_and_finds_the_types(tmp_path: Path) -> None:
    for write, form in ((write_csv, "csv"), (write_tsv, "tst")):
        path = tmp_path / f"t.{form}"
        columns = COLUMNS[:5]
        cells = [values[:3] for values in CELLS[:5]]
        cells[0], cells[1] = ["a b", None, "c"], [0.123456789012, None, 1.0]
        path.write_bytes(b"".join(write(columns, [batch(columns, cells)])))
        if form == "tst":
            table = Table.read(path, format="ascii.tab")
            assert table.colnames == ["name", "ra", "n", "good", "when"] and len(table) == 3
            continue
        done = subprocess.run(
            ["stilts", "tpipe", f"in={path}", f"ifmt={form}", "cmd=meta name class", "ofmt=csv"],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert done.stdout.split() == [
            "Name,Class",
            "name,String",
            "ra,Double",
            "n,Long",
            "good,Boolean",
            "when,String",
        ]


def test_tsv_has_no_tab_or_line_end_within_a_cell() -> None:
    columns = [Column("a", "char", "*"), Column("b", "int")]
    text = b"".join(write_tsv(columns, [batch(columns, [["x\ty\r\nz", None], [1, None]])])).decode()
    assert text == "a\tb\r\nx y  z\t1\r\n\t\r\n"


@pytest.mark.parametrize(
    ("asked", "content_type", "serialization"),
    [
        (None, "application/x-votable+xml", "BINARY2"),
        ("votable", "application/x-votable+xml", "BINARY2"),
        ("VOTable", "application/x-votable+xml", "BINARY2"),
        ("application/x-votable+xml", "application/x-votable+xml", "BINARY2"),
        (
            "application/x-votable+xml;serialization=BINARY2",
            "application/x-votable+xml;serialization=BINARY2",
            "BINARY2",
        ),
        ('application/x-votable+xml; serialization="tabledata"',) * 2 + ("TABLEDATA",),
        ("votable/td", "application/x-votable+xml;serialization=tabledata", "TABLEDATA"),
        ("text/xml", "text/xml", "TABLEDATA"),
        ("text/xml;charset=utf-8", "text/xml;charset=utf-8", "TABLEDATA"),
        ("csv", "text/csv;header=present", None),
        ("text/csv", "text/csv", None),
        ("text/csv;header=present", "text/csv;header=present", None),
        ("tsv", "text/tab-separated-values", None),
        ("votable/binary", "application/x-votable+xml;serialization=binary", "BINARY"),
        ("fits", "application/fits", None),
        ("application/fits", "application/fits", None),
        ("parquet", "application/vnd.apache.parquet", None),
        ("arrow", "application/vnd.apache.arrow.stream", None),
        ("json", "application/json", None),
        ("jsonl", "application/x-ndjson", None),
        ("html", "text/html", None),
    ],
)
def test_a_media_type_comes_back_as_it_was_asked(
    asked: str | None, content_type: str, serialization: str | None
) -> None:
    """DALI-04, TAP-10."""
    writer = writer_for(asked)
    assert writer.media_type == content_type
    document = b"".join(writer.write([Column("n", "int")], []))
    assert writer.is_votable is (serialization is not None)
    assert serialization is None or f"<{serialization}>".encode() in document


@pytest.mark.parametrize("asked", ["fits3", "text/plain", "application/x-votable+xml;serialization=vodml", "xml;x"])
def test_a_format_that_is_not_offered_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(UsageError, match=r"votable, .*csv, tsv"):
        writer_for(asked)


def test_every_format_is_found_by_each_of_its_names() -> None:
    for form in FORMATS:
        for name in (form.media_type, *form.aliases):
            assert writer_for(name).write is form.write


def test_no_more_batches_are_asked_for_than_maxrec_needs() -> None:
    asked = []

    def batches() -> Any:
        for number in range(10):
            asked.append(number)
            yield pa.record_batch({"n": [number] * 10})

    limited = Limited(batches(), 25)
    assert sum(part.num_rows for part in limited) == 25
    assert asked == [0, 1, 2] and limited.overflow()


def test_a_failure_in_a_format_that_cannot_tell_it_breaks_the_stream() -> None:
    def broken() -> Any:
        yield pa.record_batch({"n": pa.array([1], pa.int32())})
        raise RuntimeError("late")

    stream = write_csv([Column("n", "int")], broken())
    assert [next(stream), next(stream)] == [b"n\r\n", b"1\r\n"]
    with pytest.raises(RuntimeError):
        next(stream)
