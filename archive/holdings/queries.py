"""Every question asked of the holdings' files, and the one way in for a new version.

Each function takes a connection and gives domain values back; beginning and ending the transaction is the caller's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from archive.holdings.model import DataProduct, Rights, StoredFile
from archive.holdings.tables import arc
from storage.catalogue import next_version

Outcome = Literal["accepted", "unchanged", "new_version"]
_NOT_COLUMNS = {"s_region", "release_date", "progenitors", "rights"}


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A version of a file, as far as finding, guarding and sending it needs."""

    file_id: str
    version: int
    kind: str
    obs_publisher_did: str
    obs_collection: str
    proposal_id: str | None
    dataproduct_type: str | None
    instrument_name: str | None
    object_key: str
    file_name: str
    media_type: str
    size_bytes: int
    sha256: str
    md5: str
    arrived: datetime
    last_mod: datetime
    release_date: datetime | None
    rights: Rights
    source: str
    superseded: bool


_HELD = (
    arc.file.c.file_id,
    arc.file.c.version,
    arc.file.c.kind,
    arc.file.c.obs_publisher_did,
    arc.file.c.obs_collection,
    arc.file.c.proposal_id,
    arc.file.c.dataproduct_type,
    arc.file.c.instrument_name,
    arc.file.c.object_key,
    arc.file.c.file_name,
    arc.file.c.media_type,
    arc.file.c.file_size.label("size_bytes"),
    arc.file.c.sha256,
    arc.file.c.md5,
    arc.file.c.arrived,
    arc.file.c.last_mod,
    arc.file.c.release_date,
    arc.file.c.rights,
    arc.file.c.source,
    arc.file.c.superseded_at.is_not(None).label("superseded"),
)


def _held(row: Any) -> HeldFile:
    return HeldFile(**row._mapping)


def publisher_did(authority: str, file_id: str) -> str:
    """The IVOA identifier of a data set of this archive (domain 2)."""
    return f"ivo://{authority}/ID?{file_id}"


def file(connection: Connection, file_id: str, version: int | None = None) -> HeldFile | None:
    """One version of a file; the current one if none is named. None: not held, or withdrawn with all its versions."""
    c = arc.file.c
    current = arc.file.alias().c
    held = exists().where(current.file_id == c.file_id, current.superseded_at.is_(None))
    which = c.superseded_at.is_(None) if version is None else and_(c.version == version, held)
    row = connection.execute(select(*_HELD).where(c.file_id == file_id, which)).one_or_none()
    return _held(row) if row else None


def file_from(connection: Connection, source: str, collection: str, sha256: str) -> HeldFile | None:
    """The current file of these bytes that came from this place into this collection; None if there is none."""
    c = arc.file.c
    asked = (c.sha256 == sha256, c.source == source, c.obs_collection == collection, c.superseded_at.is_(None))
    row = connection.execute(select(*_HELD).where(*asked).limit(1)).one_or_none()
    return _held(row) if row else None


def files_by_did(connection: Connection, dids: Sequence[str]) -> dict[str, HeldFile]:
    """The current files behind publisher DIDs; unknown ones are left out. One query, however many."""
    c = arc.file.c
    rows = connection.execute(select(*_HELD).where(c.obs_publisher_did.in_(dids), c.superseded_at.is_(None)))
    return {row.obs_publisher_did: _held(row) for row in rows}


def files(connection: Connection, *conditions: ColumnElement[bool], limit: int) -> list[HeldFile]:
    """The first versions of files that fit conditions on arc.file, by file_id."""
    return [
        _held(row)
        for row in connection.execute(select(*_HELD).where(*conditions).order_by(arc.file.c.file_id).limit(limit))
    ]


def published_tables(connection: Connection, file_id: str) -> tuple[str, ...]:
    """The tables that were read from a file; their columns stay as they were read."""
    c = arc.published.c
    return tuple(connection.execute(select(c.table_name).where(c.file_id == file_id).order_by(c.table_name)).scalars())


def secure_files(connection: Connection, file_ids: Sequence[str]) -> set[str]:
    """Of these files, those whose very existence is protected, in any of their versions."""
    c = arc.file.c
    return set(connection.execute(select(c.file_id).where(c.file_id.in_(file_ids), c.rights == "secure")).scalars())


def resolve(connection: Connection, name: str) -> str | None:
    """The file_id that a name stands for: a file_id, a publisher DID, or an alias of a file."""
    c = arc.file.c
    found = connection.execute(
        select(c.file_id).where(or_(c.file_id == name, c.obs_publisher_did == name)).limit(1)
    ).scalar()
    if found is None:
        found = connection.execute(select(arc.alias.c.target).where(arc.alias.c.alias == name).limit(1)).scalar()
    return found


