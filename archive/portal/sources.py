"""What the portal asks: nothing that a client could not ask. The front door gives it each of these.

The rooms that answer (tap, datalink, hips) stand above the archive, so they are known here by what is asked of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from archive.access.identity import User


class Ask(Protocol):
    """A query in ADQL, as /tap/sync answers it; at most maxrec rows. Errors as TAP's."""

    def __call__(self, adql: str, *, maxrec: int) -> pa.Table: ...


@dataclass(frozen=True, slots=True)
class DataLink:
    """A row of {links} (DataLink 1.1 §3.2): what a page shows of it. size_bytes: None if it is not known."""

    semantics: str
    local_semantics: str | None
    access_url: str
    description: str
    content_type: str | None
    size_bytes: int | None
    authorized: bool

    def means(self, semantics: str) -> bool:
        return semantics in (self.semantics, self.local_semantics)


class LinksOf(Protocol):
    """The links of publisher DIDs for a user, as /datalink/links tells them; an unknown one is left out."""

    def __call__(self, dids: Sequence[str], user: User) -> Mapping[str, Sequence[DataLink]]: ...


class Surveys(Protocol):
    """The archive's HiPS: the name of each with its properties (HiPS 1.0 §4.4.1)."""

    def __call__(self) -> Sequence[tuple[str, Mapping[str, str]]]: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """All that the portal is given."""

    ask: Ask
    links: LinksOf
    surveys: Surveys
