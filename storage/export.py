"""Files of the store as a bag (BagIt 1.0, RFC 8493), to be handed to another archive.

In the bag: data/ with the files, named as they are here; manifests of SHA-256 and MD5; bag-info.txt; and objects.jsonl,
one JSON object a file, which says of each its file_id, version, digests and media type.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import bagit

from storage.client import Files
from storage.errors import ChecksumMismatch, InvalidFileId, StorageError
from storage.model import ObjectVersion
from storage.transfer import Progress, Transferred, at_once, get_file

LISTING = "objects.jsonl"
MAX_NAME_BYTES = 200


def export(
    files: Files,
    chosen: Iterable[ObjectVersion],
    folder: Path,
    *,
    info: Mapping[str, str] | None = None,
    threads: int = 4,
    advance: Progress | None = None,
    told: Callable[[Transferred], None] = lambda _: None,
) -> int:
    """Write these versions into a new bag; how many. A folder that an export was cut off in is gone on with.

    info: what bag-info.txt says besides (Source-Organization, ...). The bag's own digests, made from what lies on the
    disk, are compared with the catalogue's before this returns. Raises StorageError: it is a bag already, or a file
    could not be got; ChecksumMismatch; InvalidFileId for what no file can be called.
    """
    if (folder / "bagit.txt").exists():
        raise StorageError(f"{folder} is a bag already: name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    versions, advance = list(chosen), advance or Progress()
    places = {_name(version.file_id): version for version in versions}
    if len(places) != len(versions):
        raise InvalidFileId("two of the files would have one name in the bag; export them one by one")

    def get(place: str) -> Transferred:
        return get_file(files, places[place], folder / place, advance)

    def failed(place: str, error: Exception) -> Transferred:
        return Transferred(places[place].file_id, place, "failed", problem=str(error))

    for one in at_once(places, get, failed, threads, advance.stop):
        told(one)
        if one.outcome == "failed":
            raise StorageError(f"{one.file_id}: {one.problem}")
    _require_no_strangers(folder, places)
    about = {"Bagging-Date": f"{datetime.now(UTC):%Y-%m-%d}", **(info or {})}
    bag = bagit.make_bag(str(folder), about, checksums=["sha256", "md5"])
    _compare(bag.payload_entries(), places)
    with (folder / LISTING).open("w") as listing:
        for place, version in places.items():
            listing.write(json.dumps(_line(place, version), ensure_ascii=False) + "\n")
    bag.save()  # the tag manifests, with the listing among what they cover
    return len(versions)


def _name(file_id: str) -> str:
    """A file_id as a way below data/. What no file system has as a name is written as % and its code."""
    words = []
    for word in file_id.split("/"):
        if len(word.encode()) > MAX_NAME_BYTES:
            raise InvalidFileId(f"{file_id} has a name of more than {MAX_NAME_BYTES} bytes, which disks do not take")
        words.append({"": "%", ".": "%2E", "..": "%2E%2E"}.get(word, word))
    return "/".join(words)


def _require_no_strangers(folder: Path, places: Mapping[str, ObjectVersion]) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).as_posix() not in places:
            raise StorageError(f"{path} is not of this export: take it away, or name another folder")


def _compare(entries: Mapping[str, Mapping[str, str]], places: Mapping[str, ObjectVersion]) -> None:
    for place, version in places.items():
        there = entries.get(f"data/{place}", {})
        if (there.get("sha256"), there.get("md5")) != (version.sha256, version.md5):
            raise ChecksumMismatch(f"{version.file_id}: the bag has {dict(there)}, and the catalogue {version.sha256}")


def _line(place: str, version: ObjectVersion) -> dict[str, object]:
    names = ("file_id", "version", "size_bytes", "media_type", "sha256", "md5", "crc32c")
    return {"path": f"data/{place}", **{name: getattr(version, name) for name in names},
            "created": version.created.isoformat()}  # fmt: skip
