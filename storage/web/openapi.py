"""What the REST face says of itself in OpenAPI 3.1; plain ASGI has nobody to write it."""

from collections.abc import Mapping
from typing import Any

from storage.web.requests import ROOT

TAG = "Store"
_FILE_ID = "1 to 1,024 bytes of UTF-8 without control characters; slashes stand as they are, or as %2F."


def _parameter(name: str, where: str, text: str, *, kind: str = "string", required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "description": text, "schema": {"type": kind}}


_ID = _parameter("file_id", "path", _FILE_ID, required=True)
_VERSION = _parameter("version", "query", "Of the file; by default the newest that was not removed.", kind="integer")
_UPLOAD = _parameter("upload_id", "path", "As the Location of its making has it.", required=True)
_TUS = _parameter("Tus-Resumable", "header", "1.0.0", required=True)
_OCTETS = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_DOCUMENT = {"content": {"application/json": {"schema": {"type": "object"}}}}
_CONDITIONS = [_parameter(name, "header", "RFC 9110 §13.1") for name in ("If-Match", "If-None-Match")]
_MEANINGS = {
    200: "As asked.",
    201: "A new version, durable.",
    204: "Done.",
    206: "The ranges that were asked for; several as multipart/byteranges.",
    302: "A signed URL, where the settings say so.",
    304: "The client has these bytes.",
    400: "What was sent is none, or not what was promised; nothing of it was kept.",
    401: "Say who you are: Bearer, or Basic with the token as password.",
    403: "Not for you.",
    404: "Not there.",
    409: "Not as things stand.",
    410: "It has expired.",
    411: "Neither Content-Length nor a chunked body.",
    412: "A condition does not hold.",
    413: "Too large.",
    416: "No such bytes.",
    423: "Another request is at work on it.",
    460: "The bytes have another checksum.",
    503: "Catalogue or volume do not answer; try again.",
    507: "No room.",
}


def _does(
    name: str, summary: str, *parameters: dict[str, Any], body: dict[str, Any] | None = None, **answers: dict[str, Any]
) -> dict[str, Any]:
    """An operation. answers: _200=what is in it."""
    told: dict[str, Any] = {
        "operationId": f"store_{name}",
        "description": summary,
        "tags": [TAG],
        "parameters": list(parameters),
        "responses": {
            status[1:]: {"description": _MEANINGS[int(status[1:])], **content} for status, content in answers.items()
        },
    }
    if body is not None:
        told["requestBody"] = {"required": True, **body}
    return told


