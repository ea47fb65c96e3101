"""RESPONSEFORMAT: in which media types a result can be asked for, and who writes each (DALI 1.1 §3.4.3, TAP 1.1 §3.2).

Adding a format is adding one entry to FORMATS: TAP's and discovery's answers, and the capabilities, follow from it.
VOTable itself is in archive.vo.votable; text of cells in archive.vo.text.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import TEXT, conformed, is_timestamp, slices
from archive.vo.columns import Column
from archive.vo.errors import UsageError
from archive.vo.markup import Markup
from archive.vo.text import byte_table, contains_any, joined_bytes, text_column
from archive.vo.votable import Info, write_votable

# What may go out again as a Content-Type: nothing that ends a header.
MEDIA_TYPE = re.compile(r'[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+( *; *[A-Za-z0-9.+-]+="?[A-Za-z0-9 ./:+-]*"?)*')
QUOTED = byte_table(*b'",\r\n')
BREAKING = byte_table(*b"\t\r\n")


class Write(Protocol):
    """A writer of results: bytes as the batches come. A format that cannot say a thing leaves it out.

    Parameters as of `write_votable`. A failure of `batches` in a format that has no place to tell it is raised: the
    stream then breaks off, which a client can notice.
    """

    def __call__(
        self,
        columns: Sequence[Column],
        batches: Iterable[pa.RecordBatch],
        *,
        infos: Sequence[Info] = (),
        overflow: Callable[[], bool] | None = None,
        table_name: str | None = None,
        description: str | None = None,
        resources: Sequence[Markup] = (),
        late_failures: Literal["told", "raised"] = "told",
    ) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class Format:
    """One output format. media_type: its full name; aliases: RESPONSEFORMAT's short names and other media types."""

    media_type: str
    aliases: tuple[str, ...]
    extension: str
    write: Write

    @property
    def short_names(self) -> tuple[str, ...]:
        """Aliases that are no media types: what TAPRegExt lists as `alias` (TAP-41)."""
        return tuple(alias for alias in self.aliases if "/" not in alias)


@dataclass(frozen=True, slots=True)
class Writer:
    """A format as it was asked for. media_type: what the answer's Content-Type says, literally as asked (DALI-04)."""

    media_type: str
    extension: str
    write: Write

    @property
    def is_votable(self) -> bool:
        return self.extension == "vot"


def separated(
    columns: Sequence[Column],
    batches: Iterable[pa.RecordBatch],
    *,
    separator: str,
    clean: Callable[[pa.StringArray], pa.StringArray],
    infos: Sequence[Info] = (),
    overflow: Callable[[], bool] | None = None,
    table_name: str | None = None,
    description: str | None = None,
    resources: Sequence[Markup] = (),
    late_failures: Literal["told", "raised"] = "told",
) -> Iterator[bytes]:
    """Lines of text under a line of column names, in UTF-8. clean: makes a column's text safe between separators."""
    names = clean(pa.array([column.name for column in columns], pa.string()))
    yield (separator.join(names.to_pylist()) + "\r\n").encode()
    for batch in batches:
        for part in slices(batch):
            parts: list[pa.Array | pa.Scalar] = []
            for column, array in zip(columns, conformed(part, columns), strict=True):
                cells = text_column(array, column)
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


write_csv: Write = partial(separated, separator=",", clean=quoted)
write_tsv: Write = partial(separated, separator="\t", clean=unbroken)
write_binary2: Write = partial(write_votable, serialization="binary2")
write_tabledata: Write = partial(write_votable, serialization="tabledata")

FORMATS: tuple[Format, ...] = (
    Format(
        "application/x-votable+xml",
        ("votable", "application/x-votable+xml;serialization=binary2", "votable/b2", "votable/binary2"),
        "vot",
        write_binary2,
    ),
    Format(
        "application/x-votable+xml;serialization=tabledata",
        ("votable/td", "votable/tabledata", "text/xml", "application/xml"),
        "vot",
        write_tabledata,
    ),
    Format("text/csv;header=present", ("csv", "text/csv"), "csv", write_csv),
    Format("text/tab-separated-values", ("tsv",), "tsv", write_tsv),
)


def _normal(name: str) -> str:
    """Media types compare without blanks, quotes and case (RFC 9110 §8.3.1)."""
    return name.replace(" ", "").replace('"', "").lower()


_BY_NAME = {_normal(name): form for form in FORMATS for name in (form.media_type, *form.aliases)}


def writer_for(responseformat: str | None, default: str = "application/x-votable+xml") -> Writer:
    """The writer for a RESPONSEFORMAT, or for none. UsageError, naming what there is, if it is not offered.

    A media type comes back as it was asked; a short name gives the format's own media type.
    """
    asked = (responseformat or "").strip() or default
    form = _BY_NAME.get(_normal(asked))
    if form is None:
        # Parameters that we do not know, such as a charset or a votable version, do not change what is written.
        form = _BY_NAME.get(_normal(asked).partition(";")[0]) if ";" in asked else None
        if form is None or "serialization=" in _normal(asked):
            offered = ", ".join(form.aliases[0] if form.aliases else form.media_type for form in FORMATS)
            raise UsageError(f"RESPONSEFORMAT {asked!r} is not offered here; there are {offered}")
    is_literal = MEDIA_TYPE.fullmatch(asked) and not asked.startswith("votable/")
    return Writer(asked if is_literal else form.media_type, form.extension, form.write)


class Limited:
    """Batches cut after maxrec rows, and whether anything was cut: what MAXREC does (DALI 1.1 §3.4.4, TAP-11).

    batches: may give one row more than maxrec (LIMIT maxrec + 1), which is how a cut is known. With maxrec 0 nothing
    is read, and the answer counts as cut (DALI-05).
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], maxrec: int | None) -> None:
        self._batches = batches
        self._maxrec = maxrec
        self._cut = maxrec == 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        if self._maxrec is None:
            yield from self._batches
            return
        left = self._maxrec
        if not left:
            return
        for batch in self._batches:
            if batch.num_rows > left:
                self._cut = True
                if left:
                    yield batch.slice(0, left)
                return
            left -= batch.num_rows
            yield batch

    def overflow(self) -> bool:
        """True if rows were cut; ask when the iteration is over."""
        return self._cut
