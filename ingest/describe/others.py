"""Files that are no data: pictures, logs, documents. Kept with the data they belong to, without a place on the sky."""

import mimetypes
from pathlib import Path

from ingest.describe.facts import Facts, RefusedError
from ingest.findings import Finding

PICTURES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
CARD_STARTS = (b"CRVAL", b"CRPIX", b"CD1_", b"CTYPE", b"NAXIS", b"BITPIX", b"WCSAXES")


def describe_other(path: Path, relative_path: str, head: bytes, facts: Facts) -> None:
    """Add kind and media type by the file's content, then by its suffix.

    RefusedError: bytes of no known type, or FITS cards without a file around them: nothing an archive can serve.
    """
    for magic, media_type in PICTURES.items():
        if head.startswith(magic):
            _add(facts, "preview", media_type, "a picture without WCS")
            return
    if head.startswith(b"%PDF"):
        _add(facts, "document", "application/pdf", "a document")
        return
    if head.startswith(CARD_STARTS) and head[80:81].isalpha():
        raise RefusedError(
            relative_path,
            (
                Finding(
                    "error",
                    "not_fits",
                    "file",
                    "cards of a FITS header without SIMPLE, END and data.",
                    "send the FITS file.",
                ),
            ),
        )
    text = _is_text(head)
    if text and path.suffix.lower() == ".log":
        _add(facts, "log", "text/plain", "a log")
    elif text:
        _add(facts, "document", mimetypes.guess_type(path.name)[0] or "text/plain", "text")
    else:
        raise RefusedError(
            relative_path,
            (
                Finding(
                    "error",
                    "type_unknown",
                    "file",
                    "neither FITS nor a catalogue, picture, document or text.",
                    "send it as FITS.",
                ),
            ),
        )


def _is_text(head: bytes) -> bool:
    try:
        head[: max(0, len(head) - 4)].decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\x00" not in head


def _add(facts: Facts, kind: str, media_type: str, why: str) -> None:
    facts.add("kind", kind, "content", why)
    facts.add("calib_level", 0, "rule", "no data")
    facts.media_type = media_type
