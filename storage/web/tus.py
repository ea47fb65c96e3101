"""Uploads that can be taken up again: tus 1.0.0 with creation, checksum, termination and expiration.

An upload is a folder of its own, on a disk of this machine or one that all web servers share:

    info.json   what it is to be, written once; whoever works on the upload holds a lock on it (flock)
    data        the bytes so far
    offset      how many of them lie on the disk: written after they were flushed, and the only thing that is believed
    done.json   the version that it has become; then data is gone

So an offset that a client was told is true after a crash of anything. What lies behind the offset is cut off. A
finished upload goes into the store as any object does, from here; it is answered when that is durable, and whoever
asks again is told so. An upload whose bytes are all there and which could not be stored (no room, no database, a
crash) is finished by an empty PATCH, and by HEAD: a client that is told that all bytes are there calls it done. One
whose bytes are not those that were promised is removed: no PATCH could mend it.
"""

import base64
import binascii
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

from starlette.types import Send

from storage.checksums import Crc32c, Expected
from storage.durable import flush
from storage.errors import ChecksumMismatch, OutOfSpace, VolumeUnavailable
from storage.filing import Outcome
from storage.objects import ObjectService
from storage.web.authorizer import Authorizer
from storage.web.bodies import BodyBroken, ClientGone, Incoming, Pipe, fed, raw, send_whole
from storage.web.requests import (
    BIGINT,
    ROOT,
    BadRequest,
    Refused,
    Request,
    checked_media_type,
    file_id_of,
    whole_number,
)
from storage.web.settings import WebSettings
from storage.web.threads import Threads
from storage.web.versions import written_headers

VERSION = "1.0.0"
EXTENSIONS = "creation,checksum,termination,expiration"
METHODS = "POST, HEAD, PATCH, DELETE, OPTIONS"
# How much may be lost to a crash in the middle of a PATCH, and so how often bytes are flushed.
CHECKPOINT_BYTES = 64 << 20
CHECKPOINT_S = 5.0
SWEEP_EVERY_S = 600.0
METADATA_BYTES = 8 << 10
CHUNK = "application/offset+octet-stream"
_ID = re.compile(rb"[0-9a-f]{32}")
_OFFSET_DIGITS = 20


ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "crc32c": Crc32c,
}


@dataclass(frozen=True, slots=True)
class Info:
    """What an upload is to be. metadata: as the client sent it. created: seconds, Unix time."""

    file_id: str
    length: int
    media_type: str | None
    container_id: int | None
    sha256: str | None
    md5: str | None
    crc32c: str | None
    metadata: str
    created: float


@dataclass(frozen=True, slots=True)
class Done:
    """What it has become."""

    outcome: Outcome
    headers: dict[str, str]


