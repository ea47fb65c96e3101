"""Trees of files in one body: MIME multipart as NGAS nests it, read and written as a stream; and tar.

A part that is multipart is a container within. Its headers stand at the start of the body itself, and no part tells its
size, so an end is found by its boundary alone.
"""

import secrets
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from typing import Protocol

from storage.checksums import BLOCK_BYTES, Readable
from storage.model import ObjectVersion
from storage.ngas.node import media_type_of
from storage.ngas.request import Refused

MAX_HEADER_BYTES = 16 << 10
MAX_DEPTH = 64
CRLF = b"\r\n"


class Visitor(Protocol):
    """What is told of a tree while it is read."""

    def enter(self, name: str) -> None:
        """A container begins, within the one that is open."""

    def leave(self) -> None:
        """It ends."""

    def file(self, name: str, media_type: str, stream: Readable) -> None:
        """A file of the container that is open; its bytes are to be read to the end."""


def read_tree(body: Readable, visitor: Visitor) -> None:
    """Read a body, and tell what it holds; Refused where it is none."""
    source = _Source(body)
    headers = source.headers()
    if headers.get_content_type() != "multipart/mixed":
        raise Refused("the body is no container: it must begin with the header Content-Type: multipart/mixed")
    _read_container(source, headers, visitor, 1)


def _read_container(source: "_Source", headers: Message, visitor: Visitor, depth: int) -> None:
    name, boundary = headers.get_param("container_name"), headers.get_param("boundary")
    if not isinstance(name, str) or not isinstance(boundary, str) or not name or not boundary or depth > MAX_DEPTH:
        raise Refused(f"a container has container_name and boundary, and lies in fewer than {MAX_DEPTH} others")
    delimiter = CRLF + b"--" + boundary.encode()
    visitor.enter(name)
    _skip(_Part(source, delimiter))
    while (mark := source.exactly(2)) == CRLF:
        inner = source.headers()
        if inner.get_content_type() == "multipart/mixed":
            _read_container(source, inner, visitor, depth + 1)
            _skip(_Part(source, delimiter))
            continue
        name = inner.get_filename()
        if not name:
            raise Refused("a part of the body has no filename")
        part = _Part(source, delimiter)
        visitor.file(name, inner.get_content_type(), part)
        _skip(part)
    if mark != b"--":
        raise Refused("a boundary of the body is followed by neither a line's end nor --")
    visitor.leave()


def _skip(part: "_Part") -> None:
    while part.read(BLOCK_BYTES):
        pass


class _Source:
    """A stream that can be looked ahead into."""

    def __init__(self, body: Readable) -> None:
        self._body = body
        self.held = bytearray()

    def more(self) -> None:
        """Hold more; Refused at the end."""
        block = self._body.read(BLOCK_BYTES)
        if not block:
            raise Refused("the body ends before its last boundary")
        self.held += block

    def exactly(self, size: int) -> bytes:
        while len(self.held) < size:
            self.more()
        return self.take(size)

    def take(self, size: int) -> bytes:
        taken = bytes(self.held[:size])
        del self.held[:size]
        return taken

    def headers(self) -> Message:
        """The header lines up to the first empty one."""
        while (end := self.held.find(CRLF + CRLF)) < 0:
            if len(self.held) > MAX_HEADER_BYTES:
                raise Refused("the body is no container: it has no header lines that end with an empty one")
            self.more()
        return BytesHeaderParser().parsebytes(self.take(end + 4))


class _Part:
    """What lies before the next delimiter, which is passed over at the end."""

    def __init__(self, source: _Source, delimiter: bytes) -> None:
        self._source, self._delimiter = source, delimiter
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """See Readable."""
        held = self._source.held
        while not self._ended:
            at = held.find(self._delimiter)
            if at == 0:
                self._source.take(len(self._delimiter))
                self._ended = True
            elif at > 0:
                return self._source.take(min(at, size))
            elif (sure := len(held) - len(self._delimiter) + 1) > 0:
                return self._source.take(min(sure, size))
            else:
                self._source.more()
        return b""


# --- writing


@dataclass(frozen=True, slots=True)
class Tree:
    """A container as it is sent: files by the names that they are sent under."""

    name: str
    files: Sequence[tuple[str, ObjectVersion]]
    children: Sequence["Tree"]


Segment = bytes | ObjectVersion
Opened = Callable[[ObjectVersion], Iterator[bytes]]


def size_of(segments: Sequence[Segment]) -> int:
    """Bytes in all."""
    return sum(len(each) if isinstance(each, bytes) else each.size_bytes for each in segments)


def blocks_of(segments: Sequence[Segment], opened: Opened) -> Iterator[bytes]:
    """The bytes themselves; opened: of a file."""
    for each in segments:
        if isinstance(each, bytes):
            yield each
        else:
            yield from opened(each)


def as_multipart(tree: Tree) -> Iterator[Segment]:
    """A tree as a body, in pieces."""
    boundary = secrets.token_hex(16).encode()
    yield (
        b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; container_name="%s"; boundary="%s"\r\n\r\n'
        % (tree.name.encode(), boundary)
    )
    for name, version in tree.files:
        yield b"\r\n--%s\r\nContent-Type: %s\r\n" % (boundary, media_type_of(version).encode())
        yield b'Content-Disposition: attachment; filename="%s"\r\n\r\n' % name.encode()
        yield version
    for child in tree.children:
        yield b"\r\n--%s\r\n" % boundary
        yield from as_multipart(child)
    yield b"\r\n--%s--" % boundary


def as_tar(tree: Tree, *, above: str = "") -> Iterator[Segment]:
    """A tree as a tar file, in pieces; above: of what it lies in."""
    way = f"{above}{tree.name}/"
    folder = tarfile.TarInfo(way)
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    yield folder.tobuf(tarfile.PAX_FORMAT)
    for name, version in tree.files:
        entry = tarfile.TarInfo(way + name)
        entry.size, entry.mtime = version.size_bytes, int(version.created.timestamp())
        yield entry.tobuf(tarfile.PAX_FORMAT)
        yield version
        yield bytes(-version.size_bytes % tarfile.BLOCKSIZE)
    for child in tree.children:
        yield from as_tar(child, above=way)
    if not above:
        yield bytes(2 * tarfile.BLOCKSIZE)
