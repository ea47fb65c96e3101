"""How objects go to an S3 server and come back: uploads in parts, reads that are taken up again where they broke.

Both speak of one object. Which objects there are is s3.py's.
"""

import base64
import hashlib
import secrets
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

from botocore.exceptions import BotoCoreError

from storage.errors import ObjectExists, ObjectNotFound, ReadFailed, StorageError, VolumeUnavailable
from storage.s3_bucket import Bucket

MAX_PARTS = 10_000
# S3 takes 2 KiB of metadata, of which base64 leaves three quarters.
MAX_LABEL_BYTES = 1_400
READ_ATTEMPTS = 4


def put_whole(bucket: Bucket, key: str, body: bytearray, *, md5: bool, label: bytes | None = None) -> None:
    """One request, refused by the server if the key is taken. md5: guard it by Content-MD5."""
    token, target = secrets.token_hex(16), bucket.target(key)
    metadata = {"put": token}
    if label is not None and len(label) <= MAX_LABEL_BYTES:
        metadata["label"] = base64.b64encode(label).decode()
    elif label is not None:
        put_label(bucket, key, label, md5=md5)
    with bucket.told(key, token):
        bucket.client.put_object(**target, Body=body, IfNoneMatch="*", Metadata=metadata, **_guard(body, md5))


def put_label(bucket: Bucket, key: str, label: bytes, *, md5: bool) -> None:
    """Keep a label in an object of its own."""
    with bucket.told(key):
        bucket.client.put_object(**bucket.label(key), Body=label, **_guard(label, md5))


class Upload:
    """One multipart upload: parts go out on threads, at most parallel_parts at a time."""

    def __init__(self, bucket: Bucket, key: str, *, parallel_parts: int, md5: bool) -> None:
        self._bucket, self._key, self._md5 = bucket, key, md5
        self._parallel_parts = parallel_parts
        self._token = secrets.token_hex(16)
        self._target = bucket.target(key)
        with bucket.told(key):
            made = bucket.client.create_multipart_upload(**self._target, Metadata={"put": self._token})
        self._upload_id = made["UploadId"]
        self._threads = ThreadPoolExecutor(parallel_parts, thread_name_prefix="store-s3")
        self._running: deque[Future[dict[str, Any]]] = deque()
        self._done: list[dict[str, Any]] = []

    def send(self, part: bytearray) -> None:
        """Send the next part; waits while parallel_parts are on their way."""
        if len(self._running) >= self._parallel_parts:
            self._collect()
        number = len(self._done) + len(self._running) + 1
        if number > MAX_PARTS:
            say = self._bucket.say(self._key)
            raise StorageError(f"{say} has more than {MAX_PARTS} parts: give size_hint, or larger part_bytes")
        self._running.append(self._threads.submit(self._send, number, part))

    def wait(self) -> None:
        """Return when all parts have arrived."""
        while self._running:
            self._collect()

    def complete(self, size_bytes: int, label: bytes | None) -> None:
        """Make the object visible, if nothing is there, its label first; see that the server has all of it."""
        bucket = self._bucket
        with self._claimed(), self._labelled(label), bucket.told(self._key, self._token):
            bucket.client.complete_multipart_upload(
                **self._target, UploadId=self._upload_id, MultipartUpload={"Parts": self._done}, IfNoneMatch="*"
            )
        found, *_ = bucket.head(self._key)
        if found != size_bytes:
            with bucket.told(self._key):
                bucket.client.delete_object(**self._target)
            say = bucket.say(self._key)
            raise VolumeUnavailable(f"{say}: the server kept {found} of {size_bytes} bytes; the object was removed")

    def abort(self, error: BaseException) -> None:
        """Have the server forget the parts. If it cannot be told now, the janitor tells it later."""
        self.close()
        try:
            with self._bucket.told(self._key):
                self._bucket.client.abort_multipart_upload(**self._target, UploadId=self._upload_id)
        except ObjectNotFound:
            return  # completed or ended already
        except StorageError as second:
            error.add_note(f"its parts could not be removed ({second}); the janitor will")

    def close(self) -> None:
        """End the threads; parts that wait are not sent."""
        self._threads.shutdown(cancel_futures=True)

    @contextmanager
    def _claimed(self) -> Iterator[None]:
        """Hold the right to complete an upload to this key.

        SeaweedFS 4.48 looks for If-None-Match and completes in two steps: of 8 uploads completed at once, up to 8 were
        acknowledged. Its put_object does it in one, as do all others seen; so a small object, put with the same
        condition, decides who may complete. Left behind by a crash it blocks this one key until the janitor comes.
        """
        bucket, claim = self._bucket, self._bucket.claim(self._key)
        try:
            with bucket.told(self._key, self._token, claims=True):
                bucket.client.put_object(**claim, Body=b"", IfNoneMatch="*", Metadata={"put": self._token})
        except ObjectExists:
            raise ObjectExists(f"{bucket.say(self._key)} is being put by another; take a new key") from None
        try:
            self._see_that_it_is_free()
            yield
        finally:
            self._release(claim)

    @contextmanager
    def _labelled(self, label: bytes | None) -> Iterator[None]:
        """Put the label, and take it back if the object does not come to it. A crash leaves it beside its claim."""
        if label is None:
            yield
            return
        put_label(self._bucket, self._key, label, md5=self._md5)
        try:
            yield
        except StorageError:
            with self._bucket.told(self._key):
                self._bucket.client.delete_object(**self._bucket.label(self._key))
            raise

    def _release(self, claim: dict[str, str]) -> None:
        try:
            with self._bucket.told(self._key):
                self._bucket.client.delete_object(**claim)
        except StorageError:
            # The object itself is decided; the claim left over is the janitor's.
            return

    def _see_that_it_is_free(self) -> None:
        try:
            self._bucket.head(self._key)
        except ObjectNotFound:
            return
        raise ObjectExists(f"{self._bucket.say(self._key)} is there already; take a new key")

    def _collect(self) -> None:
        self._done.append(self._running.popleft().result())

    def _send(self, number: int, part: bytearray) -> dict[str, Any]:
        with self._bucket.told(self._key):
            answer = self._bucket.client.upload_part(
                **self._target, UploadId=self._upload_id, PartNumber=number, Body=part, **_guard(part, self._md5)
            )
        sent = {"PartNumber": number, "ETag": answer["ETag"]}
        if "ChecksumCRC32" in answer:
            sent["ChecksumCRC32"] = answer["ChecksumCRC32"]
        return sent


