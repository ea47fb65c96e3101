"""Journey (i): a file, from where it was offered to a row of ivoa.obscore and an object in the store.

Object first, row second, farewell third, each step repeatable: a crash leaves at worst an object without a row, which
`scrub` finds, and never a row that promises bytes that are not there.
"""

import hashlib
import logging
import os
import stat
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine

from archive.holdings import catalogues, queries, withdrawal
from archive.holdings.model import DataProduct, StoredFile
from archive.holdings.previews import is_pictured
from archive.sphere.sphere import Sphere
from archive.vo.errors import ArchiveError
from archive.vo.origin import Origin
from ingest import failures
from ingest.catalogues.model import Catalogue
from ingest.describe import describe_path
from ingest.describe.facts import Description, RefusedError
from ingest.dropfolder import is_finished, printable
from ingest.findings import Finding, errors
from ingest.instruments import Mapping
from storage.catalogue import add_object
from storage.checksums import Expected
from storage.errors import ChecksumMismatch, StorageError
from storage.feed import append_event
from storage.labels import Label
from storage.service import ObjectStore, StoredObject

log = logging.getLogger(__name__)
Seam = Literal["claim", "hash", "rename", "row", "farewell"]
Outcome = Literal["accepted", "unchanged", "new_version", "quarantined"]
ATTEMPTS = 3  # at a transaction that a deadlock ended
FILE_ID_BYTES = 1000  # an index of PostgreSQL takes 2704 bytes, a URL of some servers 2048 characters
UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # Unicode's categories: control, lone bytes of no UTF-8, line, paragraph


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
        queue_preview: Callable[[Connection, str, int], None] = lambda connection, file_id, version: None,
        passed: Callable[[Seam], None] = lambda seam: None,
    ) -> None:
        """replace: a file of the same name from elsewhere is a new version, not a mistake.

        queue_preview: called in the transaction that records a version which is something to look at.
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
        self._queue_preview = queue_preview
        self._passed = passed

    def take(self, offer: Offer) -> Report:
        """Take one file in; what is wrong with it is in the report, what is wrong with the archive is raised.

        Raises UnavailableError (the database, the machine) and StorageError; whatever else goes wrong is the file's.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._take(offer)
            except RefusedError as refusal:
                return self._report(offer, "quarantined", None, None, refusal.findings)
            except Exception as error:
                if failures.is_transient(error) and attempt < ATTEMPTS:
                    log.info("%s: once more after: %s", printable(offer.source), error)
                    continue
                failure = failures.of_the_archive(error)
                if failure is not None:
                    raise failure from error
                finding = failures.of_the_file(error)
                if finding.code == "internal_error":
                    log.exception("%s: an error that nobody thought of", printable(offer.source))
                return self._report(offer, "quarantined", None, None, (finding,))
        raise AssertionError("the loop above returns or raises")

    def _take(self, offer: Offer) -> Report:
        _check_name(offer)
        self._check_file(offer)
        sha256 = _sha256(offer.path)
        self._passed("hash")
        with self._writer.connect() as connection:
            known = queries.file_from(connection, printable(offer.source), offer.collection, sha256)
        if known is not None:  # the very bytes from the very place: what they are was told when they came
            return self._report(offer, "unchanged", known.file_id, known.version, ())
        description = describe_path(
            offer.path,
            collection=offer.collection,
            relative_path=offer.relative_path,
            mappings=self._mappings,
            authority=self._authority,
        )
        if errors(description.findings):
            raise RefusedError(offer.source, tuple(description.findings))
        try:
            return self._keep(offer, description, sha256)
        except RefusedError as refusal:
            raise RefusedError(offer.source, (*description.findings, *refusal.findings)) from refusal

    def _keep(self, offer: Offer, description: Description, sha256: str) -> Report:
        product, findings = description.product, tuple(description.findings)
        with self._writer.connect() as connection:
            current = queries.file(connection, product.file_id)
        if current is not None and current.sha256 == sha256:
            return self._report(offer, "unchanged", product.file_id, current.version, findings)
        self._refuse_taken_name(offer, product.file_id, current)
        self._refuse_withdrawn(offer, product.file_id, sha256)
        try:
            with offer.path.open("rb") as stream:
                stored = self._store.store(stream, expected=Expected(sha256=sha256))
        except ChecksumMismatch:
            raise _refused(offer, "file_changed", "it changed while it was read", "offer it when written") from None
        self._passed("rename")
        try:
            with self._writer.begin() as connection:
                outcome, version, more = self._record(connection, offer, description, stored)
        except Exception as error:
            # Where the answer to COMMIT was lost the row may be there: then the bytes stay, and scrub judges.
            if failures.rolled_back(error):
                self._forget(stored.key)
            raise
        if outcome == "unchanged":  # another process was faster with the same bytes
            self._forget(stored.key)
        self._passed("row")
        return self._report(offer, outcome, product.file_id, version, (*findings, *more))

    def _record(
        self, connection: Connection, offer: Offer, description: Description, stored: StoredObject
    ) -> tuple[Outcome, int, tuple[Finding, ...]]:
        """One transaction: rows of the file, its object and its catalogue's table; the event; its preview's job."""
        product = description.product
        queries.lock(connection, product.file_id)
        self._refuse_taken_name(offer, product.file_id, queries.file(connection, product.file_id), stored.sha256)
        bytes_ = StoredFile(
            object_key=stored.key,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            md5=stored.md5,
            media_type=description.media_type,
            file_name=Path(offer.relative_path).name,
            source=printable(offer.source),
        )
        now = datetime.now(UTC)
        outcome, version = queries.add_version(connection, product, bytes_, authority=self._authority, now=now)
        if outcome == "unchanged":
            return outcome, version, ()
        made = add_object(
            connection, stored, file_id=product.file_id, version=version, media_type=description.media_type
        )
        self._store.label(stored.key, Label.of(made).write(), volume=stored.volume)
        more = self._publish(connection, description.catalogue, product, now) if description.catalogue else ()
        detail = {"outcome": outcome, "sha256": stored.sha256, "size_bytes": stored.size_bytes}
        append_event(connection, "archived", product.file_id, version, detail)
        if is_pictured(description.media_type, product.dataproduct_type):
            self._queue_preview(connection, product.file_id, version)
        return outcome, version, more

    def _publish(
        self, connection: Connection, catalogue: Catalogue, product: DataProduct, now: datetime
    ) -> tuple[Finding, ...]:
        """Make a catalogue's table, for everybody: so only of one that everybody may have."""
        if product.rights != "public" or (product.release_date is not None and product.release_date > now):
            return (Finding("info", "table_not_public", "table", "its rows are not published: the file is not public"),)
        wanted, file_id = catalogue.table.name, product.file_id
        name = catalogues.name_for(connection, wanted, file_id)
        # What the file says of its own origin, else of the product that it is.
        known = {"creator": product.obs_creator_name, "article": product.bib_reference}
        origin = Origin.from_items(known | catalogue.table.origin.items())
        table = replace(catalogue.table, name=name, origin=origin)
        catalogues.create(connection, table, catalogue.batches, self._sphere, reader=self._reader_role, file_id=file_id)
        if name == wanted:
            return ()
        return (Finding("info", "table_renamed", "table", f"published as {name}: another file's table is {wanted}"),)

    def _refuse_taken_name(
        self, offer: Offer, file_id: str, current: queries.HeldFile | None, sha256: str | None = None
    ) -> None:
        """Two different files of one name from two places are never versions of one."""
        named_by_path = file_id == f"{offer.collection}/{offer.relative_path}"
        if current is None or not named_by_path or self._replace or current.source == printable(offer.source):
            return
        if current.sha256 == sha256:
            return
        raise _refused(
            offer,
            "name_taken",
            f"another file is called {file_id}; it came from {current.source}",
            "give another --collection or --root, or --replace if this is its next version",
        )

    def _refuse_withdrawn(self, offer: Offer, file_id: str, sha256: str) -> None:
        """The next run over the same folder does not undo what an operator decided."""
        with self._writer.connect() as connection:
            if not withdrawal.is_withdrawn(connection, file_id, sha256):
                return
        raise _refused(offer, "withdrawn", f"these bytes of {file_id} were withdrawn", "offer the mended file")

    def _check_file(self, offer: Offer) -> None:
        status = offer.path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _refused(offer, "unreadable", "this folder cannot be listed", "make it readable and executable")
        if not stat.S_ISREG(status.st_mode):
            raise _refused(offer, "not_a_file", "it is a pipe, a socket or a device", "offer a file")
        if status.st_size > self._max_file_bytes:
            what = f"{status.st_size} bytes; at most {self._max_file_bytes} are taken in"
            raise _refused(offer, "too_large", what, "raise ingest.max_file_gib")

    def _forget(self, key: str) -> None:
        """Remove an object that got no row; what cannot be removed now is scrub's to find."""
        try:
            self._store.delete(key)
        except StorageError as error:
            log.warning("object %s has no row and cannot be removed: %s", key, error)

    def _report(
        self, offer: Offer, outcome: Outcome, file_id: str | None, version: int | None, findings: Sequence[Finding]
    ) -> Report:
        source = printable(offer.source)
        log.info("%s: %s %s", source, outcome, file_id or "")
        return Report(source, outcome, file_id, version, tuple(findings))


