"""One bucket of an S3 server: the client, where keys go in it, and its errors in the store's words.

What a volume does with it is in s3.py, how objects go out and come back in s3_transfer.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from storage.errors import (
    InvalidRange,
    ObjectExists,
    ObjectNotFound,
    OutOfSpace,
    StorageError,
    VolumeUnavailable,
)
from storage.volume import check_key

_NOT_FOUND = {"404", "NoSuchKey", "NotFound", "NoSuchUpload"}
_FULL = {"507", "InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "EntityTooLarge"}
# Outside the grammar of keys, and so never listed as an object.
_CLAIMS, _LABELS, _REMOVED = ".claims/", ".labels/", ".removed/"


class Bucket:
    """A bucket and a prefix in it, seen through a boto3 client, which alone knows the secret."""

    def __init__(
        self,
        *,
        bucket: str,
        access_key: str,
        secret_key: str,
        endpoint_url: str | None,
        region: str,
        prefix: str,
        name: str,
        config: Config,
    ) -> None:
        if endpoint_url is not None and "@" in urlsplit(endpoint_url).netloc:
            raise ValueError("endpoint_url holds a user or password: give them as access_key and secret_key")
        if prefix:
            check_key(prefix.removesuffix("/"))
        self.name, self.bucket = name, bucket
        self.prefix = prefix.removesuffix("/") + "/" if prefix else ""
        self.claims, self.labels, self.removed = (self.prefix + each for each in (_CLAIMS, _LABELS, _REMOVED))
        self.endpoint_url = endpoint_url
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint_url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=region,
            config=config,
        )

    def target(self, key: str) -> dict[str, str]:
        """Where the key's object lies, as boto3 wants it said; InvalidKey for what is no key."""
        return {"Bucket": self.bucket, "Key": self.prefix + check_key(key)}

    def claim(self, key: str) -> dict[str, str]:
        """Where the mark lies that says: an upload to this key is being completed."""
        return {"Bucket": self.bucket, "Key": self.claims + check_key(key)}

    def label(self, key: str) -> dict[str, str]:
        """Where the label lies that the object does not carry itself."""
        return {"Bucket": self.bucket, "Key": self.labels + check_key(key)}

    def tombstone(self, key: str) -> dict[str, str]:
        """Where the tombstone of a removed object lies."""
        return {"Bucket": self.bucket, "Key": self.removed + check_key(key)}

    def head(self, key: str) -> tuple[int, str, dict[str, str]]:
        """Size in bytes, ETag and metadata; ObjectNotFound."""
        target = self.target(key)
        with self.told(key):
            found = self.client.head_object(**target)
        return int(found["ContentLength"]), str(found["ETag"]), found.get("Metadata", {})

    def small(self, key: str, place: dict[str, str]) -> bytes:
        """A small object of our own about a key, whole; ObjectNotFound."""
        with self.told(key):
            return bytes(self.client.get_object(**place)["Body"].read())

    def say(self, key: str) -> str:
        """The object, as errors name it."""
        return f"object {key} of volume {self.name}"

    @contextmanager
    def told(self, key: str, token: str = "", *, claims: bool = False) -> Iterator[None]:
        """The server's errors in the store's words.

        token: of the put under way. A request whose answer was lost is sent again, and is then refused because of its
        own first try: no error, if the object there (claims: its claim) bears the token.
        """
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "unknown")
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            may_be_ours = status in {404, 412} and token
            if may_be_ours and self._bears(key, token, self.claim(key) if claims else self.target(key)):
                return
            raise self._in_our_words(key, str(code), int(status)) from error
        except BotoCoreError as error:
            raise VolumeUnavailable(
                f"{self.say(key)}: {self.endpoint_url or 'AWS'} cannot be reached ({type(error).__name__}); try later"
            ) from error

    def _bears(self, key: str, token: str, place: dict[str, str]) -> bool:
        try:
            with self.told(key):
                found = self.client.head_object(**place)
        except ObjectNotFound:
            return False
        return bool(found.get("Metadata", {}).get("put") == token)

    def _in_our_words(self, key: str, code: str, status: int) -> StorageError:
        say = self.say(key)
        if code == "NoSuchBucket":
            return VolumeUnavailable(f"{say}: bucket {self.bucket} does not exist; create it")
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
