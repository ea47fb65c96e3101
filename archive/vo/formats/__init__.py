"""RESPONSEFORMAT: in which media types a result can be asked for, and who writes each (DALI 1.1 §3.4.3, TAP 1.1 §3.2).

Adding a format is adding one entry to FORMATS: TAP's and discovery's answers, and the capabilities, follow from it.
VOTable itself is in archive.vo.votable; text of cells in archive.vo.text.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from archive.vo.errors import UsageError
from archive.vo.formats.columnar import write_arrow, write_parquet
from archive.vo.formats.fits import write_fits
from archive.vo.formats.html import write_html
from archive.vo.formats.json import write_json, write_jsonl
from archive.vo.formats.separated import CSV, TSV, write_csv, write_tsv
from archive.vo.formats.writing import Write
from archive.vo.votable import write_votable

# What may go out again as a Content-Type: nothing that ends a header.
MEDIA_TYPE = re.compile(r'[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+( *; *[A-Za-z0-9.+-]+="?[A-Za-z0-9 ./:+-]*"?)*')
# Short names of VOTable's serializations, which look like media types and are none.
SHORT_VOTABLE = "votable/"


@dataclass(frozen=True, slots=True)
class Format:
    """One output format.

    media_type: its full name; aliases: RESPONSEFORMAT's short names and other media types. is_packed: compressed
    already, so that a second time would cost much and gain nothing. separator: where a row is a line that the
    database can make, what stands between its cells.
    """

    media_type: str
    aliases: tuple[str, ...]
    extension: str
    write: Write
    is_packed: bool = False
    separator: str | None = None

    @property
    def short_names(self) -> tuple[str, ...]:
        """Aliases that are no media types: what TAPRegExt lists as `alias` (TAP-41)."""
        return tuple(alias for alias in self.aliases if "/" not in alias or alias.startswith(SHORT_VOTABLE))


@dataclass(frozen=True, slots=True)
class Writer:
    """A format as it was asked for. media_type: what the answer's Content-Type says, literally as asked (DALI-04)."""

    media_type: str
    extension: str
    write: Write
    is_packed: bool = False
    separator: str | None = None

    @property
    def is_votable(self) -> bool:
        return self.extension == "vot"


write_binary2: Write = partial(write_votable, serialization="binary2")
write_binary: Write = partial(write_votable, serialization="binary")
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
    Format("application/x-votable+xml;serialization=binary", ("votable/binary",), "vot", write_binary),
    Format("text/csv;header=present", ("csv", "text/csv"), "csv", write_csv, separator=CSV),
    Format("text/tab-separated-values", ("tsv",), "tsv", write_tsv, separator=TSV),
    Format("application/fits", ("fits", "application/x-fits", "application/fits-table"), "fits", write_fits),
    Format(
        "application/vnd.apache.parquet",
        ("parquet", "application/parquet", "application/x-parquet"),
        "parquet",
        write_parquet,
        is_packed=True,
    ),
    Format("application/vnd.apache.arrow.stream", ("arrow",), "arrows", write_arrow),
    Format("application/json", ("json",), "json", write_json),
    Format("application/x-ndjson", ("jsonl", "ndjson", "application/jsonl"), "jsonl", write_jsonl),
    Format("text/html", ("html",), "html", write_html),
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
    is_literal = MEDIA_TYPE.fullmatch(asked) and not asked.startswith(SHORT_VOTABLE)
    return Writer(asked if is_literal else form.media_type, form.extension, form.write, form.is_packed, form.separator)


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
