"""What a data set's links are, and its files for those who may have them."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from sqlalchemy import Engine

from archive.access.identity import User
from archive.access.rights import Decision, ProductFacts
from archive.access.service import AccessService
from archive.holdings import queries
from archive.holdings.queries import HeldFile
from archive.vo.errors import NotFoundError
from datalink.links import Link, fault
from storage.service import ObjectStore

_DID = "ivo://"


@dataclass(frozen=True, slots=True)
class Links:
    """Rows for the IDs that were processed; overflow: there were more IDs than one request may name (DL-02)."""

    rows: tuple[Link, ...]
    overflow: bool


class DataLinkService:
    """Answers for data sets by publisher DID, and for files by file_id."""

    def __init__(self, engine: Engine, access: AccessService, store: ObjectStore, *, max_ids: int) -> None:
        self._engine = engine
        self._access = access
        self._store = store
        self._max_ids = max_ids

    def links(self, ids: Sequence[str], user: User, public_url: str) -> Links:
        """The links of each ID, in the order asked; an unknown one becomes a row that says so."""
        asked = list(ids[: self._max_ids])
        with self._engine.connect() as connection:
            found = queries.files_by_did(connection, [did for did in asked if "\0" not in did])
        files = [found.get(did) for did in asked]
        decisions = self._access.decide_all(user, [facts(file) for file in files if file is not None])
        decided = dict(zip((file.file_id for file in files if file is not None), decisions, strict=True))
        rows = tuple(
            self._this(did, file, decided[file.file_id], public_url)
            if file is not None and _known(file, decided[file.file_id])
            else fault(did, NotFoundError(did))
            for did, file in zip(asked, files, strict=True)
        )
        return Links(rows, overflow=len(ids) > len(asked))

    def file(self, name: str, version: int | None, user: User) -> HeldFile:
        """A file that the user may download; NotFoundError or ProprietaryError otherwise."""
        file = self._held(name, version, user)
        self._access.demand(user, facts(file))
        return file

    def header(self, name: str, version: int | None, user: User) -> tuple[HeldFile, list[dict[str, object]]]:
        """The header cards of a file's HDUs: public as soon as the file may be known of (domain 6.1)."""
        file = self._held(name, version, user)
        with self._engine.connect() as connection:
            return file, queries.header(connection, file.file_id, file.version)

    def _held(self, name: str, version: int | None, user: User) -> HeldFile:
        if "\0" in name:  # which PostgreSQL cannot even be asked for
            raise NotFoundError("there is no file in this archive whose name has a NUL in it")
        with self._engine.connect() as connection:
            file = queries.file(connection, name, version)
            if file is None:
                resolved = queries.resolve(connection, name)
                file = queries.file(connection, resolved, version) if resolved else None
        which = f" in version {version}" if version is not None else ""
        if file is None or not _known(file, self._access.decide(user, facts(file))):
            raise NotFoundError(f"there is no file {name}{which} in this archive; arc.file lists those there are")
        return file

    @staticmethod
    def _this(did: str, file: HeldFile, decision: Decision, public_url: str) -> Link:
        is_public = decision.reason == "public"
        until = f", proprietary until {decision.public_from:%Y-%m-%d}" if decision.public_from else ", proprietary"
        return Link(
            id=did,
            semantics="#this",
            access_url=f"{public_url}/files/{quote(file.file_id, safe='/:')}",
            description=f"{file.file_name}{'' if is_public else until}",
            content_type=file.media_type,
            content_length=file.size_bytes,
            content_qualifier=file.dataproduct_type,
            link_auth="false" if is_public else "true",
            link_authorized=decision.allowed,
        )


def facts(file: HeldFile) -> ProductFacts:
    """What a decision about a held file rests on."""
    return ProductFacts(
        file_id=file.file_id,
        rights=file.rights,
        release_date=file.release_date,
        obs_collection=file.obs_collection,
        proposal_id=file.proposal_id,
        instrument_name=file.instrument_name,
    )


def _known(file: HeldFile, decision: Decision) -> bool:
    """Whether who asks may know that the file exists: a secure one is not there for those who may not have it."""
    return file.rights != "secure" or decision.allowed
