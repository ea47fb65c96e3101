"""A version of a file as HTTP tells it: its representation, its headers, its place."""

from storage.model import ObjectVersion
from storage.web.conditional import OCTETS, Representation, validators
from storage.web.requests import ROOT, url_path


def representation(held: ObjectVersion, *, named: bool = False) -> Representation:
    """A version as HTTP sees it; it is saved under the last word of its file_id. named: asked for by its number, and
    so never another; of the newest, one before it may have come in the same second."""
    return Representation(
        held.media_type or OCTETS,
        held.file_id.rstrip("/").rpartition("/")[2] or "file",
        held.size_bytes,
        held.sha256,
        held.md5,
        modified=held.created,
        date_is_strong=named or held.version == 1,
    )


def written_headers(held: ObjectVersion) -> dict[str, str]:
    """What a version is, for who has just sent it."""
    return validators(representation(held)) | place(held)


def place(held: ObjectVersion) -> dict[str, str]:
    """Where this very version is, whatever comes after it."""
    path = f"{ROOT}/objects/{url_path(held.file_id)}?version={held.version}"
    return {"content-location": path, "x-object-version": str(held.version)}