def offers(paths: Sequence[Path], *, collection: str | None, root: Path | None, default_collection: str) -> list[Offer]:
    """The files below the paths, each with the collection and the name it would go by.

    A folder's first level of folders are its collections (`survey/field1/x.fits` of folder `.` is `field1/x.fits` in
    collection survey), unless `collection` is given; files beside them belong to a collection of the folder's own name,
    a file named by itself to the default one. A path is relative to `root`, else to the folder that was named, else (a
    file named by itself) absolute. Of a folder, hidden and unfinished files (`.part`) are left alone.
    """
    found: list[Offer] = []
    for path in (each.absolute() for each in paths):
        if not path.exists():
            raise ArchiveError(f"{path}: there is no such file or folder")
        base = (root.absolute() if root else None) or (path if path.is_dir() else Path(path.anchor))
        if not path.is_relative_to(base):
            raise ArchiveError(f"{path} does not lie below {base}: name a --root that it lies in")
        default = path.name if path.is_dir() and path.name else default_collection
        folders = path.is_dir() or root is not None
        found += [
            offer(each, each.relative_to(base).as_posix(), str(each), collection, default, folders=folders)
            for each in (_inside(path) if path.is_dir() else [path])
        ]
    return found


def _inside(folder: Path) -> list[Path]:
    """All finished files below a folder, sorted; and folders that cannot be listed, so that a report tells of them."""
    found: list[Path] = []

    def unlisted(error: OSError) -> None:
        found.append(Path(error.filename))

    for top, folders, names in os.walk(folder, onerror=unlisted):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(top) / name for name in names if is_finished(name)]
    return sorted(found)


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


def _check_name(offer: Offer) -> None:
    """A name becomes a file_id, part of URLs, of IVOIDs and of reports: it must be text, and of some length only."""
    name = f"{offer.collection}/{offer.relative_path}"
    if any(unicodedata.category(each) in UNPRINTABLE for each in name):
        what = f"its name holds control characters, or bytes that are no UTF-8: {printable(name)}"
        raise _refused(offer, "name_unprintable", what, "rename it")
    size = len(name.encode())
    if size > FILE_ID_BYTES:
        what = f"its name with folders has {size} bytes; a file_id has at most {FILE_ID_BYTES}"
        raise _refused(offer, "name_too_long", what, "rename it, or name a --root nearer to it")


def _refused(offer: Offer, code: str, what: str, mend: str) -> RefusedError:
    return RefusedError(printable(offer.source), (Finding("error", code, "file", what, mend),))
