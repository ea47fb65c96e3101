"""What hangs on a data set, as rows of {links} (DataLink 1.1 §3.2). Pure: who may have what was decided before.

The table's columns are declared here once, with the standard's UCDs (DL-04).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from archive.vo.columns import Column
from archive.vo.errors import ArchiveError

STANDARD_ID = "ivo://ivoa.net/std/DataLink#links-1.1"
MEDIA_TYPE = "application/x-votable+xml;content=datalink"
CORE = "http://www.ivoa.net/rdf/datalink/core"


def _text(name: str, ucd: str, description: str) -> Column:
    return Column(name=name, datatype="char", arraysize="*", ucd=ucd, description=description)


COLUMNS = (
    _text("ID", "meta.id;meta.main", "Publisher DID of the data set, as it was asked for"),
    _text("access_url", "meta.ref.url", "Where to get what this row is about"),
    _text("service_def", "meta.ref", "Which service descriptor of this document gives it"),
    _text("error_message", "meta.code.error", "Why there is nothing to get"),
    _text("description", "meta.note", "What it is, for people"),
    _text("semantics", "meta.code", f"What it is to the data set: a term of {CORE}"),
    _text("local_semantics", "meta.code", "The same in this archive's own words: #preview, #thumbnail"),
    _text("content_type", "meta.code.mime", "Media type of what access_url gives"),
    Column("content_length", "long", unit="byte", ucd="phys.size;meta.file", description="Size of what it gives"),
    _text("content_qualifier", "meta.code", "Kind of product that access_url gives"),
    _text("link_auth", "meta.code", "Whether getting it takes a token: false, optional or true"),
    Column("link_authorized", "boolean", ucd="meta.code", description="Whether who asked for this document may get it"),
)


@dataclass(frozen=True, slots=True)
class Link:
    """One row; exactly one of access_url, service_def, error_message (DL-05)."""

    id: str
    semantics: str
    access_url: str | None = None
    service_def: str | None = None
    error_message: str | None = None
    description: str | None = None
    local_semantics: str | None = None
    content_type: str | None = None
    content_length: int | None = None
    content_qualifier: str | None = None
    link_auth: str | None = None
    link_authorized: bool | None = None

    def __post_init__(self) -> None:
        given = [self.access_url, self.service_def, self.error_message]
        if sum(one is not None for one in given) != 1:
            raise ValueError(f"a link has exactly one of access_url, service_def and error_message: {self}")

    def as_row(self) -> tuple[object, ...]:
        """Values in the order of COLUMNS."""
        return (
            self.id,
            self.access_url,
            self.service_def,
            self.error_message,
            self.description,
            self.semantics,
            self.local_semantics,
            self.content_type,
            self.content_length,
            self.content_qualifier,
            self.link_auth,
            self.link_authorized,
        )


def fault(id_: str, error: ArchiveError) -> Link:
    """The row of an ID that cannot be answered: the standard's word for the fault, then why (DL-08)."""
    return Link(id=id_, semantics="#this", error_message=f"{error.fault}: {error}")


def columns_of(links: Sequence[Link]) -> list[list[object]]:
    """The rows turned to columns, in the order of COLUMNS."""
    return [list(values) for values in zip(*(link.as_row() for link in links), strict=True)] or [[] for _ in COLUMNS]