class Reading:
    """One GET of the bytes from start to stop (None: the end), taken up again where it breaks.

    etag: of the object as it was first seen, so that no other one is taken for it.
    """

    def __init__(self, bucket: Bucket, key: str, start: int, stop: int | None, etag: str | None = None) -> None:
        self._bucket, self._key = bucket, key
        self._position, self._stop, self._etag = start, stop, etag
        self._body: Any = None

    def connect(self) -> int:
        """Ask for what is left; the size of the whole object in bytes."""
        asked: dict[str, Any] = dict(self._bucket.target(self._key))
        if self._position or self._stop is not None:
            last = "" if self._stop is None else self._stop - 1
            asked["Range"] = f"bytes={self._position}-{last}"
        if self._etag is not None:
            asked["IfMatch"] = self._etag
        try:
            with self._bucket.told(self._key):
                answer = self._bucket.client.get_object(**asked)
        except ObjectExists:  # 412, said of If-Match
            raise ReadFailed(f"{self._bucket.say(self._key)} was replaced while it was read; read it again") from None
        self._body, self._etag = answer["Body"], answer["ETag"]
        # "bytes 5-9/100": a ranged answer tells the size of the whole.
        whole = answer["ContentRange"].rsplit("/", 1)[1] if "ContentRange" in answer else answer["ContentLength"]
        return int(whole)

    def fetch(self, size: int) -> bytes:
        """The next 1 to size bytes, b"" at the end; ReadFailed after READ_ATTEMPTS breaks at one place."""
        for attempt in range(READ_ATTEMPTS):
            try:
                if self._body is None:
                    self.connect()
                block = cast(bytes, self._body.read(size))
            except (BotoCoreError, VolumeUnavailable) as error:
                self.close()
                if attempt == READ_ATTEMPTS - 1:
                    say = self._bucket.say(self._key)
                    raise ReadFailed(
                        f"{say} broke off {READ_ATTEMPTS} times at byte {self._position}: {error}"
                    ) from error
                time.sleep(0.2 * 2**attempt * (1 + secrets.randbelow(100) / 100))
            else:
                self._position += len(block)
                return block
        raise AssertionError("the loop above returns or raises")

    def close(self) -> None:
        """Let go of the connection; may be called twice."""
        body, self._body = self._body, None
        if body is not None:
            body.close()


def gather(blocks: Iterator[bytes], part_bytes: int) -> Iterator[bytearray]:
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


def _guard(body: bytes | bytearray, md5: bool) -> dict[str, str]:
    """Content-MD5 (RFC 1864), for servers that want it; boto3 sends CRC-32 by itself."""
    if not md5:
        return {}
    return {"ContentMD5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}
