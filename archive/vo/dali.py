"""DALI's parameters: names in any case, several values, MAXREC, RESPONSEFORMAT, UPLOAD (DALI 1.1 §2, §3.4).

A handler asks for `Annotated[Parameters, Depends(parameters)]`; what the values mean is the room's own. Media types
are in archive.vo.formats, regions in archive.vo.regions.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser

from archive.vo.errors import TooLargeError, UsageError
from archive.vo.formats import Writer, writer_for

FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
TABLE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
SEMICOLON = re.compile(r";(?=\s*[^,;]*,)|;\s*$")
BEYOND_LIMITS = "Too many"  # as Starlette begins to say so
UPLOAD_SCHEMES = ("http", "https")


class MultiValuedError(UsageError):
    """A parameter with one value was given several (SODA 1.0 §5.2)."""

    code = "MultiValuedParamNotSupported"


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What a request may carry. body_bytes: all of it; value_bytes: one text parameter; files, values: how many."""

    body_bytes: int = 512 << 20
    value_bytes: int = 1 << 20
    files: int = 20
    values: int = 10_000


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """An inline part of a request. file: at its start, open until the request is over; media_type: as sent."""

    file: BinaryIO
    media_type: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One table of UPLOAD. name: the table's, in TAP_UPLOAD. Exactly one of file (inline) and url is set."""

    name: str
    file: UploadedFile | None = None
    url: str | None = None


def status_headers(maxrec: int, *, ended: bool, overflow: bool) -> dict[str, str]:
    """The limit of rows, and whether rows were cut, as headers: for formats with no place for it, such as CSV.

    ended: whether all rows have come, and so `overflow` is known. Headers leave before the rows: of an answer longer
    than a page, only the limit can be told, and as many rows as that mean that there may be more.
    """
    told = {"X-Maxrec": str(maxrec)}
    return {**told, "X-Query-Status": "OVERFLOW" if overflow else "OK"} if ended else told


