"""Journey (i): a file, from where it was offered to a row of ivoa.obscore and an object in the store.

Object first, row second, farewell third, each step repeatable: a crash leaves at worst an object without a row, which
`scrub` finds, and never a row that promises bytes that are not there.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine

from archive.holdings import catalogues, queries
from archive.holdings.model import StoredFile
from archive.sphere.sphere import Sphere
from archive.vo.errors import ArchiveError
from ingest.describe import describe_path
from ingest.describe.facts import Description, RefusedError
from ingest.findings import Finding, errors
from ingest.instruments import Mapping
from storage.catalogue import add_object, append_event
from storage.checksums import Expected
from storage.errors import ChecksumMismatch
from storage.service import ObjectStore

log = logging.getLogger(__name__)
Seam = Literal["claim", "hash", "rename", "row", "farewell"]
Outcome = Literal["accepted", "unchanged", "new_version", "quarantined"]
_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one file: one line of `uraniborg ingest --json`."""

    path: str
    outcome: Outcome
    file_id: str | None
    version: int | None
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        found = [
            {"level": f.level, "code": f.code, "where": f.where, "what": f.what, "mend": f.mend} for f in self.findings
        ]
        return {
            "path": self.path,
            "outcome": self.outcome,
            "file_id": self.file_id,
            "version": self.version,
            "findings": found,
        }

    def as_text(self) -> str:
        """The report that lies beside a quarantined file."""
        lines = [f"{self.path}: {self.outcome}"]
        lines += [str(finding) for finding in self.findings]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that is offered: where it lies, and the name it goes by if its header gives it none.

    source tells two files of one name apart: the place it was offered from, not a claim's passing one.
    """

    path: Path
    collection: str
    relative_path: str
    source: str


class IngestService:
    """Takes files in, one at a time; many processes may do so at once."""

    def __init__(
        self,
        writer: Engine,
        store: ObjectStore,
        sphere: Sphere,
        *,
        mappings: Sequence[Mapping],
        authority: str,
        reader_role: str,
        max_file_bytes: int,
        replace: bool = False,
        passed: Callable[[Seam], None] = lambda seam: None,
    ) -> None:
        """replace: a file of the same name from elsewhere is a new version, not a mistake.

        passed: called as each seam is passed, so that a test can end the process there.
        """
        self._writer = writer
        self._store = store
        self._sphere = sphere
        self._mappings = mappings
        self._authority = authority
        self._reader_role = reader_role
        self._max_file_bytes = max_file_bytes
        self._replace = replace
        self._passed = passed

    def take(self, offer: Offer) -> Report:
        """Take one file in; what is wrong with it is in the report, what is wrong with the archive is raised."""
        try:
            self._check_size(offer)
            description = describe_path(
                offer.path,
                collection=offer.collection,
                relative_path=offer.relative_path,
                mappings=self._mappings,
                authority=self._authority,
            )
        except RefusedError as refusal:
            return self._report(offer, "quarantined", None, None, refusal.findings)
        if errors(description.findings):
            return self._report(offer, "quarantined", None, None, description.findings)
        return self._keep(offer, description)

    def _keep(self, offer: Offer, description: Description) -> Report:
        product, findings = description.product, tuple(description.findings)
        sha256 = _sha256(offer.path)
        self._passed("hash")
        with self._writer.connect() as connection:
            current = queries.file(connection, product.file_id)
        if current is not None and current.sha256 == sha256:
            return self._report(offer, "unchanged", product.file_id, current.version, findings)
        taken = self._name_taken(offer, product.file_id, current)
        if taken is not None:
            return self._report(offer, "quarantined", None, None, (*findings, taken))
        try:
            with offer.path.open("rb") as stream:
                stored = self._store.store(stream, expected=Expected(sha256=sha256))
        except ChecksumMismatch:
            finding = Finding("error", "file_changed", "file", "it changed while it was read", "offer it when written")
            return self._report(offer, "quarantined", None, None, (*findings, finding))
        self._passed("rename")
        bytes_ = StoredFile(
            object_key=stored.key,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            md5=stored.md5,
            media_type=description.media_type,
            file_name=Path(offer.relative_path).name,
            source=offer.source,
        )
        with self._writer.begin() as connection:
            outcome, version = self._record(connection, description, bytes_)
            if outcome != "unchanged":
                add_object(connection, stored)
        if outcome == "unchanged":  # another process was faster with the same bytes
            self._store.delete(stored.key)
        self._passed("row")
        return self._report(offer, outcome, product.file_id, version, findings)

    def _record(self, connection: Connection, description: Description, stored: StoredFile) -> tuple[Outcome, int]:
        """One transaction: the file's row, its catalogue if it is one, and the event that tells of it."""
        product = description.product
        queries.lock(connection, product.file_id)
        now = datetime.now(UTC)
        outcome, version = queries.add_version(connection, product, stored, authority=self._authority, now=now)
        if outcome == "unchanged":
            return outcome, version
        if description.catalogue is not None:
            catalogue = description.catalogue
            catalogues.create(
                connection,
                catalogue.table,
                catalogue.batches,
                self._sphere,
                reader=self._reader_role,
                file_id=product.file_id,
            )
        detail = {"outcome": outcome, "sha256": stored.sha256, "size_bytes": stored.size_bytes}
        append_event(connection, "archived", product.file_id, version, detail)
        return outcome, version

    def _name_taken(self, offer: Offer, file_id: str, current: queries.HeldFile | None) -> Finding | None:
        """Two different files of one name from two places are never versions of one."""
        named_by_path = file_id == f"{offer.collection}/{offer.relative_path}"
        if current is None or not named_by_path or self._replace or current.source == offer.source:
            return None
        return Finding(
            "error",
            "name_taken",
            "file",
            f"another file is called {file_id}; it came from {current.source}",
            "give another --collection or --root, or --replace if this is its next version",
        )

    def _check_size(self, offer: Offer) -> None:
        size = offer.path.stat().st_size
        if size > self._max_file_bytes:
            what = f"{size} bytes; at most {self._max_file_bytes} are taken in"
            finding = Finding("error", "too_large", "file", what, "raise ingest.max_file_gib")
            raise RefusedError(str(offer.path), (finding,))

    def _report(
        self, offer: Offer, outcome: Outcome, file_id: str | None, version: int | None, findings: Sequence[Finding]
    ) -> Report:
        log.info("%s: %s %s", offer.source, outcome, file_id or "")
        return Report(offer.source, outcome, file_id, version, tuple(findings))


