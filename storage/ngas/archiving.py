"""ARCHIVE and QARCHIVE, pushed and pulled, and REGISTER: bytes that come in, each as the next version of its file_id.

Nothing that a client names is read unless the settings allow its prefix, and the name of a file is no path anywhere: a
file_id alone says which file it is.
"""

import contextlib
import logging
import mimetypes
import os
import time
import zlib
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from threading import Thread
from typing import IO
from urllib.error import URLError
from urllib.parse import unquote, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
)
from urllib.request import Request as UrlRequest

from storage.checksums import Expected, Readable
from storage.errors import ChecksumMismatch, StorageError
from storage.ngas.answers import Answer, Told
from storage.ngas.node import Node, Progress, is_media_type
from storage.ngas.request import PLACEHOLDER, PULLED, Refused, Request, base_name, said, split_uri
from storage.ngas.settings import below
from storage.objects import Written

log = logging.getLogger(__name__)

# The table that comes with Python, not that of the machine: a type must not depend on where it was derived.
_TYPES = mimetypes.MimeTypes()
for _suffix in (".fits", ".fit", ".fts"):
    _TYPES.add_type("application/fits", _suffix)
CRC32C = ("crc32c", "1")
CRC32 = ("crc32z", "2", "crc32", "0", "ngamsGenCrc32", "StreamCrc32")


def archive(node: Node, request: Request, body: Readable) -> Answer:
    """ARCHIVE, QARCHIVE: keep what is pushed (POST, PUT), or fetch what is named (GET)."""
    if request.flag("probe"):
        return _probe(request)
    name, file_id = request.text("filename"), request.file_id
    if name is None or file_id is None:
        raise Refused(said("ER_MISSING_URI", 4013, "ERROR", "Must specify a URI for the data file to archive!"))
    if request.method == "GET":
        media_type = request.text("mime_type") or derived_type(base_name(name))
        with _pulled(node, name) as (source, size_bytes):
            return _kept(node, request, file_id, source, media_type, size_bytes)
    if name.startswith(PULLED):
        raise Refused(f"{request.name} with a body takes a name, not a URI; GET {request.name} fetches one")
    given = request.text("mime_type") or request.headers.get("content-type", PLACEHOLDER)
    length = request.headers.get("content-length")
    media_type = derived_type(base_name(name)) if given == PLACEHOLDER else given
    return _kept(node, request, file_id, body, media_type, None if length is None else int(length))


def register(node: Node, request: Request) -> Answer:
    """REGISTER: take in a file, or all files of a folder, that the settings allow; they stay where they are."""
    path = _allowed_path(request.needed("path"), node.settings.register_prefixes)
    if path is None or not path.exists():
        text = "Non-existing file or path, or one that the settings do not allow."
        raise Refused(said("ER_FILE_REG_FAILED", 4055, "ERROR", text))
    given = request.text("mime_type")
    # A symbolic link in a folder could lead out of it.
    files = (
        [path]
        if path.is_file()
        else sorted(each for each in path.rglob("*") if each.is_file() and not each.is_symlink())
    )
    types = [given or derived_type(each.name) for each in files]
    progress = node.begin(request)
    progress.expected = len(files)

    def work() -> None:
        for file, media_type in zip(files, types, strict=True):
            try:
                with file.open("rb") as stream:
                    size_bytes = os.fstat(stream.fileno()).st_size
                    expected = Expected(size_bytes=size_bytes)
                    node.service.put(file.name, stream, media_type=media_type, expected=expected)
                progress.done += 1
            except (StorageError, OSError) as error:
                log.warning("REGISTER: %s: %s", file.name, error)
                progress.failures.append(f"{file.name}: {error if isinstance(error, StorageError) else error.strerror}")

    return long_running(request, progress, work)


def long_running(request: Request, progress: Progress, work: Callable[[], None]) -> Told:
    """Do work that takes long: now, or with async=1 after the answer, in this process."""

    def whole() -> None:
        try:
            work()
        except Exception:
            log.exception("%s failed", request.name)
            progress.failures.append("an internal error, told in the log")
        finally:
            progress.end()

    if request.flag("async"):
        Thread(target=whole, name=f"ngas-{request.name.lower()}", daemon=True).start()
        return Told(f"Accepted {request.name} command for execution", attributes=progress.attributes())
    whole()
    if progress.failures:
        text = f"{progress.done} of {progress.expected} files; {'; '.join(progress.failures[:10])}"
        name, number = ("ER_FILE_REG_FAILED", 4055) if request.name == "REGISTER" else ("ER_CMD_EXEC", 4036)
        return Told(said(name, number, "ERROR", text), attributes=progress.attributes(), ok=False, status=400)
    return Told(f"Successfully handled command {request.name}", attributes=progress.attributes())


def derived_type(name: str) -> str:
    """The media type that a name's suffix says."""
    found, coding = _TYPES.guess_type(name)
    found = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}.get(
        coding or "", found
    )
    if found is None:
        text = f"Mime-type could not be derived from the name {name[:80]!r}; give one (mime_type, Content-Type)."
        raise Refused(said("ER_UNKNOWN_MIME_TYPE1", 4014, "ERROR", text))
    return found


def _probe(request: Request) -> Told:
    media_type = request.text("mime_type") or derived_type(base_name(request.text("filename") or ""))
    text = f"Handling of Archive Request for mime-type: {media_type} is possible on node: {request.host_id}"
    return Told(said("INFO_ARCH_REQ_OK", 4068, "INFO", text))


