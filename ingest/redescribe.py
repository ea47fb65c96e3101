"""Describing held files anew, from their stored bytes: after a mapping was mended, or this program.

One file after the other, each in a transaction of its own: what is cut off leaves every row whole, and is begun again
with what is left. What of a row is compared and what stays is archive.holdings.redescription's.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine

from archive.holdings import previews, queries, redescription
from archive.holdings.model import DataProduct
from archive.holdings.queries import HeldFile
from archive.holdings.redescription import Changes, Selection
from ingest import failures
from ingest.describe import describe_path
from ingest.describe.facts import Description, RefusedError
from ingest.findings import Finding
from ingest.findings import errors as errors_of
from ingest.instruments import Mapping
from ingest.stored import stored_file
from storage.errors import ObjectNotFound, ReadFailed
from storage.service import ObjectStore

log = logging.getLogger(__name__)
PAGE_FILES = 1000
ATTEMPTS = 3  # at a transaction that a deadlock ended
Outcome = Literal["unchanged", "would_change", "changed", "refused", "gone"]


@dataclass(frozen=True, slots=True)
class Redescription:
    """What became, or would become, of one file.

    changes: column to old and new value. gone: another version came, or it was withdrawn, while this one was read.
    tables: published from the file, and left as they are.
    """

    file_id: str
    version: int
    outcome: Outcome
    changes: Changes = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    tables: tuple[str, ...] = ()


class RedescribeService:
    """Describes held files anew; many processes may do so at once."""

    def __init__(
        self,
        writer: Engine,
        store: ObjectStore,
        *,
        mappings: Sequence[Mapping],
        authority: str,
        queue_preview: Callable[[Connection, str, int], None],
        scratch: Path | None = None,
    ) -> None:
        """queue_preview: called in the transaction that makes a file something to look at.

        scratch: folder for what is copied from volumes that are no disk (the system's).
        """
        self._writer = writer
        self._store = store
        self._mappings = mappings
        self._authority = authority
        self._queue_preview = queue_preview
        self._scratch = scratch

    def number(self, selection: Selection) -> int:
        """How many files are selected."""
        with self._writer.connect() as connection:
            return redescription.number(connection, selection)

    def pages(self, selection: Selection) -> Iterator[list[HeldFile]]:
        """The files of a selection by file_id, some at a time: an archive holds more than memory does."""
        while True:
            with self._writer.connect() as connection:
                found = redescription.page(connection, selection, PAGE_FILES)
            if not found:
                return
            yield found
            selection = replace(selection, after=found[-1].file_id)

    def look(self, held: HeldFile) -> Redescription:
        """What would change; nothing does. Raises UnavailableError and StorageError where the archive fails."""
        return self._done(held, write=False)

    def write(self, held: HeldFile) -> Redescription:
        """Change what is different, in one transaction. Raises as `look`."""
        return self._done(held, write=True)

    def _done(self, held: HeldFile, *, write: bool) -> Redescription:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._compared(held, self._described(held), write=write)
            except RefusedError as refusal:
                return _refused(held, refusal.findings)
            except (ObjectNotFound, ReadFailed) as error:
                finding = Finding("error", "bytes_missing", "store", str(error), "uraniborg store scrub says more.")
                return _refused(held, (finding,))
            except Exception as error:
                if failures.is_transient(error) and attempt < ATTEMPTS:
                    log.info("%s: once more after: %s", held.file_id, error)
                    continue
                failure = failures.of_the_archive(error)
                if failure is not None:
                    raise failure from error
                log.exception("%s: an error that nobody thought of", held.file_id)
                return _refused(held, (failures.of_the_file(error),))
        raise AssertionError("the loop above returns or raises")

    def _described(self, held: HeldFile) -> Description:
        """The description as if the file came in now, under the name that it has."""
        collection = f"{held.obs_collection}/"
        named_by_path = held.file_id.startswith(collection)
        relative_path = held.file_id.removeprefix(collection) if named_by_path else held.source.lstrip("/")
        with stored_file(self._store, held.object_key, held.file_name, held.size_bytes, scratch=self._scratch) as (
            path,
            fill,
        ):
            # Its sums were checked as it came in, and the store keeps the bytes: only what they mean is asked.
            found = describe_path(
                path,
                collection=held.obs_collection,
                relative_path=relative_path,
                mappings=self._mappings,
                authority=self._authority,
                verify_sums=False,
                scratch=self._scratch,
                fill=fill,
            )
        if errors_of(found.findings):
            raise RefusedError(held.file_id, tuple(found.findings))
        return found

    def _compared(self, held: HeldFile, description: Description, *, write: bool) -> Redescription:
        product, kept = _with_our_names(held, description.product)
        with self._writer.begin() if write else self._writer.connect() as connection:
            if write:
                queries.lock(connection, held.file_id)
            found = redescription.changes(connection, held, product, description.media_type)
            if found is None:
                return Redescription(held.file_id, held.version, "gone")
            if not found:
                return Redescription(held.file_id, held.version, "unchanged", findings=kept)
            tables = queries.published_tables(connection, held.file_id)
            if write:
                self._write(connection, held, description, product, found)
        outcome: Outcome = "changed" if write else "would_change"
        return Redescription(held.file_id, held.version, outcome, found, kept, tables)

    def _write(
        self, connection: Connection, held: HeldFile, description: Description, product: DataProduct, found: Changes
    ) -> None:
        redescription.write(connection, held, product, found, now=datetime.now(UTC))
        was = previews.is_pictured(held.media_type, held.dataproduct_type)
        if not was and previews.is_pictured(description.media_type, product.dataproduct_type):
            self._queue_preview(connection, held.file_id, held.version)


def _with_our_names(held: HeldFile, product: DataProduct) -> tuple[DataProduct, tuple[Finding, ...]]:
    """The product under the names that the file has here, and what the description would have otherwise."""
    kept = []
    if product.file_id != held.file_id:
        kept.append(_kept("file_id", f"it would be called {product.file_id} if it came in now"))
    if product.release_date is not None and queries.utc(product.release_date) != held.release_date:
        kept.append(_kept("release_date", f"the description says {product.release_date.isoformat()}"))
    if product.rights != "public" and product.rights != held.rights:
        kept.append(_kept("rights", f"the description says {product.rights}"))
    obs_id = held.file_id if product.obs_id == product.file_id else product.obs_id
    return replace(product, file_id=held.file_id, obs_id=obs_id), tuple(kept)


def _kept(column: str, what: str) -> Finding:
    return Finding("info", "kept", column, f"{what}; it stays as it is.")


def _refused(held: HeldFile, findings: tuple[Finding, ...]) -> Redescription:
    return Redescription(held.file_id, held.version, "refused", findings=findings)