def offers(paths: Sequence[Path], *, collection: str | None, root: Path | None, default_collection: str) -> list[Offer]:
    """The files below the paths, each with the collection and the name it would go by.

    A folder's first level of folders are its collections (`survey/field1/x.fits` of folder `.` is `field1/x.fits` in
    collection survey), unless `collection` is given; a file without one is in the default collection. A path is
    relative to `root`, else to the folder that was named, else (a file named by itself) absolute.
    """
    found: list[Offer] = []
    for path in (each.absolute() for each in paths):
        if not path.exists():
            raise ArchiveError(f"{path}: there is no such file or folder")
        base = (root.absolute() if root else None) or (path if path.is_dir() else Path(path.anchor))
        inside = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        for each in inside:
            if any(part.startswith(".") for part in each.relative_to(path).parts):
                continue
            found.append(offer(each, each.relative_to(base).as_posix(), str(each), collection, default_collection,
                               folders=path.is_dir() or root is not None))  # fmt: skip
    return found


def offer(
    path: Path,
    relative_path: str,
    source: str,
    collection: str | None,
    default_collection: str,
    *,
    folders: bool = True,
) -> Offer:
    """Name one file; folders: the first part of its relative path is its collection if none is given."""
    first, slash, rest = relative_path.partition("/")
    if collection is None and folders and slash:
        return Offer(path, first, rest, source)
    return Offer(path, collection or default_collection, relative_path, source)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
