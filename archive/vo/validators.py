"""What says whether a client's copy of a document is still good: ETag and date (RFC 9110 §8.8, §13.1). Pure.

Documents are compressed on their way, so their ETags are weak: the same document, not the same bytes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from storage.web.conditional import http_date, not_modified

# A date tells whole seconds, and a change may be dated a little before it is seen.
SETTLED = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Validators:
    """etag: as the header has it, quotes included. modified: UTC, None where nobody knows."""

    etag: str
    modified: datetime | None = None

    @classmethod
    def of(cls, *parts: object, modified: datetime | None = None) -> "Validators":
        """A weak ETag of whatever a document depends on."""
        digest = hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]
        return cls(f'W/"{digest}"', modified)

    def headers(self, now: datetime | None = None) -> dict[str, str]:
        """The ETag, and the date once another change cannot have the same."""
        told = {"ETag": self.etag, "Cache-Control": "no-cache"}
        if self.modified is not None and (now or datetime.now(UTC)) - self.modified > SETTLED:
            told["Last-Modified"] = format_datetime(self.modified.astimezone(UTC), usegmt=True)
        return told

    def are_known_to(self, request: Mapping[str, str]) -> bool:
        """If-None-Match comes before If-Modified-Since (RFC 9110 §13.2.2).

        A date of the client's own making is not compared: a change is dated by when it began, and may be seen later.
        """
        since = http_date(request.get("if-modified-since"))
        told = None if self.modified is None else self.modified.replace(microsecond=0)
        return not_modified(request, self.etag, self.modified if since == told else None)
