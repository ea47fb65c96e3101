"""FITS binary tables (FITS 4.0 §7.3).

A table's header comes first and tells how many rows there are and how wide the longest text is, so the rows wait in a
temporary file (in TMPDIR) until all are there; the memory used does not grow with them. A failure until then still has
its status, and an overflow is told in the header.

Missing numbers are TNULLn, an integer that the column does not have, or NaN; missing logicals zero; missing text has no
characters. The primary HDU holds the VOTable without rows by STIL's FITS-plus convention (SUN/252 §3.8.1), so that
TOPCAT knows all of the metadata; TUNIT, TUCD, TUTYP, TXTYP and TCOMM tell other readers.

FITS has ASCII only. Text that is not is written in UTF-8 all the same, which astropy reads, and a COMMENT says so: "?"
in its place would be lost for everybody. Text on the heap has the "?": there astropy would refuse the whole column.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO, Any, Unpack

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import PRIMITIVES, TEXT, arrow_type, conformed, is_timestamp, shape_of, slices
from archive.vo.cells import NOT_ASCII, Fixed, Variable, cells_of, offsets_of, packed
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError
from archive.vo.formats.writing import Told, header, was_cut
from archive.vo.text import characters, contains_any, text_array, timestamps

BLOCK = 2880
LETTERS = {"boolean": "L", "unsignedByte": "B", "short": "I", "int": "J", "long": "K", "float": "E", "double": "D",
           "floatComplex": "C", "doubleComplex": "M"}  # fmt: skip
ELEMENT_BYTES = {"A": 1, "L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "E": 4, "D": 8, "C": 8, "M": 16}
WIDER = {"unsignedByte": "short", "short": "int", "int": "long"}
# Text stands in the rows, each cell as wide as the widest, unless that would make the file much larger than its text:
# readers know text on the heap less well (astropy 8.0.2 takes the square of its length in memory).
MAX_PADDING = 3
PADDING_BYTES = 32 << 20
MAX_P_HEAP = 2**31 - 1
SPOOLED = pa.ipc.IpcWriteOptions(compression="lz4")


def write_fits(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **told: Unpack[Told]) -> Iterator[bytes]:
    """The file: a primary HDU with the metadata, and the table."""
    # A bit is a logical here: FITS has no missing bits.
    kept = [_Kept(replace(one, datatype="boolean") if one.datatype == "bit" else one) for one in columns]
    with tempfile.TemporaryFile() as file:
        rows = _spool(kept, batches, file)
        overflow = was_cut(told)
        for one in kept:
            one.settle(rows)
        heap_bytes = sum(one.data_bytes for one in kept if one.on_heap)
        descriptor = np.dtype(">i4") if heap_bytes <= MAX_P_HEAP else np.dtype(">i8")
        yield _primary(header(columns, told, overflow))
        row_bytes = sum(one.cell_bytes(descriptor) for one in kept)
        yield _table_header(kept, told, rows, row_bytes, heap_bytes, descriptor, overflow)
        yield from _table_rows(kept, file, descriptor)
        if heap_bytes:
            yield from _heap(kept, file)
        yield bytes(-(rows * row_bytes + heap_bytes) % BLOCK)


@dataclass(slots=True)
class _Kept:
    """A column, and what its cells together ask for.

    width: bytes of the longest text, elements of the longest array. data_bytes: of all its cells. characters: of the
    longest text and of all. free: integers that no cell has.
    """

    column: Column
    width: int = 0
    data_bytes: int = 0
    characters: tuple[int, int] = (0, 0)
    is_ascii: bool = True
    has_missing: bool = False
    free: list[int] = field(default_factory=list)
    on_heap: bool = False
    null: int | None = None
    wider: str | None = None

    def __post_init__(self) -> None:
        if self.is_integer:
            self.free = _candidates(self.column.datatype)

    @property
    def is_text(self) -> bool:
        return self.column.datatype in TEXT

    @property
    def is_integer(self) -> bool:
        return bool(pa.types.is_integer(PRIMITIVES[self.column.datatype]))

    @property
    def is_variable(self) -> bool:
        """An array of numbers whose length differs from cell to cell."""
        return not self.is_text and shape_of(self.column).count is None

    @property
    def letter(self) -> str:
        return "A" if self.is_text else LETTERS[self.wider or self.column.datatype]

    def spooled(self, array: pa.Array) -> pa.Array:
        """The cells as they wait: text as it will be written."""
        if is_timestamp(self.column):
            return timestamps(array, shape_of(self.column).width)
        return text_array(array, self.column) if self.is_text and shape_of(self.column).is_array else array

    def measure(self, array: pa.Array) -> None:
        """Take note of some of the cells, as they are spooled."""
        self.has_missing = self.has_missing or array.null_count > 0
        if self.is_text:
            self._longest(pc.binary_length(array))
            self.is_ascii = self.is_ascii and not contains_any(array, NOT_ASCII)
            lengths = pc.utf8_length(array)
            longest, total = self.characters
            self.characters = (max(longest, pc.max(lengths).as_py() or 0), total + (pc.sum(lengths).as_py() or 0))
        elif self.is_variable:
            self._longest(pc.list_value_length(array))
        elif self.is_integer:
            values = array if pa.types.is_integer(array.type) else array.flatten()
            least, most = pc.min_max(values).as_py().values()
            if least is not None:
                self.free = [
                    one for one in self.free
                    if not least <= one <= most or not pc.any(pc.equal(values, pa.scalar(one, values.type))).as_py()
                ]  # fmt: skip

    def _longest(self, lengths: pa.Array) -> None:
        self.width = max(self.width, pc.max(lengths).as_py() or 0)
        self.data_bytes += (pc.sum(lengths).as_py() or 0) * ELEMENT_BYTES[self.letter]

    def settle(self, rows: int) -> None:
        """Decide where the cells stand, and what is a missing one; ArchiveError if no integer is left for it."""
        if self.is_text:
            self.on_heap = rows * self.width > (1 + MAX_PADDING) * self.data_bytes + PADDING_BYTES
            if self.on_heap:
                self.width, self.data_bytes = self.characters
        else:
            self.on_heap = self.is_variable
        if self.is_integer and self.has_missing and not self.is_variable:
            if not self.free:
                self.wider = WIDER.get(self.column.datatype)
                self.free = _candidates(self.wider) if self.wider else []
            if not self.free:
                raise ArchiveError(f"column {self.column.name}: FITS has no integer left to stand for a missing value")
            self.null = self.free[0]

    def cell_bytes(self, descriptor: np.dtype[Any]) -> int:
        """Of each row."""
        if self.on_heap:
            return 2 * descriptor.itemsize
        return self._count * ELEMENT_BYTES[self.letter]

    @property
    def _count(self) -> int:
        """Elements of a cell in the row."""
        return max(1, self.width) if self.is_text else (shape_of(self.column).count or 0)

    def form(self, descriptor: np.dtype[Any]) -> str:
        """TFORM (§7.3.1, §7.3.5)."""
        if self.on_heap:
            return f"1{'P' if descriptor.itemsize == 4 else 'Q'}{self.letter}({self.width})"
        return f"{self._count}{self.letter}"

    def shape(self) -> str | None:
        """TDIM (§7.3.2), where a cell in the row has more than one dimension."""
        if self.on_heap or "x" not in (self.column.arraysize or "") or not self.is_ascii:
            return None
        sizes = (self.column.arraysize or "").replace(" ", "").split("x")
        if not all(size.isdigit() for size in sizes) or np.prod([int(size) for size in sizes]) != self._count:
            return None
        return f"({','.join(sizes)})"

    def cells(self, array: pa.Array) -> Fixed | Variable:
        """Cells as bytes, from how they were spooled."""
        if self.is_text:
            present = array.fill_null("") if array.null_count else array
            if self.on_heap:
                if not self.is_ascii:
                    present = pc.replace_substring_regex(present, "[^\\x00-\\x7f]", "?")
                lengths = pc.binary_length(present).to_numpy()
                return Variable(lengths, offsets_of(lengths), characters(present))
            filled = pc.ascii_rpad(present, self._count, padding="\0")
            return Fixed(characters(filled).view(f"V{self._count}"))
        column = self.column
        if self.wider is not None:
            column = replace(column, datatype=self.wider)
            number = PRIMITIVES[self.wider]
            wanted = number if pa.types.is_integer(array.type) else pa.list_(number, array.type.list_size)
            array = array.cast(wanted)
        cells = cells_of(array, column, set(), self.null or 0)
        if column.datatype != "boolean":
            return cells
        if isinstance(cells, Fixed):
            return Fixed(np.where(cells.values == ord("?"), np.uint8(0), cells.values))
        return Variable(cells.counts, cells.offsets, np.where(cells.data == ord("?"), np.uint8(0), cells.data))


def _candidates(datatype: str) -> list[int]:
    """Integers that may stand for what is missing, the likeliest to be free first."""
    kind = np.iinfo(PRIMITIVES[datatype].to_pandas_dtype())
    if datatype == "unsignedByte":
        return [255, 0, 254, 1]
    return [kind.min, kind.max, kind.min + 1, kind.max - 1, *(kind.min // 7 * n for n in range(1, 7))]


def _spool(kept: Sequence[_Kept], batches: Iterable[pa.RecordBatch], file: IO[bytes]) -> int:
    """Write the rows to the file and measure them; how many they are."""
    columns = [one.column for one in kept]
    types = [pa.string() if one.is_text else arrow_type(one.column) for one in kept]
    schema = pa.schema([(f"c{place}", kind) for place, kind in enumerate(types)])
    rows = 0
    with pa.ipc.new_stream(pa.PythonFile(file, "w"), schema, options=SPOOLED) as spool:
        for batch in batches:
            for part in slices(batch):
                arrays = [one.spooled(array) for one, array in zip(kept, conformed(part, columns), strict=True)]
                for one, array in zip(kept, arrays, strict=True):
                    one.measure(array)
                spool.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
                rows += part.num_rows
    return rows


def _spooled(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    file.seek(0)
    with pa.ipc.open_stream(pa.PythonFile(file, "r")) as reader:
        yield from reader


def _table_rows(kept: Sequence[_Kept], file: IO[bytes], descriptor: np.dtype[Any]) -> Iterator[bytes]:
    """The rows; cells on the heap are there by their number of elements and their place (§7.3.5)."""
    at = 0
    for batch in _spooled(file):
        fields: list[npt.NDArray[np.generic]] = []
        for one, array in zip(kept, batch.columns, strict=True):
            cells = one.cells(array)
            if isinstance(cells, Fixed):
                fields.append(cells.values)
            else:
                places = np.empty((batch.num_rows, 2), descriptor)
                places[:, 0] = cells.counts
                places[:, 1] = cells.offsets[:-1].astype(np.int64) + at
                at += int(cells.offsets[-1])
                fields.append(places)
        yield packed(fields).tobytes()


def _heap(kept: Sequence[_Kept], file: IO[bytes]) -> Iterator[bytes]:
    """What the descriptors point to, in the order in which they were made."""
    for batch in _spooled(file):
        for one, array in zip(kept, batch.columns, strict=True):
            if one.on_heap:
                cells = one.cells(array)
                assert isinstance(cells, Variable)
                yield cells.data.tobytes()


def _primary(votable: bytes) -> bytes:
    """The primary HDU: the VOTable as an array of bytes. The order of the first cards makes it FITS-plus."""
    cards = [("SIMPLE", True, "FITS 4.0"), ("BITPIX", 8, "bytes"), ("NAXIS", 1), ("NAXIS1", len(votable)),
             ("VOTMETA", True, "metadata of the table, as VOTable"), ("EXTEND", True), ("NTABLE", 1)]  # fmt: skip
    return _header(cards) + votable + bytes(-len(votable) % BLOCK)


def _table_header(
    kept: Sequence[_Kept],
    told: Told,
    rows: int,
    row_bytes: int,
    heap_bytes: int,
    descriptor: np.dtype[Any],
    overflow: bool,
) -> bytes:
    cards: list[tuple[Any, ...]] = [
        ("XTENSION", "BINTABLE"), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", row_bytes), ("NAXIS2", rows),
        ("PCOUNT", heap_bytes), ("GCOUNT", 1), ("TFIELDS", len(kept)),
        ("EXTNAME", told.get("table_name") or "result"),
        ("QSTATUS", "OVERFLOW" if overflow else "OK", "OVERFLOW: there are more rows"),
    ]  # fmt: skip
    for number, one in enumerate(kept, start=1):
        column = one.column
        for keyword, value in (
            ("TTYPE", column.name), ("TFORM", one.form(descriptor)), ("TUNIT", column.unit), ("TNULL", one.null),
            ("TDIM", one.shape()), ("TUCD", column.ucd), ("TUTYP", column.utype), ("TXTYP", column.xtype),
            ("TCOMM", column.description),
        ):  # fmt: skip
            if value is not None:
                cards.append((f"{keyword}{number}", value))
    for number, one in enumerate(kept, start=1):
        if not one.is_ascii:
            how = 'has "?" for what is not ASCII' if one.on_heap else "is UTF-8, not ASCII alone"
            cards.append(("COMMENT", f"Text of column {number} {how}."))
    return _header(cards)


def _header(cards: Iterable[tuple[Any, ...]]) -> bytes:
    from astropy.io import fits  # a third of a second: who asks for FITS waits for it, not every process

    made = fits.Header()
    for keyword, value, *comment in cards:
        made.append((keyword, _ascii(value) if isinstance(value, str) else value, *comment))
    return bytes(made.tostring(), "ascii")


def _ascii(text: str) -> str:
    """What a header can hold (§4.2.1)."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in " ".join(text.split()))