def paths() -> Mapping[str, Any]:
    """The paths object of OpenAPI: every resource under /store/v1."""
    nothing: dict[str, Any] = {}
    refused = {"_400": nothing, "_401": nothing, "_403": nothing}
    missing = {**refused, "_404": nothing}
    volume = _parameter("volume", "query", "Name of a volume.", required=True)
    number = _parameter("container_id", "path", "Number of a container.", kind="integer", required=True)
    bytes_ = {
        "_200": _OCTETS, "_206": _OCTETS, "_302": nothing, "_304": nothing, "_412": nothing, "_416": nothing,
        "_503": nothing,
    }  # fmt: skip
    return {
        f"{ROOT}/objects": {
            "get": _does(
                "list_objects",
                "Files, the newest version of each, in the order of the bytes of their ids.",
                _parameter("prefix", "query", "What file_ids start with."),
                _parameter("after", "query", "Go on behind this file_id."),
                _parameter("limit", "query", "Of files; 1000 by default as JSON, all as lines.", kind="integer"),
                _parameter("container", "query", "Of this container alone.", kind="integer"),
                _parameter("format", "query", "json, or lines (JSON lines, streamed)."),
                _200=_DOCUMENT,
                **refused,
            )
        },
        f"{ROOT}/objects/{{file_id}}": {
            "get": _does(
                "get_object",
                "A file as it lies, whole and verified on its way, or in ranges.",
                _ID,
                _VERSION,
                _parameter("Range", "header", "RFC 9110 §14; 64 ranges at most."),
                _parameter("If-Range", "header", "RFC 9110 §13.1.5"),
                *_CONDITIONS,
                **bytes_,
                **missing,
            ),
            "head": _does("head_object", "The headers of it.", _ID, _VERSION, *_CONDITIONS, _200=nothing, **missing),
            "put": _does(
                "put_object",
                "Keep these bytes as the file's next version; none is made if the newest has them already (200).",
                _ID,
                _parameter("container", "query", "Where a new version goes.", kind="integer"),
                _parameter("class", "query", "Storage class of the volumes to use."),
                _parameter("copies", "query", "Volumes that it lies on before the answer.", kind="integer"),
                _parameter("Content-MD5", "header", "RFC 1864; checked."),
                _parameter("Digest", "header", "RFC 3230: SHA-256, MD5, CRC32C; checked."),
                _parameter("Repr-Digest", "header", "RFC 9530: sha-256, md5, crc32c; checked."),
                *_CONDITIONS,
                body=_OCTETS,
                _200=_DOCUMENT,
                _201=_DOCUMENT,
                _411=nothing,
                _412=nothing,
                _413=nothing,
                _503=nothing,
                _507=nothing,
                **refused,
            ),
            "delete": _does(
                "delete_object",
                "Remove a version: its number stays taken, and the one before it is the newest.",
                _ID,
                _VERSION,
                _CONDITIONS[0],
                _200=_DOCUMENT,
                _412=nothing,
                **missing,
            ),
        },
        f"{ROOT}/versions/{{file_id}}": {
            "get": _does("versions", "All versions of a file, removed ones too.", _ID, _200=_DOCUMENT, **missing)
        },
        f"{ROOT}/copies/{{file_id}}": {
            "get": _does("copies", "Where a version lies.", _ID, _VERSION, _200=_DOCUMENT, **missing),
            "put": _does("add_copy", "Bring it onto a volume.", _ID, _VERSION, volume, _200=_DOCUMENT, **missing),
            "delete": _does(
                "drop_copy",
                "Give up a copy, never the last.",
                _ID,
                _VERSION,
                volume,
                _200=_DOCUMENT,
                _409=nothing,
                **missing,
            ),
        },
        f"{ROOT}/volumes": {"get": _does("volumes", "The volumes, and their room.", _200=_DOCUMENT, **refused)},
        f"{ROOT}/volumes/{{name}}": {
            "get": _does("volume", "One of them.", _parameter("name", "path", "", required=True), _200=_DOCUMENT),
            "put": _does(
                "change_volume",
                'Change what it is used for: {"state": "online|readonly|draining|offline", "reason": "..."}.',
                _parameter("name", "path", "", required=True),
                body=_DOCUMENT,
                _200=_DOCUMENT,
                **missing,
            ),
        },
        f"{ROOT}/events": {
            "get": _does(
                "events",
                "The feed: whoever goes on after the last one of an answer misses none.",
                _parameter("after", "query", "event_id of the last one that is known.", kind="integer"),
                _parameter("limit", "query", "Of events, 10000 at most.", kind="integer"),
                _parameter("format", "query", "json, or lines."),
                _200=_DOCUMENT,
                **refused,
            )
        },
        f"{ROOT}/containers": {
            "get": _does(
                "containers",
                "Containers at the top, or by name, or within one.",
                _parameter("name", "query", "Of this name."),
                _parameter("parent", "query", "Within this one.", kind="integer"),
                _200=_DOCUMENT,
                **refused,
            ),
            "post": _does(
                "create_container",
                'A new one: {"name": "...", "parent_id": ...}.',
                body=_DOCUMENT,
                _201=_DOCUMENT,
                **missing,
            ),
        },
        f"{ROOT}/containers/{{container_id}}": {
            "get": _does("container", "One of them, and what is within.", number, _200=_DOCUMENT, **missing),
            "delete": _does("remove_container", "An empty one.", number, _200=_DOCUMENT, _409=nothing, **missing),
        },
        f"{ROOT}/containers/{{container_id}}/objects/{{file_id}}": {
            "put": _does("place", "Put a file, with all its versions, in.", number, _ID, _200=_DOCUMENT, **missing),
            "delete": _does("take_out", "Take it out.", number, _ID, _200=_DOCUMENT, **missing),
        },
        f"{ROOT}/uploads": {
            "post": _does(
                "create_upload",
                "tus 1.0.0: an upload that can be taken up again.",
                _TUS,
                _parameter("Upload-Length", "header", "Bytes to come.", required=True),
                _parameter(
                    "Upload-Metadata",
                    "header",
                    "file_id (or filename); filetype, container_id, sha256, md5, crc32c if they are to be heeded.",
                    required=True,
                ),
                _201=nothing,
                _413=nothing,
                **refused,
            )
        },
        f"{ROOT}/uploads/{{upload_id}}": {
            "head": _does("upload", "How far it is.", _UPLOAD, _TUS, _200=nothing, _410=nothing, **missing),
            "patch": _does(
                "upload_bytes",
                "More of it; the last bytes make the version.",
                _UPLOAD,
                _TUS,
                _parameter("Upload-Offset", "header", "Where they belong.", kind="integer", required=True),
                _parameter("Upload-Checksum", "header", "sha1, sha256, md5 or crc32c, and the digest in base64."),
                body={"content": {"application/offset+octet-stream": _OCTETS["content"]["application/octet-stream"]}},
                _204=nothing,
                _409=nothing,
                _410=nothing,
                _423=nothing,
                _460=nothing,
                _507=nothing,
                **missing,
            ),
            "delete": _does("end_upload", "Give it up.", _UPLOAD, _TUS, _204=nothing, **missing),
        },
    }


def document(version: str) -> dict[str, Any]:
    """The whole document, for a node of its own."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Uraniborg storage node", "version": version},
        "paths": dict(paths()),
    }
