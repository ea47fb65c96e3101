"""A volume in a bucket of any S3 server, by boto3.

An object becomes visible when its one put or its multipart upload completes, and only if nothing is there yet
(If-None-Match: *). What a cut-off upload leaves is invisible and ended by the janitor.
"""

import base64
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Literal, cast
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.checksums import Expected, Hashing, Readable, Stored
from storage.errors import (
    InvalidRange,
    ObjectExists,
    ObjectNotFound,
    OutOfSpace,
    ReadFailed,
    StorageError,
    VolumeUnavailable,
)
from storage.ranged import READ_AHEAD_BYTES, RangedReader
from storage.volume import Entry, ObjectStream, check_key, clip_range, is_key

MIN_PART_BYTES = 5 << 20
PART_BYTES = 64 << 20
MAX_PARTS = 10_000
_READ_ATTEMPTS = 4
_NOT_FOUND = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_FULL = {"507", "InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "EntityTooLarge"}


class S3Volume:
    """Objects in a bucket, each under prefix + key.

    endpoint_url: the server, None for AWS. part_bytes: size of the parts of larger objects, at least 5 MiB; an object
    of size_hint beyond 10,000 parts takes larger ones. Memory of a put: (parallel_parts + 1) parts at most.
    checksum: what guards each request on the wire; "md5" for servers that do not know x-amz-checksum-crc32.
    attempts: how often a request is tried, with jitter between. connect_timeout_s, read_timeout_s: seconds.
    read_ahead_bytes: how much a reader asks for at first. The secret goes into the client and is kept nowhere else.
    """

    def __init__(
        self,
        *,
        bucket: str,
        access_key: str,
        secret_key: str,
        endpoint_url: str | None = None,
        region: str = "us-east-1",
        prefix: str = "",
        name: str = "s3",
        part_bytes: int = PART_BYTES,
        parallel_parts: int = 2,
        checksum: Literal["crc32", "md5"] = "crc32",
        path_style: bool = True,
        attempts: int = 5,
        connect_timeout_s: float = 5,
        read_timeout_s: float = 60,
        max_connections: int = 32,
        read_ahead_bytes: int = READ_AHEAD_BYTES,
    ) -> None:
        if part_bytes < MIN_PART_BYTES:
            raise ValueError(f"part_bytes is {part_bytes}: S3 takes no parts below {MIN_PART_BYTES} bytes")
        if endpoint_url is not None and "@" in urlsplit(endpoint_url).netloc:
            raise ValueError("endpoint_url holds a user or password: give them as access_key and secret_key")
        if prefix:
            check_key(prefix.removesuffix("/"))
        self._name, self._bucket, self._prefix = name, bucket, prefix.removesuffix("/") + "/" if prefix else ""
        self._endpoint_url = endpoint_url
        self._part_bytes, self._parallel_parts = part_bytes, parallel_parts
        self._md5 = checksum == "md5"
        self._read_ahead_bytes = read_ahead_bytes
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region,
            config=Config(
                retries={"mode": "standard", "max_attempts": attempts},
                s3={"addressing_style": "path" if path_style else "auto"},
                request_checksum_calculation="when_required" if self._md5 else "when_supported",
                response_checksum_validation="when_required",
                connect_timeout=connect_timeout_s,
                read_timeout=read_timeout_s,
                max_pool_connections=max_connections,
            ),
        )

    def __repr__(self) -> str:
        return f"S3Volume({self._name!r}, {self._endpoint_url!r}, {self._bucket!r}, {self._prefix!r})"

    @property
    def name(self) -> str:
        """What the volume is called in the catalogue."""
        return self._name

    def put(
        self, key: str, stream: Readable, *, size_hint: int | None = None, expected: Expected | None = None
    ) -> Stored:
        """See Volume.put. One request up to part_bytes, a multipart upload beyond."""
        place = self._place(key)
        if self.exists(key):
            # Spares a long upload; the last word is the server's, at completion.
            raise ObjectExists(f"{self._say(key)} is there already; take a new key")
        part_bytes = max(self._part_bytes, -(-(size_hint or 0) // MAX_PARTS))
        with Hashing() as hashing:
            parts = _parts(hashing.blocks(stream), part_bytes)
            first = next(parts, bytearray())
            second = next(parts, None)
            if second is None:
                stored = hashing.stored()
                if expected is not None:
                    expected.check(stored, self._say(key))
                self._put_whole(key, place, first)
                return stored
            upload = _Upload(self, key, place)
            try:
                upload.send(first)
                upload.send(second)
                del first, second
                for part in parts:
                    upload.send(part)
                stored = hashing.stored()
                if expected is not None:
                    expected.check(stored, self._say(key))
                upload.complete(stored.size_bytes)
            except BaseException as error:
                upload.abort(error)
                raise
            finally:
                upload.close()
            return stored

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        """See Volume.open. A connection that breaks is taken up again where it broke, on the same object."""
        place, say = self._place(key), self._say(key)
        if start < 0 or (stop is not None and stop <= start):
            size_bytes = self.size(key)
            start, stop = clip_range(start, stop, size_bytes, say)
            return ObjectStream(say, start, stop, size_bytes, lambda _: b"", lambda: None)
        reading = _Reading(self, key, place, start, stop)
        try:
            size_bytes = reading.connect()
        except InvalidRange:
            # Empty objects and ranges that start at the very end have no bytes to ask for.
            size_bytes = self.size(key)
            start, stop = clip_range(start, stop, size_bytes, say)
            return ObjectStream(say, start, stop, size_bytes, lambda _: b"", lambda: None)
        start, stop = clip_range(start, stop, size_bytes, say)
        return ObjectStream(say, start, stop, size_bytes, reading.fetch, reading.close)

    def reader(self, key: str) -> BinaryIO:
        """See Volume.reader: ranged reads with read-ahead, which grows while reading goes straight on."""
        size_bytes, etag = self._head(key)

        def fetch(start: int, stop: int) -> bytes:
            reading = _Reading(self, key, self._place(key), start, stop, etag)
            try:
                stream = ObjectStream(self._say(key), start, stop, size_bytes, reading.fetch, reading.close)
                return stream.read()
            finally:
                reading.close()

        return RangedReader(fetch, size_bytes, key, read_ahead_bytes=self._read_ahead_bytes).buffered()

    def size(self, key: str) -> int:
        """See Volume.size."""
        return self._head(key)[0]

    def exists(self, key: str) -> bool:
        """See Volume.exists."""
        try:
            self._head(key)
        except ObjectNotFound:
            return False
        return True

    def delete(self, key: str) -> bool:
        """See Volume.delete. S3 itself does not say whether there was one, so this asks first."""
        there = self.exists(key)
        if there:
            with self._told(key):
                self._client.delete_object(Bucket=self._bucket, Key=self._place(key))
        return there

    def keys(self, prefix: str = "", *, after: str = "") -> Iterator[Entry]:
        """See Volume.keys. Pages of a thousand; what does not follow the grammar of keys is not ours and left out."""
        asked = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if after:
            asked["StartAfter"] = self._prefix + after
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(**asked))
        while True:
            with self._told(prefix):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                key = found["Key"].removeprefix(self._prefix)
                if is_key(key):
                    yield Entry(key, found["Size"], found["LastModified"].astimezone(UTC))

    def free_bytes(self) -> int | None:
        """None: S3 has no word for it."""
        return None

    def janitor(self, *, grace_s: float = 86_400) -> int:
        """See Volume.janitor. Ends multipart uploads that were begun more than grace_s seconds ago.

        S3 cannot say whether an upload still runs: grace_s must be longer than the longest put.
        """
        before, ended = datetime.now(UTC) - timedelta(seconds=grace_s), 0
        with self._told("uploads"):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for found in page.get("Uploads", ()):
                    if found["Initiated"] <= before:
                        self._client.abort_multipart_upload(
                            Bucket=self._bucket, Key=found["Key"], UploadId=found["UploadId"]
                        )
                        ended += 1
        return ended

    def _put_whole(self, key: str, place: str, body: bytearray) -> None:
        token = secrets.token_hex(16)
        with self._told(key, token):
            self._client.put_object(
                Bucket=self._bucket, Key=place, Body=body, IfNoneMatch="*", Metadata={"put": token}, **self._guard(body)
            )

    def _guard(self, body: bytearray) -> dict[str, str]:
        """The digest of one request where the server wants Content-MD5; boto3 sends CRC-32 by itself."""
        return {"ContentMD5": _content_md5(body)} if self._md5 else {}

    def _head(self, key: str) -> tuple[int, str]:
        place = self._place(key)
        with self._told(key):
            found = self._client.head_object(Bucket=self._bucket, Key=place)
        return int(found["ContentLength"]), str(found["ETag"])

    def _is_ours(self, key: str, token: str) -> bool:
        """Was it this very put that made the object? A retried request finds its own first try there."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=self._place(key))
        except (BotoCoreError, ClientError):
            return False  # not known to be ours: the first error is the one to tell
        return bool(found.get("Metadata", {}).get("put") == token)

    def _place(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _say(self, key: str) -> str:
        return f"object {key} of volume {self._name}"

    @contextmanager
    def _told(self, key: str, token: str = "") -> Iterator[None]:
        """The server's errors in the store's words. token: of the put under way, forgiven if it finds itself."""
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            if status in {404, 412} and token and self._is_ours(key, token):
                return
            raise self._in_our_words(key, str(code), int(status)) from error
        except BotoCoreError as error:
            raise VolumeUnavailable(
                f"{self._say(key)}: {self._endpoint_url or 'AWS'} cannot be reached ({type(error).__name__}); try later"
            ) from error

    def _in_our_words(self, key: str, code: str, status: int) -> StorageError:
        say = self._say(key)
        if code == "NoSuchBucket":
            return VolumeUnavailable(f"{say}: bucket {self._bucket} does not exist; create it")
        if code in _NOT_FOUND:
            return ObjectNotFound(f"{say} is not there")
        if status in {409, 412}:
            return ObjectExists(f"{say} is there already; take a new key")
        if code == "InvalidRange":
            return InvalidRange(f"{say} does not have these bytes")
        if code in _FULL or status == 507:
            return OutOfSpace(f"{say}: the server has no room ({code}); free some, or add a volume")
        if status in {401, 403}:
            return VolumeUnavailable(
                f"{say}: the server refuses our keys ({code}); check them, and the bucket's policy"
            )
        return VolumeUnavailable(f"{say}: the server answered {status} {code}; try later, or look into its log")


class _Upload:
    """One multipart upload: parts go out on threads, at most parallel_parts at a time."""

    def __init__(self, volume: S3Volume, key: str, place: str) -> None:
        self._volume, self._key = volume, key
        self._token = secrets.token_hex(16)
        self._target = {"Bucket": volume._bucket, "Key": place}
        with volume._told(key):
            made = volume._client.create_multipart_upload(**self._target, Metadata={"put": self._token})
        self._upload_id = made["UploadId"]
        self._threads = ThreadPoolExecutor(volume._parallel_parts, thread_name_prefix="store-s3")
        self._running: deque[Future[dict[str, Any]]] = deque()
        self._done: list[dict[str, Any]] = []

    def send(self, part: bytearray) -> None:
        """Send the next part; waits while parallel_parts are on their way."""
        if len(self._running) >= self._volume._parallel_parts:
            self._collect()
        number = len(self._done) + len(self._running) + 1
        if number > MAX_PARTS:
            raise StorageError(
                f"{self._volume._say(self._key)} has more than {MAX_PARTS} parts: give size_hint, or larger part_bytes"
            )
        self._running.append(self._threads.submit(self._send, number, part))

    def complete(self, size_bytes: int) -> None:
        """Make the object visible, if nothing is there; then see that the server has all of it."""
        while self._running:
            self._collect()
        volume = self._volume
        with volume._told(self._key, self._token):
            volume._client.complete_multipart_upload(
                **self._target, UploadId=self._upload_id, MultipartUpload={"Parts": self._done}, IfNoneMatch="*"
            )
        found = volume.size(self._key)
        if found != size_bytes:
            volume.delete(self._key)
            raise VolumeUnavailable(
                f"{volume._say(self._key)}: the server kept {found} of {size_bytes} bytes; the object was removed"
            )

    def abort(self, error: BaseException) -> None:
        """Have the server forget the parts. If it cannot be told now, the janitor tells it later."""
        self.close()
        try:
            with self._volume._told(self._key):
                self._volume._client.abort_multipart_upload(**self._target, UploadId=self._upload_id)
        except ObjectNotFound:
            return  # completed or ended already
        except StorageError as second:
            error.add_note(f"its parts could not be removed ({second}); the janitor will")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def _collect(self) -> None:
        self._done.append(self._running.popleft().result())

    def _send(self, number: int, part: bytearray) -> dict[str, Any]:
        volume = self._volume
        with volume._told(self._key):
            answer = volume._client.upload_part(
                **self._target, UploadId=self._upload_id, PartNumber=number, Body=part, **volume._guard(part)
            )
        sent = {"PartNumber": number, "ETag": answer["ETag"]}
        if "ChecksumCRC32" in answer:
            sent["ChecksumCRC32"] = answer["ChecksumCRC32"]
        return sent


class _Reading:
    """One GET, taken up again where it breaks; etag makes sure that it is still the same object."""

    def __init__(
        self, volume: S3Volume, key: str, place: str, start: int, stop: int | None, etag: str | None = None
    ) -> None:
        self._volume, self._key, self._place = volume, key, place
        self._position, self._stop, self._etag = start, stop, etag
        self._body: Any = None

    def connect(self) -> int:
        """Ask for what is left; the size of the whole object."""
        asked: dict[str, Any] = {"Bucket": self._volume._bucket, "Key": self._place}
        if self._position or self._stop is not None:
            last = "" if self._stop is None else self._stop - 1
            asked["Range"] = f"bytes={self._position}-{last}"
        if self._etag is not None:
            asked["IfMatch"] = self._etag
        try:
            with self._volume._told(self._key):
                answer = self._volume._client.get_object(**asked)
        except ObjectExists:  # 412, said of If-Match
            raise ReadFailed(f"{self._volume._say(self._key)} was replaced while it was read; read it again") from None
        self._body, self._etag = answer["Body"], answer["ETag"]
        # "bytes 5-9/100": a ranged answer tells the size of the whole.
        return (
            int(answer["ContentRange"].rsplit("/", 1)[1]) if "ContentRange" in answer else int(answer["ContentLength"])
        )

    def fetch(self, size: int) -> bytes:
        for attempt in range(_READ_ATTEMPTS):
            try:
                if self._body is None:
                    self.connect()
                block = cast(bytes, self._body.read(size))
            except (BotoCoreError, VolumeUnavailable) as error:
                self.close()
                if attempt == _READ_ATTEMPTS - 1:
                    say = self._volume._say(self._key)
                    raise ReadFailed(
                        f"{say} broke off {_READ_ATTEMPTS} times at byte {self._position}: {error}"
                    ) from error
                time.sleep(0.2 * 2**attempt * (1 + secrets.randbelow(100) / 100))
            else:
                self._position += len(block)
                return block
        raise AssertionError("the loop above returns or raises")

    def close(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.close()


def _parts(blocks: Iterator[bytes], part_bytes: int) -> Iterator[bytearray]:
    """Blocks gathered to parts of part_bytes, the last one shorter."""
    part = bytearray()
    for block in blocks:
        rest = memoryview(block)
        while len(part) + len(rest) >= part_bytes:
            room = part_bytes - len(part)
            part += rest[:room]
            yield part
            part, rest = bytearray(), rest[room:]
        part += rest
    if part:
        yield part


def _content_md5(body: bytearray) -> str:
    """Content-MD5 (RFC 1864): the digest in base64."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
