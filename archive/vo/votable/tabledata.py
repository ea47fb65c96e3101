"""TABLEDATA: rows as XML text (VOTable 1.5 §5.1), a column at a time."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import TEXT, conformed, is_timestamp
from archive.vo.columns import Column
from archive.vo.markup import REPLACEMENT
from archive.vo.text import byte_table, contains_any, joined_bytes, text_column
from archive.vo.votable.info import Info

MARKUP = byte_table(*b"&<>\r")
# Control characters, and the lead byte 0xEF that U+FFFE and U+FFFF share with harmless ones.
SUSPECT = byte_table(*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0xEF)
FORBIDDEN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x{fffe}\x{ffff}]"
ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))


class Tabledata:
    """Writes the TABLEDATA element. A missing value is an empty TD (VOT-05)."""

    opening = b"<TABLEDATA>\n"

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns

    def encode(self, batch: pa.RecordBatch) -> bytes:
        """The TR elements of a batch; ArchiveError if a value is not what its column declares."""
        return bytes(rows(self._columns, batch))

    def notes(self) -> tuple[Info, ...]:
        """Nothing: what XML cannot carry is seen as U+FFFD."""
        return ()

    def finish(self) -> bytes:
        """The end of the element, after the last row that could be written."""
        return b"</TABLEDATA>\n"


def rows(columns: Sequence[Column], batch: pa.RecordBatch) -> memoryview:
    """The TR elements of one batch."""
    parts: list[pa.Array | pa.Scalar] = []
    between = "<TR><TD>"
    for column, array in zip(columns, conformed(batch, columns), strict=True):
        cells = text_column(array, column)
        if column.datatype in TEXT and not is_timestamp(column):
            cells = escaped(cells)
        parts += [pa.scalar(between), cells.fill_null("") if cells.null_count else cells]
        between = "</TD><TD>"
    return joined_bytes([*parts, pa.scalar("</TD></TR>\n")])


def escaped(cells: pa.StringArray) -> pa.StringArray:
    """Text as XML character data; characters that XML 1.0 cannot carry become U+FFFD."""
    if contains_any(cells, SUSPECT):
        cells = pc.replace_substring_regex(cells, FORBIDDEN, REPLACEMENT)
    if contains_any(cells, MARKUP):
        for character, reference in ESCAPES:
            cells = pc.replace_substring(cells, character, reference)
    return cells
