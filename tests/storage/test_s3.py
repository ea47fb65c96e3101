"""What is special to a volume in a bucket: secrets, servers that die, servers that are old, requests asked for."""

import hashlib
import io
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from storage.errors import ObjectExists, StorageError, VolumeUnavailable
from storage.s3 import S3Volume
from storage.volume import new_key
from tests.object_store import ObjectStoreServer

MIB = 1 << 20


def listed(volume: S3Volume) -> list[str]:
    return [entry.key for entry in iter(volume.keys(""))]


def volume_on(server: ObjectStoreServer, bucket: str, **options: Any) -> S3Volume:
    given: dict[str, Any] = {
        "endpoint_url": server.endpoint_url,
        "bucket": bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "part_bytes": 5 * MIB,
    }
    return S3Volume(**(given | options))


@pytest.fixture(scope="module")
def bucket(object_store: ObjectStoreServer) -> str:
    return object_store.bucket()


def test_no_secret_is_in_a_repr_or_an_error(object_store: ObjectStoreServer, bucket: str) -> None:
    secret = "s3cr3t-" + object_store.secret_key
    volume = volume_on(object_store, bucket, secret_key=secret)
    with pytest.raises(VolumeUnavailable, match="refuses our keys") as told:
        volume.put(new_key(), io.BytesIO(b"x"))
    assert secret not in str(told.value) + repr(told.value) + repr(volume)
    with pytest.raises(ValueError, match="access_key and secret_key") as refused:
        volume_on(object_store, bucket, endpoint_url=f"http://me:{secret}@127.0.0.1:1")
    assert secret not in str(refused.value)


def test_a_server_that_is_not_there_and_a_bucket_that_is_not_there_are_said_to_be(
    object_store: ObjectStoreServer,
) -> None:
    gone = volume_on(object_store, "any", endpoint_url="http://127.0.0.1:1", attempts=1, connect_timeout_s=1)
    with pytest.raises(VolumeUnavailable, match="cannot be reached"):
        gone.exists(new_key())
    with pytest.raises(VolumeUnavailable, match="does not exist"):
        list(volume_on(object_store, "no-such-bucket").keys())


def test_parts_below_five_mebibytes_are_refused_at_once(object_store: ObjectStoreServer) -> None:
    with pytest.raises(ValueError, match="part_bytes"):
        volume_on(object_store, "any", part_bytes=5 * MIB - 1)


@pytest.mark.parametrize("size", [1000, 11 * MIB])
def test_a_server_that_knows_only_content_md5_is_served(
    object_store: ObjectStoreServer, bucket: str, size: int
) -> None:
    volume, key, data = volume_on(object_store, bucket, checksum="md5"), new_key(), random.Random(1).randbytes(size)
    sent: list[dict[str, Any]] = []
    volume._bucket.client.meta.events.register(
        "before-send.s3", lambda request, **_: sent.append(dict(request.headers))
    )
    volume.put(key, io.BytesIO(data))
    with volume.open(key) as stream:
        assert stream.read() == data
    assert any("Content-MD5" in headers for headers in sent)
    assert not any("crc32" in name.lower() for headers in sent for name in headers)


def test_volumes_with_prefixes_share_a_bucket_without_seeing_each_other(
    object_store: ObjectStoreServer, bucket: str
) -> None:
    one, two = (volume_on(object_store, bucket, prefix=prefix) for prefix in ("one", "one-more"))
    one.put("a/b", io.BytesIO(b"1"))
    two.put("a/b", io.BytesIO(b"2"))
    assert listed(one) == listed(two) == ["a/b"]
    assert one.delete("a/b") and two.exists("a/b")


def test_a_header_is_read_without_the_pixels(object_store: ObjectStoreServer, bucket: str) -> None:
    pixels, last = np.zeros((2500, 2500), "f4"), np.ones((10, 10), "f4")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(pixels, name="SCI"), fits.ImageHDU(last, name="LAST")]
    buffer, asked = io.BytesIO(), list[bytes]()
    fits.HDUList(hdus).writeto(buffer)
    volume, key = volume_on(object_store, bucket), new_key()
    volume.put(key, io.BytesIO(buffer.getvalue()))

    def record(request: Any, **_: Any) -> None:
        if request.method == "GET":
            asked.append(request.headers.get("Range", b"all"))

    volume._bucket.client.meta.events.register("before-send.s3", record)
    with volume.reader(key) as file, fits.open(file) as found:
        assert found["LAST"].data.sum() == 100
    sizes = [int(b) - int(a) + 1 for a, b in (r.decode().removeprefix("bytes=").split("-") for r in asked)]
    assert sum(sizes) < 2 * MIB < len(buffer.getvalue())


