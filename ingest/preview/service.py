"""Making previews of held files: by a job after a file came in, or by `uraniborg ingest previews`.

Objects first, rows second, farewell to the former objects third, as with the files themselves. A file that cannot be
drawn stays what it is: the job's error, or the command's output, says why.
"""

import io
import logging
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from archive.app.results import StoredResults
from archive.holdings import previews, queries
from archive.holdings.previews import Preview, Role
from archive.jobs.context import JobContext, JobKind
from archive.jobs.job import Parameter
from archive.jobs.service import JobService
from archive.vo.errors import ArchiveError, NotFoundError, UnavailableError
from ingest import failures
from storage.catalogue import add_object, remove_objects
from storage.errors import StorageError
from storage.service import ObjectStore, StoredObject

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

KIND = "preview"
PNG = "image/png"
BEHIND_USERS = -1  # a run over thousands of files must not keep a query waiting
EXECUTION_S = 900  # a mosaic of 60 packed detectors takes one minute
MAX_FILE_BYTES = 1 << 34
COPY_BYTES = 1 << 20
ATTEMPTS = 2
Outcome = Literal["made", "nothing"]


class UndrawableError(ArchiveError):
    """A file of which no picture can be made."""

    status, code = 422, "UndrawableError"


def _go_on() -> None:
    """Nobody asks to stop."""


class PreviewService:
    """Draws held files and keeps the pictures."""

    def __init__(
        self, writer: Engine, store: ObjectStore, *, max_file_bytes: int = MAX_FILE_BYTES, scratch: Path | None = None
    ) -> None:
        """max_file_bytes: a larger file is not drawn. scratch: folder for the copy that is read (the system's)."""
        self._writer = writer
        self._store = store
        self._max_file_bytes = max_file_bytes
        self._scratch = scratch

    def make(self, file_id: str, version: int, check: Callable[[], None] = _go_on) -> Outcome:
        """Draw one version of a file, in the place of what was drawn before. check: raises to stop.

        Raises NotFoundError, UndrawableError (the file's fault), UnavailableError (the archive's; tried twice).
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._make(file_id, version, check)
            except (DBAPIError, StorageError, OSError) as error:
                if attempt == ATTEMPTS:
                    raise UnavailableError(f"{file_id}: its preview could not be made now ({error})") from error
                log.info("preview of %s: once more after: %s", file_id, error)
        raise AssertionError("the loop above returns or raises")

    def _make(self, file_id: str, version: int, check: Callable[[], None]) -> Outcome:
        with self._writer.connect() as connection:
            held = queries.file(connection, file_id, version)
        if held is None:
            raise NotFoundError(f"there is no file {file_id} in version {version} to draw")
        if held.size_bytes > self._max_file_bytes:
            raise UndrawableError(f"{file_id} has {held.size_bytes} bytes; at most {self._max_file_bytes} are drawn")
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="uraniborg-preview-") as folder:
            path = Path(folder) / "file.fits"
            self._fetch(held.object_key, path, check)
            drawn = self._drawn(path, file_id, Path(folder), check)
        if drawn is None:
            return "nothing"
        self._keep(file_id, version, {"preview": drawn[0], "thumbnail": drawn[1]})
        return "made"

    def _fetch(self, key: str, path: Path, check: Callable[[], None]) -> None:
        """The object's bytes as a file, which is read at random."""
        with self._store.reader(key) as source, path.open("wb") as copy:
            while chunk := source.read(COPY_BYTES):
                check()
                copy.write(chunk)

    def _drawn(
        self, path: Path, file_id: str, scratch: Path, check: Callable[[], None]
    ) -> "tuple[Image.Image, Image.Image] | None":
        # astropy and matplotlib take a second to come: only those who draw wait for them.
        from ingest.describe.facts import RefusedError
        from ingest.preview.drawing import draw_file

        try:
            drawn = draw_file(path, scratch=scratch, check=check)
        except RefusedError as refusal:
            reasons = "; ".join(finding.what for finding in refusal.findings)
            raise UndrawableError(f"{file_id} cannot be drawn: {reasons}") from refusal
        except (ValueError, TypeError, IndexError, KeyError, MemoryError) as error:
            # Headers of strangers: what a library trips over is the file's fault, and no more than a missing picture.
            log.warning("preview of %s", file_id, exc_info=True)
            raise UndrawableError(f"{file_id} cannot be drawn ({type(error).__name__}: {error})") from error
        return None if drawn is None else (drawn.preview, drawn.thumbnail)

    def _keep(self, file_id: str, version: int, pictures: "dict[Role, Image.Image]") -> None:
        stored: list[StoredObject] = []
        rows = []
        for role, picture in pictures.items():
            encoded = io.BytesIO()
            picture.save(encoded, "PNG", optimize=True)
            encoded.seek(0)
            kept = self._store.store(encoded)
            stored.append(kept)
            rows.append(
                Preview(
                    file_id, version, role, kept.key, PNG, kept.size_bytes, *picture.size, kept.sha256, kept.md5,
                    datetime.now(UTC),
                )
            )  # fmt: skip
        try:
            with self._writer.begin() as connection:
                queries.lock(connection, file_id)
                former = previews.replace(connection, file_id, version, rows)
                for each in stored:
                    add_object(connection, each)
                gone = remove_objects(connection, former)
        except Exception as error:
            # Where the answer to COMMIT was lost the rows may be there: then the bytes stay, and scrub judges.
            if failures.rolled_back(error):
                self._forget([(each.volume, each.key) for each in stored])
            raise
        self._forget(gone)

    def _forget(self, objects: list[tuple[str, str]]) -> None:
        """Remove objects that have no row (any more); what cannot be removed now is scrub's to find."""
        for volume, key in objects:
            try:
                self._store.delete(key, volume=volume)
            except StorageError as error:
                log.warning("object %s has no row and cannot be removed: %s", key, error)


def job_kind(service: PreviewService) -> JobKind:
    """The job that draws one version of a file: parameters FILE_ID, VERSION."""

    def run(context: JobContext) -> None:
        (file_id,), (version,) = context.values("FILE_ID"), context.values("VERSION")
        service.make(file_id, int(version), context.raise_if_cancelled)

    return JobKind(KIND, run, priority=BEHIND_USERS, execution_duration_s=EXECUTION_S, max_attempts=ATTEMPTS)


class PreviewQueue:
    """Queues the drawing of what came in, in the transaction that records it."""

    def __init__(self, writer: Engine, store: ObjectStore) -> None:
        kinds = [job_kind(PreviewService(writer, store))]
        self._jobs = JobService(writer, StoredResults(store, writer), kinds)

    def queue(self, connection: Connection, file_id: str, version: int) -> None:
        """The archive's own job: drawn once the connection's transaction is committed, and not at all if it is not."""
        self._jobs.submit(connection, KIND, (Parameter("FILE_ID", file_id), Parameter("VERSION", str(version))))