class Parameters:
    """The parameters of a request, from the query and from the form. Names in any case, values as sent (DALI-01).

    A value that is empty, or blank, counts as not given: Aladin and HTML forms send those.
    """

    def __init__(self, items: Iterable[tuple[str, str | UploadedFile]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        self._files: dict[str, UploadedFile] = {}
        for name, value in items:
            if isinstance(value, UploadedFile):
                if name.lower() in self._files:
                    raise UsageError(f"two parts of the request are named {name!r}")
                self._files[name.lower()] = value
            elif value.strip():
                self._values.setdefault(name.upper(), []).append(value)

    def __iter__(self) -> Iterator[str]:
        """Names that have a value, in capitals."""
        return iter(self._values)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.upper() in self._values

    def __repr__(self) -> str:
        return f"Parameters({self._values}, files={sorted(self._files)})"

    def items(self) -> Iterator[tuple[str, str]]:
        """Every name, in capitals, with each of its values: what a UWS job keeps."""
        return ((name, value) for name, values in self._values.items() for value in values)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value, in the order sent."""
        return tuple(self._values.get(name.upper(), ()))

    def files(self) -> Iterator[tuple[str, UploadedFile]]:
        """Every inline part with the name it is referred to by, in small letters: what a UWS job keeps."""
        return iter(self._files.items())

    def single(self, *names: str) -> str | None:
        """The value of a parameter that takes one; names: equivalent ones, such as RESPONSEFORMAT and FORMAT.

        None if it is not given. MultiValuedError if it comes with different values.
        """
        values = {value: None for name in names for value in self.all(name)}
        if len(values) > 1:
            raise MultiValuedError(f"{names[0].upper()} takes one value; {len(values)} were given")
        return next(iter(values), None)

    def required(self, *names: str) -> str:
        """The same, UsageError if it is not given."""
        value = self.single(*names)
        if value is None:
            raise UsageError(f"{names[0]} is missing")
        return value

    def integer(self, name: str) -> int | None:
        """A whole number; None if not given, UsageError if it is none."""
        value = self.single(name)
        if value is None:
            return None
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", value):
            raise UsageError(f"{name} takes a whole number, not {value!r}")
        return int(value)

    def maxrec(self, default: int, hard: int) -> int:
        """How many rows to answer: MAXREC within the hard limit, or the default (DALI 1.1 §3.4.4); 0: columns only."""
        asked = self.integer("MAXREC")
        if asked is None:
            return min(default, hard)
        if asked < 0:
            raise UsageError(f"MAXREC takes 0 or more, not {asked}")
        return min(asked, hard)

    def responseformat(self, default: str = "application/x-votable+xml") -> Writer:
        """The writer that RESPONSEFORMAT, or TAP 1.0's FORMAT, asks for (TAP-10)."""
        return writer_for(self.single("RESPONSEFORMAT", "FORMAT"), default)

    def uploads(self) -> tuple[Upload, ...]:
        """UPLOAD's tables: `name,param:part`, `name,http(s)://...`; several parameters, or separated by ";" (DALI-06).

        UsageError: no such form, a name that is no plain identifier, one name twice, a part that did not come, another
        scheme. Whether the service fetches a url, and from where, is for it to decide.
        """
        # TAP 1.0 §2.3.4 lists pairs with ";"; a semicolon within a URL is left alone.
        pairs = [pair.strip() for value in self.all("UPLOAD") for pair in SEMICOLON.split(value)]
        uploads = tuple(self._upload(pair) for pair in pairs if pair)
        names = [upload.name.lower() for upload in uploads]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"UPLOAD gives two tables the name {name!r}")
        return uploads

    def _upload(self, pair: str) -> Upload:
        name, comma, source = (part.strip() for part in pair.partition(","))
        if not comma or not source:
            raise UsageError(f"UPLOAD takes name,param:part or name,http://..., not {pair!r}")
        if not TABLE_NAME.fullmatch(name):
            raise UsageError(f"UPLOAD: {name!r} is no table name; it takes a letter, then letters, digits and _")
        scheme, _, rest = source.partition(":")
        if scheme.lower() == "param":
            part = self._files.get(rest.lower())
            if part is None:
                there = ", ".join(sorted(self._files)) or "none"
                raise UsageError(f"UPLOAD: {name} is said to be in part {rest!r} of the request; its parts: {there}")
            return Upload(name, file=part)
        if scheme.lower() not in UPLOAD_SCHEMES or not _has_host(source):
            raise UsageError(f"UPLOAD: {name} takes param:, http:// or https://, not {source!r}")
        return Upload(name, url=source)


def _has_host(url: str) -> bool:
    try:
        return bool(urlsplit(url).netloc)
    except ValueError:  # half an IPv6 address
        return False


async def parameters(request: Request) -> AsyncIterator[Parameters]:
    """Reads the query and, of a POST, the form, urlencoded or multipart (DALI-02); files are closed at the end.

    Limits are the application's RequestLimits. UsageError: a form that is broken; TooLargeError: one that is too large.
    """
    limits = getattr(request.app.state, "services", {}).get(RequestLimits) or RequestLimits()
    items: list[tuple[str, str | UploadedFile]] = list(request.query_params.multi_items())
    form = await _form(request, limits) if request.method in ("POST", "PUT", "DELETE") else None
    if form is None:
        yield Parameters(items)
        return
    try:
        items += [(name, _value(value)) for name, value in form.multi_items()]
        yield Parameters(items)
    finally:
        await form.close()


def _value(value: str | UploadFile) -> str | UploadedFile:
    return value if isinstance(value, str) else UploadedFile(value.file, value.content_type, value.size)


async def _form(request: Request, limits: RequestLimits) -> FormData | None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in FORM_TYPES:
        return None
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limits.body_bytes:
        raise TooLargeError(f"the request has {declared} bytes; {limits.body_bytes} are allowed")
    stream = _counted(request.stream(), limits)
    try:
        if content_type == FORM_TYPES[0]:
            sizes = {"max_fields": limits.values, "max_part_size": limits.value_bytes}
            return await FormParser(request.headers, stream, **sizes).parse()
        return await MultiPartParser(
            request.headers,
            stream,
            max_files=limits.files,
            max_fields=limits.values,
            max_part_size=limits.value_bytes,
        ).parse()
    except (MultiPartException, HTTPException, UnicodeDecodeError, KeyError, ValueError) as error:
        what = str(getattr(error, "message", None) or getattr(error, "detail", None) or error)
        if what.startswith(BEYOND_LIMITS) or "exceeded maximum size" in what:
            raise TooLargeError(f"the form of the request is larger than is taken here: {what}") from error
        raise UsageError(f"the form of the request cannot be read: {what}") from error


async def _counted(stream: AsyncIterator[bytes], limits: RequestLimits) -> AsyncGenerator[bytes, None]:
    """The body, refused when it grows beyond the limit: STILTS sends it without a length."""
    size = 0
    async for chunk in stream:
        size += len(chunk)
        if size > limits.body_bytes:
            raise TooLargeError(f"the request is larger than {limits.body_bytes} bytes, which is the limit here")
        yield chunk
