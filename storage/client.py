"""Where files are put to and got from: the store of this machine, or a node by its REST face (/store/v1).

Both have the one face that transfer.py and the commands use. Errors of a node come in the store's own words.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import quote

from storage.checksums import BLOCK_BYTES, Expected, Readable
from storage.errors import (
    CatalogueUnavailable,
    ChecksumMismatch,
    ObjectNotFound,
    OutOfSpace,
    StorageError,
    VolumeUnavailable,
)
from storage.model import Copy, ObjectVersion
from storage.objects import ObjectService, Written

if TYPE_CHECKING:
    import httpx

ROOT = "/store/v1"
_ERRORS: dict[int, type[StorageError]] = {
    400: ChecksumMismatch, 404: ObjectNotFound, 503: VolumeUnavailable, 507: OutOfSpace
}  # fmt: skip


class Files(Protocol):
    """A store as its users see it; many threads at once. Errors as ObjectService has them."""

    def put(self, file_id: str, stream: Readable, *, expected: Expected, media_type: str | None = None) -> Written:
        """See ObjectService.put."""

    def stat(self, file_id: str, version: int | None = None) -> ObjectVersion:
        """See ObjectService.stat."""

    def blocks(self, version: ObjectVersion, start: int = 0) -> Iterator[bytes]:
        """The bytes of a version from `start` on; ReadFailed where they end early or are not whole."""

    def files(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """The newest version of each file whose file_id starts with prefix, in order, without copies."""

    def versions(self, file_id: str) -> list[ObjectVersion]:
        """See ObjectService.versions."""


class LocalFiles:
    """The store that this process has open."""

    def __init__(self, service: ObjectService) -> None:
        self._service = service
        self.stat, self.versions = service.stat, service.versions

    def put(self, file_id: str, stream: Readable, *, expected: Expected, media_type: str | None = None) -> Written:
        """See Files.put."""
        return self._service.put(file_id, stream, expected=expected, media_type=media_type)

    def blocks(self, version: ObjectVersion, start: int = 0) -> Iterator[bytes]:
        """See Files.blocks."""
        with self._service.open(version.file_id, version.version, start) as stream:
            yield from stream

    def files(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """See Files.files; page by page, so that no cursor waits for a transfer."""
        after, most = "", 1_000
        while True:
            page = list(self._service.files(prefix, after=after, limit=most))
            yield from page
            if len(page) < most:
                return
            after = page[-1].file_id


class RemoteFiles:
    """A node by HTTP.

    url: of the server, without /store/v1. token: sent as Bearer, None: nobody in particular asks. timeout_s: in which
    the next bytes must move.
    """

    def __init__(self, url: str, token: str | None = None, *, timeout_s: float = 60.0) -> None:
        import httpx

        if not url.startswith(("http://", "https://")):
            raise StorageError(f"the URL of a node begins with http:// or https://, and this does not: {url}")
        self._url = url
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        # Bytes are taken as they are kept: a coding on the way would hide their length.
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}{ROOT}",
            headers={**headers, "accept-encoding": "identity"},
            timeout=timeout_s,
            limits=httpx.Limits(max_connections=64),
            follow_redirects=True,
        )
        self._broken = httpx.TransportError

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def put(self, file_id: str, stream: Readable, *, expected: Expected, media_type: str | None = None) -> Written:
        """See Files.put. After CatalogueUnavailable (no answer) it may be there: send it again."""
        headers = {"content-length": str(expected.size_bytes)}
        if expected.sha256 is not None:
            digest = base64.b64encode(bytes.fromhex(expected.sha256)).decode()
            headers["repr-digest"] = f"sha-256=:{digest}:"  # RFC 9530
        if media_type is not None:
            headers["content-type"] = media_type
        with self._told():
            answer = self._http.put(f"/objects/{_path(file_id)}", content=_blocks(stream), headers=headers)
        document = _checked(answer).json()
        return Written(document["outcome"], _version(document))

    def stat(self, file_id: str, version: int | None = None) -> ObjectVersion:
        """See Files.stat."""
        with self._told():
            answer = self._http.get(f"/copies/{_path(file_id)}", params=_asked(version))
        return _version(_checked(answer).json())

    def blocks(self, version: ObjectVersion, start: int = 0) -> Iterator[bytes]:
        """See Files.blocks."""
        if start == version.size_bytes and start > 0:
            return
        headers = {"range": f"bytes={start}-", "if-range": f'"{version.sha256}"'} if start else {}
        path = f"/objects/{_path(version.file_id)}"
        with self._told(), self._http.stream("GET", path, params=_asked(version.version), headers=headers) as answer:
            if answer.status_code >= 400:
                answer.read()
                _checked(answer)
            # All of it, from a server that knows no parts, or (S3, where a node redirects there) another ETag.
            left_out = start if answer.status_code != 206 else 0
            for block in answer.iter_bytes(BLOCK_BYTES):
                yield block[left_out:]
                left_out = max(left_out - len(block), 0)

    def files(self, prefix: str = "") -> Iterator[ObjectVersion]:
        """See Files.files."""
        after: str | None = ""
        while after is not None:
            with self._told():
                answer = self._http.get("/objects", params={"prefix": prefix, "after": after, "limit": 1_000})
            document = _checked(answer).json()
            yield from (_version(each) for each in document["objects"])
            after = document["next"]

    def versions(self, file_id: str) -> list[ObjectVersion]:
        """See Files.versions."""
        with self._told():
            answer = self._http.get(f"/versions/{_path(file_id)}")
        return [_version(each) for each in _checked(answer).json()["versions"]]

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._broken as error:
            why = str(error) or type(error).__name__
            raise CatalogueUnavailable(f"{self._url} gave no answer ({why}); try again") from error


def _path(file_id: str) -> str:
    return quote(file_id, safe="/")


def _asked(version: int | None) -> dict[str, int]:
    return {} if version is None else {"version": version}


def _blocks(stream: Readable) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block


def _checked(answer: "httpx.Response") -> "httpx.Response":
    if answer.is_success:
        return answer
    told = answer.text.strip()[:500] or answer.reason_phrase
    if "problem+json" in answer.headers.get("content-type", ""):  # RFC 9457
        told = answer.json().get("detail", told)
    raise _ERRORS.get(answer.status_code, StorageError)(f"{told} ({answer.status_code})")


def _version(document: dict[str, Any]) -> ObjectVersion:
    """A version as the REST face tells it; the numbers that are the node's own business are 0."""
    copies = tuple(
        Copy(
            each["volume"],
            each["key"],
            each["state"],
            _moment(each["verified"]),
            cast(datetime, _moment(each["created"])),
        )
        for each in document.get("copies", ())
    )
    named = ("file_id", "version", "container_id", "size_bytes", "media_type", "sha256", "md5", "crc32c")
    created = cast(datetime, _moment(document["created"]))
    removed = _moment(document["removed"])
    return ObjectVersion(0, **{name: document[name] for name in named}, created=created, removed=removed, copies=copies)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
