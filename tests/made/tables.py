"""Tables of every type that a result can have, for Hypothesis."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column

XML_TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="\ufffe\uffff"),
    max_size=12,
)
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
INTEGERS = {"unsignedByte": (0, 255), "short": (-(2**15), 2**15 - 1), "int": (-(2**31), 2**31 - 1),
            "long": (-(2**63), 2**63 - 1)}  # fmt: skip


def f32(value: float) -> float:
    return float(np.float32(value))


def scalar_values(datatype: str) -> st.SearchStrategy[Any]:
    if datatype in INTEGERS:
        return st.integers(*INTEGERS[datatype])
    if datatype == "float":
        return st.floats(width=32)
    if datatype == "double":
        return st.floats()
    if datatype == "boolean":
        return st.booleans()
    return st.tuples(st.floats(width=32), st.floats(width=32)).map(list)


@st.composite
def declared(
    draw: st.DrawFn, name: str, text: st.SearchStrategy[str] = XML_TEXT
) -> tuple[Column, st.SearchStrategy[Any]]:
    """A column and the strategy for its cells."""
    kind = draw(st.sampled_from(["scalar", "fixed", "variable", "char", "char5", "unicode", "unicode4", "timestamp"]))
    if kind == "timestamp":
        times = st.datetimes(datetime(1600, 1, 1), datetime(2400, 1, 1))
        return Column(name, "char", "*", xtype="timestamp"), st.none() | times
    if kind.startswith(("char", "unicode")):
        size = "".join(filter(str.isdigit, kind)) or "*"
        letters = ASCII if kind.startswith("char") else text
        values = letters.map(str.strip).filter(bool)
        if size != "*":
            # A fixed width is a count of UTF-16 units.
            values = values.filter(lambda text: len(text.encode("utf-16-be")) <= 2 * int(size))
        return Column(name, "char" if kind.startswith("char") else "unicodeChar", size), st.none() | values
    datatype = draw(st.sampled_from([*INTEGERS, "float", "double", "boolean", "floatComplex", "doubleComplex"]))
    cell = scalar_values(datatype)
    if kind == "scalar":
        return Column(name, datatype), st.none() | cell
    if kind == "fixed":
        return Column(name, datatype, "3"), st.none() | st.lists(cell, min_size=3, max_size=3)
    return Column(name, datatype, "*"), st.none() | st.lists(cell, min_size=1, max_size=5)


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@st.composite
def tables(draw: st.DrawFn, text: st.SearchStrategy[str] = XML_TEXT) -> tuple[list[Column], list[list[Any]]]:
    """Columns of every type and kind, and their cells, column by column. text: of unicodeChar columns."""
    kinds = [draw(declared(f"c{place}", text)) for place in range(draw(st.integers(1, 11)))]
    rows = draw(st.integers(0, 6))
    return [column for column, _ in kinds], [[draw(cells) for _ in range(rows)] for _, cells in kinds]


def batches_of(columns: list[Column], cells: list[list[Any]], cut: int = 2) -> Iterator[pa.RecordBatch]:
    """The table in small batches, slices of one, so that offsets within Arrow arrays matter."""
    whole = pa.record_batch([pa.array(c, f.type) for c, f in zip(cells, arrow_schema(columns), strict=True)],
                            schema=arrow_schema(columns))  # fmt: skip
    for start in range(0, whole.num_rows, cut):
        yield whole.slice(start, cut)