class Uploads:
    """The uploads of a folder. Several processes may work on one folder."""

    def __init__(self, service: ObjectService, authorizer: Authorizer, settings: WebSettings) -> None:
        assert settings.uploads is not None
        self._service, self._authorizer = service, authorizer
        self._folder, self._kept_s = settings.uploads, settings.uploads_kept_s
        self._largest_bytes = settings.largest_bytes
        self._swept = float("-inf")

    async def answer(
        self, request: Request, rest: bytes, body: Incoming, send: Send, threads: Threads, large: Threads
    ) -> None:
        """Everything under /store/v1/uploads. large: for what takes as long as a body does."""
        try:
            method = request.headers.get("x-http-method-override", request.method).upper()
            if method == "OPTIONS":
                await self._options(send)
                return
            if request.headers.get("tus-resumable") != VERSION:
                raise Refused(412, f"uploads go by tus {VERSION}: send Tus-Resumable", {"tus-version": VERSION})
            request.known()
            match method, bool(rest):
                case "POST", False:
                    status, headers = await threads.run(self._create, request)
                case "HEAD", True:
                    if await threads.run(self._lacks_its_end, request, rest):
                        await large.run(self._end_it, rest)
                    status, headers = await threads.run(self._head, request, rest)
                case "DELETE", True:
                    status, headers = await threads.run(self._end, request, rest)
                case "PATCH", True:
                    await threads.run(self._admit, request, rest)
                    status, headers = await fed(body, b"", partial(self._patch, request, rest), large)
                case _:
                    raise Refused(405, "this method is not taken here", {"allow": METHODS})
        except FileNotFoundError:  # it was ended while we looked at it
            raise Refused(404, "there is no such upload any more") from None
        await send_whole(send, status, raw({"tus-resumable": VERSION, "cache-control": "no-store"} | headers))

    async def _options(self, send: Send) -> None:
        told = {
            "tus-resumable": VERSION,
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(self._largest_bytes),
            "tus-checksum-algorithm": ",".join(ALGORITHMS),
            "allow": METHODS,
            "access-control-allow-methods": METHODS,
        }
        await send_whole(send, 204, raw(told))

    # --- what is asked, each on a thread

    def _create(self, request: Request) -> tuple[int, dict[str, str]]:
        if "upload-defer-length" in request.headers:
            raise BadRequest("an upload tells its length when it is made (Upload-Length)")
        length = whole_number("Upload-Length", request.headers.get("upload-length", ""), most=BIGINT)
        if length > self._largest_bytes:
            raise Refused(413, f"at most {self._largest_bytes} bytes are taken here")
        if request.size_bytes or "transfer-encoding" in request.headers:
            raise BadRequest("a POST that makes an upload has no body; its bytes go by PATCH")
        info = _described(request.headers.get("upload-metadata", ""), length)
        self._authorizer.allow("write", info.file_id, request.headers)
        if info.container_id is not None:
            self._service.container(info.container_id)
        self._sweep()
        name = secrets.token_hex(16)
        with _told():
            self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            made = self._folder / f".{name}"
            made.mkdir(mode=0o750)
            _write(made / "data", b"")
            _write(made / "offset", _digits(0))
            _write(made / "info.json", json.dumps(asdict(info)).encode())
            flush(made)
            made.rename(self._folder / name)
            flush(self._folder)
        headers = {"location": f"{ROOT}/uploads/{name}", "upload-offset": "0"}
        with self._held(name.encode()) as upload:
            headers |= self._expires(upload)
            if length == 0:
                headers |= self._finish(upload).headers
        return 201, headers | {"content-length": "0"}

    def _lacks_its_end(self, request: Request, rest: bytes) -> bool:
        """Whether all bytes are there, and are not in the store."""
        upload = self._found(rest)
        self._authorizer.allow("write", upload.info.file_id, request.headers)
        return upload.offset() == upload.info.length and upload.done() is None

    def _end_it(self, rest: bytes) -> None:
        with self._held(rest) as upload:
            if upload.done() is None:
                self._finish(upload)

    def _head(self, request: Request, rest: bytes) -> tuple[int, dict[str, str]]:
        upload = self._found(rest)
        told = {
            "upload-offset": str(upload.offset()),
            "upload-length": str(upload.info.length),
            "content-length": "0",
        }
        if upload.info.metadata:
            told["upload-metadata"] = upload.info.metadata
        done = upload.done()
        return 200, told | self._expires(upload) | (done.headers if done else {})

    def _end(self, request: Request, rest: bytes) -> tuple[int, dict[str, str]]:
        self._authorizer.allow("write", self._found(rest).info.file_id, request.headers)
        with self._held(rest) as upload:
            _remove(upload.folder)
        return 204, {}

    def _admit(self, request: Request, rest: bytes) -> None:
        """What can be said before a byte was taken."""
        upload = self._found(rest)
        self._authorizer.allow("write", upload.info.file_id, request.headers)
        if request.headers.get("content-type") != CHUNK:
            raise Refused(415, f"the bytes of an upload are sent as {CHUNK}")
        offset = self._offset_meant(request)
        _promised(request)
        if offset + (request.size_bytes or 0) > upload.info.length:
            raise Refused(413, f"with these bytes the upload had more than its {upload.info.length}")

    def _patch(self, request: Request, rest: bytes, pipe: Pipe) -> tuple[int, dict[str, str]]:
        with self._held(rest) as upload:
            offset = self._offset_meant(request)
            if offset != upload.offset():
                raise Refused(409, f"the upload stands at byte {upload.offset()}, not at {offset}")
            done = upload.done()
            if done is None:
                offset = _append(upload, offset, pipe, _promised(request))
                if offset == upload.info.length:
                    done = self._finish(upload)
            headers = {"upload-offset": str(offset)} | self._expires(upload)
            return 204, headers | (done.headers if done else {})

    @staticmethod
    def _offset_meant(request: Request) -> int:
        return whole_number("Upload-Offset", request.headers.get("upload-offset", ""), most=BIGINT)

    # --- within

    def _finish(self, upload: "_Upload") -> Done:
        """Give the bytes to the store; repeatable, since the same bytes make no second version."""
        info = upload.info
        try:
            with (upload.folder / "data").open("rb") as data:
                written = self._service.put(
                    info.file_id,
                    data,
                    media_type=info.media_type,
                    expected=Expected(info.length, info.sha256, info.md5, info.crc32c),
                    container_id=info.container_id,
                )
        except ChecksumMismatch:
            _remove(upload.folder)
            raise
        done = Done(written.outcome, written_headers(written.version))
        with _told():
            _write(upload.folder / ".done", json.dumps(asdict(done)).encode())
            (upload.folder / ".done").rename(upload.folder / "done.json")
            flush(upload.folder)
            (upload.folder / "data").unlink(missing_ok=True)
        return done

    def _found(self, rest: bytes) -> "_Upload":
        if not _ID.fullmatch(rest):
            raise Refused(404, "there is no such upload")
        folder = self._folder / rest.decode()
        try:
            upload = _Upload(folder, Info(**json.loads((folder / "info.json").read_bytes())))
        except (FileNotFoundError, NotADirectoryError):
            raise Refused(404, "there is no such upload, or no longer") from None
        if self._age_s(folder) > self._kept_s:
            raise Refused(410, "the upload has expired: make another")
        return upload

    @contextmanager
    def _held(self, rest: bytes) -> Iterator["_Upload"]:
        """The upload, on which nobody else works meanwhile; Refused (423) if somebody does."""
        upload = self._found(rest)
        with _locked(upload.folder) as held:
            if not held:
                raise Refused(423, "another request is at work on this upload; try again shortly", {"retry-after": "2"})
            yield upload

    def _age_s(self, folder: Path) -> float:
        """Since when nothing came."""
        return time.time() - (folder / "offset").stat().st_mtime

    def _expires(self, upload: "_Upload") -> dict[str, str]:
        when = datetime.fromtimestamp((upload.folder / "offset").stat().st_mtime + self._kept_s, UTC)
        return {"upload-expires": format_datetime(when, usegmt=True)}

    def _sweep(self) -> None:
        """Remove what expired, and what a crash left half made; now and then."""
        if time.monotonic() - self._swept < SWEEP_EVERY_S:
            return
        self._swept = time.monotonic()
        self.sweep()

    def sweep(self) -> int:
        """Remove what expired; how many uploads."""
        removed = 0
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            with contextlib.suppress(OSError):
                name = folder.name.removeprefix(".")
                if not _ID.fullmatch(name.encode()):
                    continue
                made = folder.stat().st_mtime
                age_s = time.time() - made if folder.name != name else self._age_s(folder)
                if age_s > self._kept_s:
                    with _locked(folder) as held:
                        if held:
                            _remove(folder)
                            removed += 1
        return removed


