"""CSV and TSV: lines of text under a line of column names, in UTF-8."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Unpack

import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import TEXT, conformed, is_timestamp, slices
from archive.vo.columns import Column
from archive.vo.formats.writing import Told, Write
from archive.vo.text import byte_table, contains_any, joined_bytes, text_column

CSV, TSV = ",", "\t"
LINES = pa.schema([pa.field("line", pa.binary())])
"""The schema of batches whose rows are lines already, without their ends; no result has a binary column."""

# As Java and Python read them, and PostgreSQL writes them: STILTS takes "+Inf" for text.
SPELLING = {"NaN": "NaN", "+Inf": "Infinity", "-Inf": "-Infinity"}
QUOTED = byte_table(*b'",\r\n')
BREAKING = byte_table(*b"\t\r\n")


def separated(
    columns: Sequence[Column],
    batches: Iterable[pa.RecordBatch],
    *,
    separator: str,
    clean: Callable[[pa.StringArray], pa.StringArray],
    **_told: Unpack[Told],
) -> Iterator[bytes]:
    """The table. clean: makes a column's text safe between separators. batches: of the columns, or of LINES."""
    names = clean(pa.array([column.name for column in columns], pa.string()))
    yield (separator.join(names.to_pylist()) + "\r\n").encode()
    for batch in batches:
        for part in slices(batch):
            if part.schema == LINES:
                yield bytes(joined_bytes([part.column(0), pa.scalar(b"\r\n")]))
                continue
            parts: list[pa.Array | pa.Scalar] = []
            for column, array in zip(columns, conformed(part, columns), strict=True):
                cells = text_column(array, column, SPELLING)
                if column.datatype in TEXT and not is_timestamp(column):
                    cells = clean(cells)
                parts += [cells.fill_null("") if cells.null_count else cells, pa.scalar(separator)]
            yield bytes(joined_bytes([*parts[:-1], pa.scalar("\r\n")]))


def quoted(cells: pa.StringArray) -> pa.StringArray:
    """CSV's quoting (RFC 4180 §2), only where needed; a text of no characters is "", a missing one is nothing."""
    needed = pc.equal(pc.binary_length(cells), 0)
    if contains_any(cells, QUOTED):
        needed = pc.or_(needed, pc.match_substring_regex(cells, '[",\r\n]'))
    if not pc.any(needed).as_py():
        return cells
    return pc.if_else(needed, pc.binary_join_element_wise('"', pc.replace_substring(cells, '"', '""'), '"', ""), cells)


def unbroken(cells: pa.StringArray) -> pa.StringArray:
    """TSV has no quoting (IANA text/tab-separated-values): a tab or line end within a text becomes a blank."""
    return pc.replace_substring_regex(cells, "[\t\r\n]", " ") if contains_any(cells, BREAKING) else cells


write_csv: Write = partial(separated, separator=CSV, clean=quoted)
write_tsv: Write = partial(separated, separator=TSV, clean=unbroken)