def header(connection: Connection, file_id: str, version: int) -> list[dict[str, Any]]:
    """The header cards of all HDUs, as they were described."""
    c = arc.file.c
    found = connection.execute(select(c.header).where(c.file_id == file_id, c.version == version)).scalar_one()
    return list(found or [])


def object_keys(connection: Connection) -> Iterator[str]:
    """Yield the key of every version's bytes: what the volumes should hold."""
    statement = select(arc.file.c.object_key).order_by(arc.file.c.object_key)
    yield from connection.execution_options(yield_per=10_000).execute(statement).scalars()


def lock(connection: Connection, file_id: str) -> None:
    """Until the transaction ends, nobody else makes a version of this file."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:file_id, 0))"), {"file_id": file_id})


def add_version(
    connection: Connection, product: DataProduct, stored: StoredFile, *, authority: str, now: datetime
) -> tuple[Outcome, int]:
    """Write a file's row under `lock`: equal bytes change nothing, other bytes make the next version.

    Returns what happened and the version that is current now.
    """
    c = arc.file.c
    current = connection.execute(
        select(c.version, c.sha256).where(c.file_id == product.file_id, c.superseded_at.is_(None))
    ).one_or_none()
    if current is not None and current.sha256 == stored.sha256:
        return "unchanged", current.version
    last = connection.execute(select(func.max(c.version)).where(c.file_id == product.file_id)).scalar()
    # Of a withdrawn file too, which has versions and no current one, or, if it was purged, only the store's tombstones.
    version = max((last or 0) + 1, next_version(connection, product.file_id))
    if current is not None:
        connection.execute(
            update(arc.file)
            .where(and_(c.file_id == product.file_id, c.version == current.version))
            .values(superseded_at=now, last_mod=now)
        )
    connection.execute(insert(arc.file).values(_row(product, stored, version, authority, now)))
    add_aliases(connection, product)
    return ("accepted" if version == 1 else "new_version"), version


def add_aliases(connection: Connection, product: DataProduct) -> None:
    """The names that others know the file by; those that it had before stay."""
    for name, kind in ((product.origfile, "origfile"), (product.obs_creator_did, "did")):
        if name:
            row = {"alias": name, "kind": kind, "target": product.file_id}
            connection.execute(insert(arc.alias).values(row).on_conflict_do_nothing())


def described(product: DataProduct) -> dict[str, Any]:
    """What of a row its file tells: column to value, without rights and dates, which the archive decides on."""
    values = {name: value for name, value in asdict(product).items() if name not in _NOT_COLUMNS}
    galactic = None
    if product.s_ra is not None and product.s_dec is not None:
        # astropy.coordinates takes half a second to import; processes that describe nothing do not wait for it.
        from astropy.coordinates import SkyCoord

        galactic = SkyCoord(product.s_ra, product.s_dec, unit="deg", frame="icrs").galactic
    return values | {
        "progenitors": list(product.progenitors),
        "s_region": product.s_region.as_array() if product.s_region else None,
        "gal_lon": float(galactic.l.deg) if galactic is not None else None,
        "gal_lat": float(galactic.b.deg) if galactic is not None else None,
    }


def _row(product: DataProduct, stored: StoredFile, version: int, authority: str, now: datetime) -> dict[str, Any]:
    return described(product) | {
        "version": version,
        "rights": product.rights,
        "obs_publisher_did": publisher_did(authority, product.file_id),
        "file_id_encoded": quote(product.file_id, safe="/:"),
        "object_key": stored.object_key,
        "file_name": stored.file_name,
        "source": stored.source,
        "media_type": stored.media_type,
        "file_size": stored.size_bytes,
        "sha256": stored.sha256,
        "md5": stored.md5,
        "arrived": now,
        "last_mod": now,
        # What is public without a date is so from the moment it is here; what is proprietary without one stays so.
        "release_date": product.release_date or (now if product.rights == "public" else None),
    }


def counts(connection: Connection) -> dict[str, int]:
    """What the archive holds: files, bytes, collections."""
    c = arc.file.c
    row = connection.execute(
        select(
            func.count().label("files"),
            func.coalesce(func.sum(c.file_size), 0).label("bytes"),
            func.count(c.obs_collection.distinct()).label("collections"),
        ).where(c.superseded_at.is_(None))
    ).one()
    return {"files": row.files, "bytes": int(row.bytes), "collections": row.collections}


def utc(moment: datetime) -> datetime:
    """A moment in UTC, whatever zone it was given in; without one it is taken as UTC, as FITS means it."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