@dataclass(frozen=True, slots=True)
class _Upload:
    folder: Path
    info: Info

    def offset(self) -> int:
        """How many bytes lie on the disk for certain."""
        return int((self.folder / "offset").read_bytes())

    def done(self) -> Done | None:
        """What it has become, if it has."""
        try:
            return Done(**json.loads((self.folder / "done.json").read_bytes()))
        except FileNotFoundError:
            return None


def _append(upload: _Upload, offset: int, pipe: Pipe, promised: tuple[str, bytes] | None) -> int:
    """Write what comes behind the offset; the new offset. What a cut connection brought stays, unless a checksum was
    promised for all of it."""
    length = upload.info.length
    digest = ALGORITHMS[promised[0]]() if promised else None
    with _told(), (upload.folder / "data").open("r+b", buffering=0) as data:
        data.truncate(offset)
        data.seek(offset)
        flushed, flushed_at = offset, time.monotonic()

        def checkpoint() -> None:
            nonlocal flushed, flushed_at
            if offset > flushed:
                os.fdatasync(data.fileno())
                _note(upload.folder, offset)
                flushed, flushed_at = offset, time.monotonic()

        try:
            while block := pipe.read(1 << 20):
                if offset + len(block) > length:
                    raise Refused(413, f"with these bytes the upload had more than its {length}")
                rest = memoryview(block)
                while rest:
                    rest = rest[data.write(rest) :]
                offset += len(block)
                if digest is not None:
                    digest.update(block)
                elif offset - flushed >= CHECKPOINT_BYTES or time.monotonic() - flushed_at > CHECKPOINT_S:
                    checkpoint()
        except (BodyBroken, ClientGone):
            if digest is None:
                checkpoint()
            raise
        if promised is not None and digest is not None and bytes.fromhex(digest.hexdigest()) != promised[1]:
            raise Refused(460, f"the bytes have another {promised[0]} than was promised; nothing of them was kept")
        checkpoint()
    return offset