def test_a_crash_between_parts_is_invisible_and_the_janitor_ends_it(object_store: ObjectStoreServer) -> None:
    bucket = object_store.bucket()
    volume, client, key = volume_on(object_store, bucket), object_store.client(), new_key()
    # What a killed process leaves: an upload with a part, and a claim.
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=bytes(5 * MIB))
    client.put_object(Bucket=bucket, Key=f".claims/{key}", Body=b"")
    assert not volume.exists(key) and list(volume.keys()) == []
    with pytest.raises(ObjectExists, match="being put by another"):
        volume.put(key, io.BytesIO(bytes(11 * MIB)))
    assert volume.janitor(grace_s=3600) == 0
    assert volume.janitor(grace_s=0) == 2
    volume.put(key, io.BytesIO(bytes(11 * MIB)))
    assert volume.size(key) == 11 * MIB
    assert client.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


def test_a_put_whose_claim_was_sent_twice_because_its_answer_was_lost_is_one_put(
    object_store: ObjectStoreServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, key, data = volume_on(object_store, bucket), new_key(), random.Random(5).randbytes(6 * MIB)
    send, claims = volume._bucket.client.put_object, list[str]()

    def send_claims_twice(**asked: Any) -> Any:
        if asked["Key"].startswith(".claims/"):
            claims.append(asked["Key"])
            send(**asked)
        return send(**asked)

    monkeypatch.setattr(volume._bucket.client, "put_object", send_claims_twice)
    volume.put(key, io.BytesIO(data))
    assert claims == [f".claims/{key}"] and volume.janitor(grace_s=0) == 0
    with volume.open(key) as stream:
        assert stream.read() == data


@pytest.fixture
def own_server() -> Iterator[ObjectStoreServer]:
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    server = ObjectStoreServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.fault
@pytest.mark.slow
def test_a_server_killed_in_mid_put_leaves_nothing_and_serves_again(own_server: ObjectStoreServer) -> None:
    bucket = own_server.bucket()
    volume = volume_on(own_server, bucket, attempts=2, connect_timeout_s=1)
    kept, lost = new_key(), new_key()
    data = random.Random(3).randbytes(12 * MIB)
    volume.put(kept, io.BytesIO(data))

    def wait_for_an_upload() -> None:
        for _ in range(200):
            if own_server.client().list_multipart_uploads(Bucket=bucket).get("Uploads"):
                return
            time.sleep(0.05)
        raise AssertionError("no upload began")

    class Killer:
        left = 24 * MIB
        has_killed = False

        def read(self, size: int, /) -> bytes:
            if self.left <= 8 * MIB and not self.has_killed:
                wait_for_an_upload()  # reading is ahead of sending: the kill is to meet an upload that has begun
                own_server.kill()
                self.has_killed = True
            given = min(size, self.left)
            self.left -= given
            return bytes(given)

    with pytest.raises(VolumeUnavailable) as told:
        volume.put(lost, Killer())
    assert "janitor" in "".join(getattr(told.value, "__notes__", []))
    with pytest.raises(StorageError):
        volume.exists(kept)
    own_server.start()
    assert not volume.exists(lost)
    with volume.open(kept) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == hashlib.sha256(data).hexdigest()
    assert volume.janitor(grace_s=0) >= 1
    assert listed(volume) == [kept]


@pytest.mark.fault
def test_a_read_whose_connection_breaks_goes_on_where_it_broke(object_store: ObjectStoreServer, bucket: str) -> None:
    volume, key, data = volume_on(object_store, bucket), new_key(), random.Random(4).randbytes(4 * MIB)
    volume.put(key, io.BytesIO(data))
    with volume.open(key, 10) as stream:
        first = stream.read(MIB)
        # The connection beneath is cut: what a proxy or a restarting server does.
        stream._fetch.__self__._body._raw_stream._connection.sock.shutdown(2)  # type: ignore[attr-defined]
        assert first + stream.read() == data[10:]
