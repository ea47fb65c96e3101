"""A volume in a bucket of any S3 server, by boto3.

An object becomes visible when its one put or its multipart upload completes, and only if nothing is there yet
(If-None-Match: *). What a cut-off upload leaves is invisible, and ended by the janitor. The server and its errors are
in s3_bucket.py, uploads and reads in s3_transfer.py.

An object's label is metadata of its own where it is put in one request, else, and if it is changed later, an object
under `.labels/`, which is put first. The tombstone of a removed object lies under `.removed/`. No key can name these.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO, Literal

from botocore.config import Config

from storage.checksums import Expected, Hashing, Readable, Stored
from storage.errors import InvalidRange, ObjectExists, ObjectNotFound
from storage.ranged import READ_AHEAD_BYTES, RangedReader
from storage.s3_bucket import Bucket
from storage.s3_transfer import MAX_PARTS, Reading, Upload, gather, put_label, put_whole
from storage.volume import Entry, Kind, Label, ObjectStream, clip_range, is_key

MIN_PART_BYTES = 5 << 20
PART_BYTES = 64 << 20


class S3Volume:
    """Objects in a bucket, each under prefix + key.

    endpoint_url: the server, None for AWS. part_bytes: size of the parts of larger objects, at least 5 MiB; an object
    of size_hint beyond 10,000 parts takes larger ones. Memory of a put: (parallel_parts + 1) parts at most.
    checksum: what guards each request on the wire; "md5" for servers that do not know x-amz-checksum-crc32.
    attempts: how often a request is tried, with jitter between. connect_timeout_s, read_timeout_s: seconds.
    read_ahead_bytes: how much a reader asks for at first. The secret goes into the client and is kept nowhere else.

    Of several puts to one key one wins on every server that heeds If-None-Match in put_object. One case is left to the
    server: a put in one request against a multipart one, at once, where completing is not atomic (SeaweedFS 4.48).
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
        self._part_bytes, self._parallel_parts = part_bytes, parallel_parts
        self._md5 = checksum == "md5"
        self._read_ahead_bytes = read_ahead_bytes
        self._bucket = Bucket(
            bucket=bucket,
            access_key=access_key,
            secret_key=secret_key,
            endpoint_url=endpoint_url,
            region=region,
            prefix=prefix,
            name=name,
            config=Config(
                signature_version="s3v4",  # what signs requests anyway, and would not sign URLs by itself
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
        bucket = self._bucket
        return f"S3Volume({bucket.name!r}, {bucket.endpoint_url!r}, {bucket.bucket!r}, {bucket.prefix!r})"

    @property
    def name(self) -> str:
        """What the volume is called in the catalogue."""
        return self._bucket.name

    @property
    def kind(self) -> Kind:
        """See Volume.kind."""
        return "s3"

    def put(
        self,
        key: str,
        stream: Readable,
        *,
        size_hint: int | None = None,
        expected: Expected | None = None,
        label: Label | None = None,
    ) -> Stored:
        """See Volume.put. One request up to part_bytes, a multipart upload beyond."""
        bucket = self._bucket
        bucket.target(key)
        part_bytes = max(self._part_bytes, -(-(size_hint or 0) // MAX_PARTS))
        with Hashing() as hashing:
            parts = gather(hashing.blocks(stream), part_bytes)
            first = next(parts, bytearray())
            second = next(parts, None)
            if second is None:
                stored = hashing.stored()
                if expected is not None:
                    expected.check(stored)
                text = None if label is None else label(stored)
                put_whole(bucket, key, first, md5=self._md5, label=text)
                return stored
            if self.exists(key):
                # Spares a long upload; the last word is said at completion.
                raise ObjectExists(f"{bucket.say(key)} is there already; take a new key")
            upload = Upload(bucket, key, parallel_parts=self._parallel_parts, md5=self._md5)
            try:
                upload.send(first)
                upload.send(second)
                del first, second
                for part in parts:
                    upload.send(part)
                stored = hashing.stored()
                if expected is not None:
                    expected.check(stored)
                upload.wait()
                upload.complete(stored.size_bytes, None if label is None else label(stored))
            except BaseException as error:
                upload.abort(error)
                raise
            finally:
                upload.close()
            return stored

    def label(self, key: str) -> bytes | None:
        """See Volume.label."""
        bucket = self._bucket
        metadata = bucket.head(key)[2]
        try:
            return bucket.small(key, bucket.label(key))  # it comes first: relabel leaves the former one where it was
        except ObjectNotFound:
            return base64.b64decode(metadata["label"]) if "label" in metadata else None

    def relabel(self, key: str, label: bytes) -> None:
        """See Volume.relabel."""
        self._bucket.head(key)
        put_label(self._bucket, key, label, md5=self._md5)

    def open(self, key: str, start: int = 0, stop: int | None = None) -> ObjectStream:
        """See Volume.open. A connection that breaks is taken up again where it broke, on the same object."""
        if start < 0 or (stop is not None and stop <= start):
            return self._without_bytes(key, start, stop)
        reading = Reading(self._bucket, key, start, stop)
        try:
            size_bytes = reading.connect()
        except InvalidRange:
            # Empty objects, and ranges that start at the very end, have no bytes to ask for.
            return self._without_bytes(key, start, stop)
        say = self._bucket.say(key)
        start, stop = clip_range(start, stop, size_bytes, say)
        return ObjectStream(say, start, stop, size_bytes, reading.fetch, reading.close)

    def reader(self, key: str) -> BinaryIO:
        """See Volume.reader: ranged reads with read-ahead, which grows while reading goes straight on."""
        size_bytes, etag, _ = self._bucket.head(key)

        def fetch(start: int, stop: int) -> bytes:
            reading = Reading(self._bucket, key, start, stop, etag)
            with ObjectStream(self._bucket.say(key), start, stop, size_bytes, reading.fetch, reading.close) as stream:
                return stream.read()

        return RangedReader(fetch, size_bytes, key, read_ahead_bytes=self._read_ahead_bytes).buffered()

    def size(self, key: str) -> int:
        """See Volume.size."""
        return self._bucket.head(key)[0]

    def exists(self, key: str) -> bool:
        """See Volume.exists."""
        try:
            self._bucket.head(key)
        except ObjectNotFound:
            return False
        return True

    def signed_url(self, key: str, lasts: timedelta, *, media_type: str, disposition: str) -> str:
        """Where anybody can read the object, as a file of this type and name, for so long."""
        bucket = self._bucket
        asked = {**bucket.target(key), "ResponseContentType": media_type, "ResponseContentDisposition": disposition}
        with bucket.told(key):
            url: str = bucket.client.generate_presigned_url("get_object", asked, int(lasts.total_seconds()))
        return url

    def delete(self, key: str, *, tombstone: bytes | None = None) -> bool:
        """See Volume.delete. S3 itself does not say whether there was one, so this asks first."""
        bucket = self._bucket
        there = self.exists(key)
        with bucket.told(key):
            if tombstone is not None:
                bucket.client.put_object(**bucket.tombstone(key), Body=tombstone)
            if there:
                bucket.client.delete_object(**bucket.target(key))
                bucket.client.delete_object(**bucket.label(key))
        return there

    def tombstones(self) -> Iterator[tuple[str, bytes]]:
        """See Volume.tombstones."""
        for found in self._listed(Prefix=self._bucket.removed):
            key = found["Key"].removeprefix(self._bucket.removed)
            yield key, self._bucket.small(key, self._bucket.tombstone(key))

    def keys(self, prefix: str = "", *, after: str = "") -> Iterator[Entry]:
        """See Volume.keys. By pages of a thousand; what does not follow the grammar of keys is not ours: left out."""
        start = self._bucket.prefix
        asked = {"Prefix": start + prefix} | ({"StartAfter": start + after} if after else {})
        for found in self._listed(**asked):
            key = found["Key"].removeprefix(start)
            if is_key(key):
                yield Entry(key, found["Size"], found["LastModified"].astimezone(UTC))

    def free_bytes(self) -> int | None:
        """None: S3 has no word for it."""
        return None

    def capacity_bytes(self) -> int | None:
        """None: S3 has no word for it."""
        return None

    def janitor(self, *, grace_s: float = 86_400) -> int:
        """See Volume.janitor. Ends multipart uploads begun, and claims made, more than grace_s seconds ago.

        S3 cannot say whether an upload still runs: grace_s must be longer than the longest put.
        """
        bucket, before, ended = self._bucket, datetime.now(UTC) - timedelta(seconds=grace_s), 0
        for found in self._pages("list_multipart_uploads", "Uploads", Prefix=bucket.prefix):
            if found["Initiated"] <= before:
                with bucket.told("of an unfinished upload"):
                    bucket.client.abort_multipart_upload(
                        Bucket=bucket.bucket, Key=found["Key"], UploadId=found["UploadId"]
                    )
                ended += 1
        for found in self._listed(Prefix=bucket.claims):
            if found["LastModified"] <= before:
                key = found["Key"].removeprefix(bucket.claims)
                if not self.exists(key):  # the label was put first, and then nothing
                    with bucket.told(key):
                        bucket.client.delete_object(**bucket.label(key))
                with bucket.told("of a claim"):
                    bucket.client.delete_object(Bucket=bucket.bucket, Key=found["Key"])
                ended += 1
        return ended

    def _without_bytes(self, key: str, start: int, stop: int | None) -> ObjectStream:
        say, size_bytes = self._bucket.say(key), self.size(key)
        start, stop = clip_range(start, stop, size_bytes, say)
        return ObjectStream(say, start, stop, size_bytes, lambda _: b"", lambda: None)

    def _listed(self, **asked: str) -> Iterator[dict[str, Any]]:
        return self._pages("list_objects_v2", "Contents", **asked)

    def _pages(self, operation: str, what: str, **asked: str) -> Iterator[dict[str, Any]]:
        bucket = self._bucket
        pages = iter(bucket.client.get_paginator(operation).paginate(Bucket=bucket.bucket, **asked))
        while True:
            with bucket.told(f"{asked['Prefix']}*"):
                page = next(pages, None)
            if page is None:
                return
            yield from page.get(what, ())