def _described(metadata: str, length: int) -> Info:
    """Upload-Metadata: file_id (or filename) says which file it is; filetype, container_id, sha256, md5, crc32c."""
    if len(metadata) > METADATA_BYTES:
        raise BadRequest(f"Upload-Metadata is longer than {METADATA_BYTES} bytes")
    told: dict[str, str] = {}
    for word in metadata.split(",") if metadata else ():
        key, _, value = word.strip().partition(" ")
        try:
            told[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, ValueError):
            raise BadRequest(f"Upload-Metadata: {key[:40]!r} is not UTF-8 in base64") from None
    name = told.get("file_id") or told.get("filename")
    if not name:
        raise BadRequest("Upload-Metadata is to name the file (file_id, or filename)")
    digests: dict[str, str | None] = {}
    for key, size in (("sha256", 64), ("md5", 32), ("crc32c", 8)):
        digests[key] = told.get(key)
        if key in told and not re.fullmatch(f"[0-9a-fA-F]{{{size}}}", told[key]):
            raise BadRequest(f"Upload-Metadata: {key} is no digest of {size} hexadecimal digits")
    container = told.get("container_id")
    return Info(
        # By the rules of paths, which it will have.
        file_id=file_id_of(name.replace("%", "%25").encode()),
        length=length,
        media_type=checked_media_type(told["filetype"]) if told.get("filetype") else None,
        container_id=None if container is None else whole_number("container_id", container, least=1, most=BIGINT),
        metadata=metadata,
        created=time.time(),
        **digests,
    )


def _promised(request: Request) -> tuple[str, bytes] | None:
    """Upload-Checksum: an algorithm's name and the digest in base64."""
    told = request.headers.get("upload-checksum")
    if told is None:
        return None
    name, _, value = told.strip().partition(" ")
    if name not in ALGORITHMS:
        raise BadRequest(f"Upload-Checksum: {name[:40]!r} is not known here, but {', '.join(ALGORITHMS)}")
    try:
        return name, base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequest("Upload-Checksum: the digest is not base64") from None


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether we hold the upload now; ends with the process, however that ends."""
    try:
        descriptor = os.open(folder / "info.json", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield folder.name.startswith(".")  # it was never whole, and nobody but its maker knows of it
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        # Removed while we came: the lock is on a name that is gone.
        yield (folder / "info.json").exists()
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Out of sight by one rename, then gone."""
    gone = folder.with_name(f".{folder.name.removeprefix('.')}")
    with contextlib.suppress(OSError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def _note(folder: Path, offset: int) -> None:
    """Twenty digits in the place of twenty: one sector, and so one or the other after a crash."""
    descriptor = os.open(folder / "offset", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, _digits(offset), 0)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _digits(offset: int) -> bytes:
    return f"{offset:0{_OFFSET_DIGITS}d}\n".encode()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _told() -> Iterator[None]:
    """What the folder's disk says, in the store's words."""
    try:
        yield
    except OSError as error:
        kind = OutOfSpace if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else VolumeUnavailable
        raise kind(f"the upload cannot be written: {error.strerror or error}") from error
