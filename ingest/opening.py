"""The ingest service as the archive's settings make it: for commands, and for the processes that share their work."""

from collections.abc import Callable

from archive.app.opened import OpenedArchive
from ingest import failures
from ingest.describing import mappings_of
from ingest.preview.service import PreviewQueue
from ingest.service import IngestService, Seam

GiB = 1024**3


def ingest_service(
    archive: OpenedArchive, *, replace: bool = False, passed: Callable[[Seam], None] = lambda seam: None
) -> IngestService:
    """The service as the archive's settings make it. UnavailableError: its database is not there."""
    settings = archive.settings
    with failures.told():
        engine, sphere = archive.engines.writer, archive.sphere
    return IngestService(
        engine,
        archive.store,
        sphere,
        mappings=mappings_of(settings.ingest.mappings),
        authority=settings.access.authority,
        reader_role=archive.urls.reader.username or "",
        max_file_bytes=int(settings.ingest.max_file_gib * GiB),
        replace=replace,
        queue_preview=PreviewQueue(engine, archive.store).queue,
        passed=passed,
    )
