"""The store as its users see it: bytes in, a key out; bytes by key. Several volumes behind one face.

The order that loses nothing: object first, row second (store(), then catalogue.add_object in the transaction that makes
the object known); in removing, row first, and the object after the commit (delete()). A crash in between leaves an
object without a row, which scrub.py finds, and never a row that promises bytes that are not there.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import BinaryIO, cast

from storage.checksums import Expected, Readable, Stored
from storage.errors import ObjectNotFound, OutOfSpace, VolumeUnavailable
from storage.labels import Label
from storage.model import StoredObject
from storage.volume import ObjectStream, Volume, new_key

__all__ = ["ObjectStore", "StoredObject"]


class ObjectStore:
    """Objects on one or more volumes, the first with room taking what comes.

    volumes: in the order of preference, names all different. A key is given to one object only, on any volume, so
    reading needs the key alone; `volume` spares asking the others.
    choose: which volumes may take so many bytes (ObjectService.candidates); all of them by default.
    """

    def __init__(self, volumes: Sequence[Volume], *, choose: Callable[[int], Sequence[str]] | None = None) -> None:
        self._choose = choose or (lambda size_bytes: list(self._volumes))
        self._volumes = {volume.name: volume for volume in volumes}
        if not volumes or len(self._volumes) != len(volumes):
            raise ValueError(f"a store wants volumes with names of their own, not {[v.name for v in volumes]}")

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The volumes in the order of preference."""
        return tuple(self._volumes.values())

    def volume(self, name: str) -> Volume:
        """The volume of that name; VolumeUnavailable if it is not configured."""
        try:
            return self._volumes[name]
        except KeyError:
            raise VolumeUnavailable(f"no volume {name!r} is configured, only {', '.join(self._volumes)}") from None

    def store(
        self,
        stream: Readable,
        *,
        key: str | None = None,
        size_hint: int | None = None,
        expected: Expected | None = None,
        volumes: Sequence[str] | None = None,
        label: Callable[[Stored, str], bytes] | None = None,
    ) -> StoredObject:
        """Keep the stream's bytes, durably, and say where: by default under a new key. The row is the caller's.

        size_hint: bytes to come, if known; it spares beginning on a volume without room. expected: what they must be.
        volumes: which to try, in this order; by default those that choose() gives.
        label: see Volume.put, and told on which volume the bytes are; by default one that says what they are, not
        whose: for that, label() later.
        A volume that is full or gone is passed over, in mid-stream too if the stream can seek back.
        Raises OutOfSpace or VolumeUnavailable when no volume is left, ChecksumMismatch, ObjectExists.
        """
        start = _position(stream)
        key = new_key() if key is None else key
        if size_hint is None and expected is not None:
            size_hint = expected.size_bytes
        created = datetime.now(UTC)

        def own_label(stored: Stored, volume: str) -> bytes:
            return Label(stored.size_bytes, stored.sha256, stored.md5, stored.crc32c, created).write()

        tried = [self.volume(name) for name in volumes or self._choose(size_hint or 0)]
        for number, volume in enumerate(tried, 1):
            watched = _Watched(stream)
            try:
                labelled = partial(_labelled, label or own_label, volume.name)
                stored = volume.put(key, watched, size_hint=size_hint, expected=expected, label=labelled)
            except (OutOfSpace, VolumeUnavailable):
                if number == len(tried) or not _rewind(stream, start, watched):
                    raise
            else:
                digests = (stored.sha256, stored.md5, stored.crc32c)
                return StoredObject(key, volume.name, stored.size_bytes, *digests, created, stored.blocks)
        raise VolumeUnavailable("no volume is to be written to")

    def label(self, key: str, label: bytes, *, volume: str) -> None:
        """Give an object another label, within the transaction that says whose it is and before its commit."""
        self.volume(volume).relabel(key, label)

    def open(self, key: str, start: int = 0, stop: int | None = None, *, volume: str | None = None) -> ObjectStream:
        """The bytes start <= i < stop of an object as a stream (Volume.open)."""
        return self._holder(key, volume).open(key, start, stop)

    def reader(self, key: str, *, volume: str | None = None) -> BinaryIO:
        """A seekable file, for reading at random (astropy.io.fits); close it after use."""
        return self._holder(key, volume).reader(key)

    def size(self, key: str, *, volume: str | None = None) -> int:
        """Bytes; raises ObjectNotFound."""
        return self._holder(key, volume).size(key)

    def exists(self, key: str, *, volume: str | None = None) -> bool:
        """Is an object there, on any volume?"""
        try:
            return self._holder(key, volume).exists(key)
        except ObjectNotFound:
            return False

    def delete(self, key: str, *, volume: str | None = None) -> bool:
        """Remove an object whose row is gone already; False if it was not there."""
        try:
            return self._holder(key, volume).delete(key)
        except ObjectNotFound:
            return False

    def _holder(self, key: str, name: str | None) -> Volume:
        """The volume that has the object; with one volume, or a name, nobody is asked."""
        if name is not None:
            return self.volume(name)
        if len(self._volumes) == 1:
            return self.volumes[0]
        unreachable: VolumeUnavailable | None = None
        for volume in self.volumes:
            try:
                if volume.exists(key):
                    return volume
            except VolumeUnavailable as error:
                unreachable = error
        if unreachable is not None:
            # It may lie there: not found would be a lie.
            raise unreachable
        raise ObjectNotFound(f"object {key} is on none of the volumes {', '.join(self._volumes)}")


def _labelled(label: Callable[[Stored, str], bytes], volume: str, stored: Stored) -> bytes:
    return label(stored, volume)


class _Watched:
    """A stream that knows whether anything was read from it."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.touched = False

    def read(self, size: int, /) -> bytes:
        self.touched = True
        return self._stream.read(size)


def _position(stream: Readable) -> int | None:
    """Where a seekable stream stands; None for others."""
    seekable = getattr(stream, "seekable", None)
    return cast(BinaryIO, stream).tell() if seekable is not None and seekable() else None


def _rewind(stream: Readable, start: int | None, watched: _Watched) -> bool:
    """Bring the stream back to where it stood; False if that cannot be done."""
    if not watched.touched:
        return True
    if start is None:
        return False
    cast(BinaryIO, stream).seek(start)  # it can be sought: it had a position
    return True
