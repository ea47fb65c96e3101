"""What is asked of the previews of files: rows of arc.preview. Their bytes are the store's.

Each function takes a connection, whose transaction is the caller's. A preview's rights are its file's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, delete, exists, insert, select, tuple_

from archive.holdings.tables import arc

Role = Literal["preview", "thumbnail"]
# Of what is a FITS file, these have something to look at.
PICTURED_TYPES = ("image", "cube", "spectrum")


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of one version of a file. width, height: pixels."""

    file_id: str
    version: int
    role: Role
    object_key: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    sha256: str
    md5: str
    made: datetime


_ALL = tuple(arc.preview.c[name] for name in Preview.__dataclass_fields__)


def of_file(connection: Connection, file_id: str, version: int, role: Role) -> Preview | None:
    """The picture in this role; None: there is none, or not yet."""
    c = arc.preview.c
    row = connection.execute(
        select(*_ALL).where(c.file_id == file_id, c.version == version, c.role == role)
    ).one_or_none()
    return Preview(**row._mapping) if row else None


def of_files(connection: Connection, files: Sequence[tuple[str, int]]) -> dict[tuple[str, int], list[Preview]]:
    """The pictures of many versions (file_id, version), the preview before the thumbnail. One query."""
    c = arc.preview.c
    found: dict[tuple[str, int], list[Preview]] = {}
    if not files:
        return found
    rows = connection.execute(select(*_ALL).where(tuple_(c.file_id, c.version).in_(files)).order_by(c.role))
    for row in rows:
        found.setdefault((row.file_id, row.version), []).append(Preview(**row._mapping))
    return found


def replace(connection: Connection, file_id: str, version: int, new: Sequence[Preview]) -> list[str]:
    """Put these in the place of the version's former pictures; the keys of those, whose objects may go."""
    c = arc.preview.c
    former = delete(arc.preview).where(c.file_id == file_id, c.version == version).returning(c.object_key)
    keys = list(connection.execute(former).scalars())
    if new:
        connection.execute(insert(arc.preview), [asdict(each) for each in new])
    return keys


def is_pictured(media_type: str, dataproduct_type: str | None) -> bool:
    """Whether a file of this type is something to look at."""
    return media_type == "application/fits" and dataproduct_type in PICTURED_TYPES


def pictured_files(connection: Connection, *, missing: bool) -> Iterator[tuple[str, int]]:
    """Yield (file_id, version) of the current files that are something to look at; missing: only those not drawn."""
    f, p = arc.file.c, arc.preview.c
    statement = select(f.file_id, f.version).where(
        f.superseded_at.is_(None), f.media_type == "application/fits", f.dataproduct_type.in_(PICTURED_TYPES)
    )
    if missing:
        statement = statement.where(~exists().where(p.file_id == f.file_id, p.version == f.version))
    for row in connection.execution_options(yield_per=1_000).execute(statement.order_by(f.file_id)):
        yield row.file_id, row.version
