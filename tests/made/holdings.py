"""Files that were never there: their metadata and their bytes' description, as ingest would give them."""

import hashlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from archive.holdings import queries
from archive.holdings.model import DataProduct, StoredFile

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
AUTHORITY = "uraniborg.invalid"


def product(file_id: str, **changes: Any) -> DataProduct:
    """A public image; changes: any of DataProduct's values."""
    values: dict[str, Any] = {
        "kind": "product", "obs_collection": "made", "obs_id": file_id, "calib_level": 2, "dataproduct_type": "image",
    }  # fmt: skip
    return DataProduct(file_id, **(values | changes))


def stored(content: bytes, name: str = "a.fits", key: str | None = None) -> StoredFile:
    """What a store says of these bytes."""
    sha256 = hashlib.sha256(content).hexdigest()
    md5 = hashlib.md5(content).hexdigest()
    return StoredFile(key or f"{sha256}-{name}", len(content), sha256, md5, "image/fits", name, f"/in/{name}")


def hold(
    connection: Connection, file_id: str, content: bytes = b"bytes", *, now: datetime = NOW, key: str | None = None,
    **changes: Any,
) -> tuple[str, int]:  # fmt: skip
    """A version of a file in the holdings; what happened, and which version is current."""
    name = file_id.rpartition("/")[2]
    bytes_ = stored(content, name, key or f"{file_id}-{hashlib.sha256(content).hexdigest()[:8]}")
    return queries.add_version(connection, product(file_id, **changes), bytes_, authority=AUTHORITY, now=now)