def _kept(
    node: Node, request: Request, file_id: str, source: Readable, media_type: str, size_bytes: int | None
) -> Told:
    if not is_media_type(media_type):
        raise Refused(said("ER_UNKNOWN_MIME_TYPE2", 4047, "ERROR", f"{media_type[:80]!r} is no mime-type."))
    began_s = time.monotonic()
    source, crc32c = _promised(request, source)
    expected = Expected(size_bytes=size_bytes, crc32c=crc32c)
    written: Written = node.service.put(file_id, source, media_type=media_type, expected=expected)
    version = written.version
    how = "Pull" if request.method == "GET" else "Push"
    sound = [copy for copy in version.copies if copy.state == "ok"][:1]
    name = base_name(request.parameters["filename"])
    return Told(
        f"Successfully handled Archive {how} Request for data file with URI: {name}",
        tuple(node.on_disks(version, request, sound, time.monotonic() - began_s)),
    )


def _promised(request: Request, source: Readable) -> tuple[Readable, str | None]:
    """The checksum that was sent with the bytes, as CRC-32C, or in the stream where it is of another kind."""
    variant = request.text("crc_variant") or CRC32C[0]
    promised = request.headers.get("ngas-file-crc")
    if variant in ("-1", "none", "None"):
        return source, None
    if variant not in CRC32C + CRC32:
        raise Refused(f"Invalid parameter: crc_variant {variant[:40]!r} is not known; {', '.join(CRC32C + CRC32)} are")
    if promised is None:
        return source, None
    try:
        # Older data may have it signed.
        value = int(promised) % (1 << 32)
    except ValueError:
        raise Refused(f"NGAS-File-CRC is a decimal number, not {promised[:40]!r}") from None
    return (source, f"{value:08x}") if variant in CRC32C else (_Crc32Checked(source, value), None)


class _Crc32Checked:
    """A stream that fails at its end unless its CRC-32 (zlib's) is the one promised; so nothing of it is kept."""

    def __init__(self, stream: Readable, promised: int) -> None:
        self._stream, self._promised, self._crc = stream, promised, 0

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(size)
        self._crc = zlib.crc32(block, self._crc)
        if not block and self._crc != self._promised:
            raise ChecksumMismatch(f"local crc = {self._crc}, but remote crc = {self._promised}; send it again")
        return block


# --- pulling


@contextlib.contextmanager
def _pulled(node: Node, uri: str) -> Iterator[tuple[Readable, int | None]]:
    """What a URI names, and its size if that is told; Refused unless the settings allow it and it is there."""
    if not uri.startswith(PULLED):
        raise Refused(f"a file that is pulled has a URI (file:, http:, https:), and {uri[:80]!r} is none")
    if uri.startswith("file:"):
        path = _allowed_path(unquote(split_uri(uri).path), tuple(_folders(node.settings.pull_prefixes)))
        if path is None or not path.is_file():
            raise Refused(f"there is no file {uri[:200]}, or the settings do not allow it")
        with path.open("rb") as file:
            yield file, os.fstat(file.fileno()).st_size
        return
    if uri.startswith("ftp:") or below(uri, node.settings.pull_prefixes) is None:
        raise Refused(f"{uri[:200]} is not fetched: the settings allow no prefix of it (ftp is not spoken)")
    try:
        answer = _opener().open(UrlRequest(uri), timeout=node.settings.deliver_s)
    except (URLError, HTTPException, OSError, ValueError) as error:
        raise Refused(f"{uri[:200]} cannot be fetched: {error}") from error
    with answer:
        length = answer.headers.get("Content-Length", "")
        yield _Fetched(answer, uri), int(length) if length.isdecimal() else None


class _Fetched:
    """An answer whose failures are the client's to hear: it named the place."""

    def __init__(self, answer: Readable, uri: str) -> None:
        self._answer, self._uri = answer, uri

    def read(self, size: int, /) -> bytes:
        try:
            return self._answer.read(size)
        except (HTTPException, OSError) as error:
            raise Refused(f"{self._uri[:200]} broke off: {error}") from error


class _NoRedirects(HTTPRedirectHandler):
    """Elsewhere is not what the settings allow."""

    def redirect_request(
        self, req: UrlRequest, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


def _opener() -> OpenerDirector:
    """http and https, without proxies, redirects, files or anything else that urllib would open."""
    opener = OpenerDirector()
    for handler in (HTTPHandler, HTTPSHandler, _NoRedirects, HTTPDefaultErrorHandler, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener


def _folders(prefixes: tuple[str, ...]) -> Iterator[str]:
    """The folders among the prefixes."""
    for each in prefixes:
        if each.startswith("file:"):
            yield unquote(urlsplit(each).path)


def _allowed_path(named: str, folders: tuple[str, ...]) -> Path | None:
    """Where a path really leads, if that lies below one of the folders; None if not, which is answered as a file that
    is not there: nobody learns from us what else the machine has."""
    if not named.startswith("/") or "\0" in named:
        return None
    try:
        real = Path(named).resolve()
        allowed = any(real.is_relative_to(Path(folder).resolve()) for folder in folders)
    except (OSError, RuntimeError):
        return None
    return real if allowed else None
