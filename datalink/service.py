"""What a data set's links are, and its files for those who may have them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from sqlalchemy import Engine

from archive.access.identity import User
from archive.access.objects import facts
from archive.access.rights import Decision
from archive.access.service import AccessService
from archive.holdings import previews, queries
from archive.holdings.previews import Preview, Role
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
            pictures = previews.of_files(connection, [(each.file_id, each.version) for each in found.values()])
        files = [found.get(did) for did in asked]
        decisions = self._access.decide_all(user, [facts(file) for file in files if file is not None])
        decided = dict(zip((file.file_id for file in files if file is not None), decisions, strict=True))
        rows: list[Link] = []
        for did, file in zip(asked, files, strict=True):
            if file is None or not _known(file, decided[file.file_id]):
                rows.append(fault(did, NotFoundError(did)))
                continue
            decision = decided[file.file_id]
            rows.append(self._this(did, file, decision, public_url))
            drawn = pictures.get((file.file_id, file.version), [])
            rows += [_picture(did, file, each, decision, public_url) for each in drawn]
        return Links(tuple(rows), overflow=len(ids) > len(asked))

    def file(self, name: str, version: int | None, user: User) -> HeldFile:
        """A file that the user may download; NotFoundError or ProprietaryError otherwise."""
        file = self._held(name, version, user)
        self._access.demand(user, facts(file))
        return file

    def picture(self, name: str, role: Role, version: int | None, user: User) -> tuple[HeldFile, bool]:
        """A file's picture as a file of its own, and whether everybody may have it; errors as file()'s."""
        file = self._held(name, version, user)
        decision = self._access.demand(user, facts(file), role)
        with self._engine.connect() as connection:
            found = previews.of_file(connection, file.file_id, file.version, role)
        if found is None:
            raise NotFoundError(f"there is no {role} of {file.file_id}, or not yet; /files/{file.file_id} is the file")
        picture = replace(
            file,
            object_key=found.object_key,
            file_name=f"{file.file_name}.{role}.png",
            media_type=found.media_type,
            size_bytes=found.size_bytes,
            sha256=found.sha256,
            md5=found.md5,
            arrived=found.made,
        )
        return picture, decision.reason == "public"

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


def _picture(did: str, file: HeldFile, picture: Preview, decision: Decision, public_url: str) -> Link:
    is_public = decision.reason == "public"
    return Link(
        id=did,
        semantics=f"#{picture.role}",
        local_semantics=f"#{picture.role}",
        access_url=f"{public_url}/{picture.role}s/{quote(file.file_id, safe='/:')}",
        description=f"{picture.role.capitalize()} of {file.file_name}, {picture.width} x {picture.height} pixels",
        content_type=picture.media_type,
        content_length=picture.size_bytes,
        content_qualifier="image",
        link_auth="false" if is_public else "true",
        link_authorized=decision.allowed,
    )


def _known(file: HeldFile, decision: Decision) -> bool:
    """Whether who asks may know that the file exists: a secure one is not there for those who may not have it."""
    return file.rights != "secure" or decision.allowed
