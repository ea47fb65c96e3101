"""Answers that come as a stream, from plain blocking code, and end at once when the client goes away.

A handler is a plain `def` and returns a StreamedResponse around a function, `open`, which starts the work (runs the
query, opens the file) and gives an iterable of bytes. `open` and every piece after it run on a worker thread, while the
event loop watches the connection; so a client that leaves before the first byte or in the middle is noticed while the
thread is blocked, and `cancel` is called, on a thread of its own, to free what it waits for.

Where there are few of what the work needs, it waits in line for it first (archive.vo.line), on the event loop.

The first piece is fetched before the headers leave: whatever fails until then is answered with a status and in the
form of the route (archive.vo.routes sets `tell_error`). What fails later breaks the connection off, without the end
that HTTP needs, so no client takes half an answer for a whole one.
"""

import asyncio
import contextlib
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import anyio
import pyarrow as pa
import structlog
from anyio import CapacityLimiter, to_thread
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from archive.vo.drain import Drain
from archive.vo.errors import ArchiveError
from archive.vo.line import Line

logger = structlog.get_logger(__name__)

GZIP_LEVEL = 1
UNWATCHED_S = 0.05  # for so long nobody looks whether the client is still there
Opened = Iterable[bytes] | Response
Begun = Response | tuple[bytes, bool]  # a page, and whether there may be more
Beginning = asyncio.Future[Begun]
TellError = Callable[[Exception], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Pages:
    """How small pieces are gathered: a trip to the thread brings back about page_bytes, or what came in page_s seconds.

    The first piece is not gathered, unless the rest is at hand: it goes out alone.
    """

    page_bytes: int = 256 << 10
    page_s: float = 0.25


async def tell_plainly(error: Exception) -> Response:
    """The answer where no route has said how: text, with the status of an ArchiveError."""
    if isinstance(error, ArchiveError):
        return PlainTextResponse(f"{error}\n", error.status)
    logger.error("unexpected failure", exc_info=error)
    return PlainTextResponse("internal error\n", 500)


class StreamedResponse(Response):
    """A streamed answer.

    open: called once, on a worker thread; gives the pieces, or a whole Response to send in their place (a 204, a
    redirect). If the iterable has a `close`, it is called at the end, however the end comes.
    cancel: called at once, on another thread, when the client goes away or the server stops while `open` or a piece is
    still under way, or before the stream is at its end; it may come when the work is just over, and must bear that.
    compress: zstd or gzip where the client asks for it; at their quickest, the first bytes early.
    late_headers: asked when the first piece is there, for what is known only then.
    is_whole: asked then too: whether all is at hand, so that the first piece need not be sent ahead of the others.
    line: where the answer waits for its turn, and the threads that it then works on; None: no line, anyio's threads.
    freed: told once, before `open`, what to call, on any thread, when the work holds nothing any more that others wait
    for. Without it the place is kept to the end of the answer, however slowly the client reads.
    """

    def __init__(
        self,
        open: Callable[[], Opened],
        *,
        media_type: str,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        cancel: Callable[[], object] | None = None,
        compress: bool = True,
        late_headers: Callable[[], Mapping[str, str]] | None = None,
        is_whole: Callable[[], bool] | None = None,
        line: Line | None = None,
        freed: Callable[[Callable[[], None]], object] | None = None,
        pages: Pages = Pages(),
        background: BackgroundTask | None = None,
    ) -> None:
        self.status_code = status_code
        self.background = background
        self.body = b""
        self.media_type = None
        self.init_headers(headers)
        # Literally as asked (DALI 1.1 §3.4.3): Starlette would add a charset to text types.
        self.headers["Content-Type"] = media_type
        self.tell_error: TellError = tell_plainly
        self._open = open
        self._cancel = cancel
        self._compress = compress
        self._late_headers = late_headers
        self._is_whole = is_whole
        self._line = line
        self._freed = freed
        self._prepare: Callable[[], StreamedResponse] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wait: anyio.CancelScope | None = None
        self._pages = pages
        self._work: _Work | None = None
        self._finished = False
        self._left = False

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        """Headers without a Content-Length: nobody knows the length yet."""
        given = headers or {}
        self.raw_headers = [(key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in given.items()]

    @classmethod
    def of(cls, prepare: Callable[[], "StreamedResponse"], line: Line) -> "StreamedResponse":
        """An answer that is yet to be prepared, by what blocks: on one trip to a thread with its first page where a
        place in line is free, or else before it waits for one, so that a mistake is told at once.

        prepare: what it raises is told as what `open` raises. An answer that it gives without a line leaves the place.
        """
        response = cls(tuple, media_type="", line=line)
        response._prepare = prepare
        return response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._loop = asyncio.get_running_loop()
        beginning = await self._begun_at_once(scope)
        if beginning is not None and _is_over(beginning):
            failure = await self._answer(scope, receive, send, beginning)
        else:
            self._wait = anyio.CancelScope()
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, receive)
                failure = await self._answer(scope, receive, send, beginning)
                self._finished = True
                group.cancel_scope.cancel()
        # Raised outside the group, as itself: the server breaks the connection off.
        if failure is not None:
            raise failure
        if self.background is not None and not self._left:
            await self.background()

    async def _begun_at_once(self, scope: Scope) -> "Beginning | None":
        """Begin, if there is a place in line, and wait for a moment: most answers are there by then, and a watch over
        the connection would cost a tenth of what they do. None: it must wait."""
        line = self._line
        if line is None or not line.enter_now(self):
            return None
        beginning = line.run(partial(self._begin, scope))
        try:
            await asyncio.wait({beginning}, timeout=UNWATCHED_S)
        except asyncio.CancelledError:  # the server stops
            self._left = True
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(self._call_cancel, limiter=CapacityLimiter(1))
                await asyncio.wait({beginning})
                await self._close()
            raise
        return beginning

    async def _watch(self, receive: Receive) -> None:
        """Wait for the client to leave, or for the server to cancel us; either frees the work."""
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
            self._left = True
            if self._wait is not None:
                self._wait.cancel()
        finally:
            if not self._finished and self._cancel is not None:
                with anyio.CancelScope(shield=True):
                    # A limiter of its own: streams that fill every thread must not hold up their own end.
                    await to_thread.run_sync(self._call_cancel, limiter=CapacityLimiter(1))

    def _call_cancel(self) -> None:
        try:
            if self._cancel is not None:
                self._cancel()
        except Exception as error:
            # The work goes on to its own end; that its cancelling failed is for the operator to know.
            logger.error("a stream could not be cancelled", exc_info=error)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, beginning: "Beginning | None"
    ) -> Exception | None:
        """Send the answer; gives back what broke it after its headers had left."""
        started = False
        try:
            try:
                if beginning is not None:
                    with anyio.CancelScope(shield=not beginning.done()):
                        begun = await beginning
                elif await self._turn():
                    begun = await self._on_thread(partial(self._begin, scope))
                else:
                    return None
                if self._left:
                    return None
                if isinstance(begun, Response):
                    self._finished = True
                    await begun(scope, receive, send)
                    return None
                page, more = begun
                if self._late_headers is not None:
                    self.headers.update(self._late_headers())
                if not more:
                    self.headers["Content-Length"] = str(len(page))
                if scope["method"] == "HEAD":
                    page, more = b"", False
                # A server tells "disconnect" after the last byte too: the work must count as over before that.
                self._finished = not more
                started = True
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": page, "more_body": more})
                while more and not self._left:
                    page, more = await self._on_thread(self._page)
                    self._finished = not more
                    await send({"type": "http.response.body", "body": page, "more_body": more})
            except Exception as error:
                return await self._failed(error, started, scope, receive, send)
        finally:
            await self._close()
        return None

    async def _close(self) -> None:
        if self._work is not None:
            with anyio.CancelScope(shield=True):
                await self._on_thread(self._work.close)
        if self._line is not None:
            self._line.leave(self)

    async def _turn(self) -> bool:
        """Wait in line, if there is one; false if the client went away meanwhile."""
        if self._prepare is not None:
            await to_thread.run_sync(self._made)
        line = self._line
        if line is None or self._wait is None:
            return True
        with self._wait:
            await line.enter(self)
        return not self._left

    def _made(self) -> None:
        """Become what is prepared."""
        if self._prepare is None:
            return
        made, self._prepare = self._prepare(), None
        self.status_code, self.background = made.status_code, made.background
        self.raw_headers = made.raw_headers
        self._headers = made.headers
        self._open, self._compress, self._pages = made._open, made._compress, made._pages
        self._late_headers, self._is_whole, self._freed = made._late_headers, made._is_whole, made._freed
        if made._line is None:
            self._leave()
            self._line = None
        self._cancel = made._cancel

    def _leave(self) -> None:
        """Give the place in line to the next; from any thread."""
        assert self._loop is not None
        if self._line is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it everybody's waiting
                self._loop.call_soon_threadsafe(self._line.leave, self)

    def _begin(self, scope: Scope) -> "Begun":
        """Start the work and make the first page: one trip to the thread, as each costs a tenth of a millisecond."""
        self._made()
        if self._left:  # before there was anything that could have been cancelled
            return b"", False
        if self._freed is not None and self._line is not None:
            self._freed(self._leave)
        encoder = self._encoder(scope)
        opened = self._open()
        if isinstance(opened, Response):
            return opened
        self._work = _Work(opened, encoder, self._pages, is_whole=self._is_whole is not None and self._is_whole())
        return self._page()

    def _page(self) -> tuple[bytes, bool]:
        """The next page, and whether there may be more; after the last, the work is closed on the same trip."""
        assert self._work is not None
        page, more = self._work.page()
        if not more:
            work, self._work = self._work, None
            work.close()
        return page, more

    async def _failed(
        self, error: Exception, started: bool, scope: Scope, receive: Receive, send: Send
    ) -> Exception | None:
        self._finished = True
        if self._left:
            logger.debug("a stream ended after its client had gone", error=str(error))
            return None
        if started:
            return error
        response = await self.tell_error(error)
        await response(scope, receive, send)
        return None

    async def _on_thread(self, function: Callable[[], Any]) -> Any:
        if self._line is None:
            return await to_thread.run_sync(function)
        with anyio.CancelScope(shield=True):
            return await self._line.run(function)

    def _encoder(self, scope: Scope) -> "Encoder | None":
        if not self._compress:
            return None
        self.headers.add_vary_header("Accept-Encoding")
        coding = content_coding(Headers(scope=scope).get("accept-encoding", ""))
        if coding is None:
            return None
        self.headers["Content-Encoding"] = coding
        return ENCODERS[coding]()


def _is_over(beginning: Beginning) -> bool:
    """Whether nothing is to come that a client could wait for."""
    if not beginning.done():
        return False
    if beginning.exception() is not None:
        return True
    begun = beginning.result()
    return isinstance(begun, Response) or not begun[1]


class Encoder(Protocol):
    """Compresses a stream as it goes. flush: what was given so far can be read by who has it."""

    def encode(self, data: bytes, *, flush: bool) -> bytes: ...
    def finish(self) -> bytes: ...


class _Gzip:
    """gzip (RFC 1952)."""

    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS | 16)

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        encoded = self._compressor.compress(data)
        return encoded + self._compressor.flush(zlib.Z_SYNC_FLUSH) if flush else encoded

    def finish(self) -> bytes:
        return self._compressor.flush(zlib.Z_FINISH)


class _Zstd:
    """Zstandard (RFC 8878), by Arrow, at level 1."""

    def __init__(self) -> None:
        self._drain = Drain()
        self._compressor = pa.CompressedOutputStream(pa.PythonFile(self._drain, "w"), "zstd")

    def encode(self, data: bytes, *, flush: bool) -> bytes:
        self._compressor.write(data)
        if flush:
            self._compressor.flush()
        return self._drain.take()

    def finish(self) -> bytes:
        self._compressor.close()
        return self._drain.take()


# The better first: where a client takes both alike, it gets the first.
ENCODERS: Mapping[str, Callable[[], Encoder]] = {"zstd": _Zstd, "gzip": _Gzip}


class _Work:
    """The pieces of one stream, gathered into pages on whatever thread asks."""

    def __init__(self, pieces: Iterable[bytes], encoder: Encoder | None, pages: Pages, *, is_whole: bool) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._source = pieces
        self._encoder = encoder
        self._pages = pages
        self._first = True
        self._is_whole = is_whole

    def page(self) -> tuple[bytes, bool]:
        """The next page as it goes to the wire, and whether there may be more."""
        until = time.monotonic() + self._pages.page_s
        gathered, size, more = [], 0, True
        while size < self._pages.page_bytes:
            piece = next(self._pieces, None)
            if piece is None:
                more = False
                break
            gathered.append(piece)
            size += len(piece)
            # The first piece goes alone: the next may be long in coming.
            if (self._first and not self._is_whole) or time.monotonic() >= until:
                break
        page = gathered[0] if len(gathered) == 1 else b"".join(gathered)
        if self._encoder is not None:
            # The first bytes at once, and slow ones as they come; a fast stream is compressed without seams.
            flush = more and (self._first or size < self._pages.page_bytes)
            page = self._encoder.encode(page, flush=flush) + (b"" if more else self._encoder.finish())
        self._first = False
        return page, more

    def close(self) -> None:
        if self._first:
            # A generator that was never begun would not run its `finally`, and would keep what it was given.
            try:
                next(self._pieces, None)
            except Exception as error:
                logger.debug("a stream that was never sent ended", error=str(error))
        for closable in (self._pieces, self._source):
            close = getattr(closable, "close", None)
            if close is not None:
                close()


def content_coding(accept_encoding: str, offered: Iterable[str] = ENCODERS) -> str | None:
    """The coding that the client likes best of those offered, None for none (RFC 9110 §12.5.3).

    What is not named is not wanted, unless "*" is; no coding stands behind every coding that is wanted as much.
    """
    qualities: dict[str, float] = {}
    for word in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in word.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        try:
            qualities[coding] = float(quality)
        except ValueError:
            qualities[coding] = 0.0
    if "x-gzip" in qualities:
        qualities.setdefault("gzip", qualities["x-gzip"])
    # "*" is what old clients say who mean gzip; zstd is for those who name it.
    qualities.setdefault("gzip", qualities.get("*", 0.0))
    best = max(offered, key=lambda coding: qualities.get(coding, 0.0), default=None)
    wanted = qualities.get(best or "", 0.0)
    return best if wanted > 0 and wanted >= qualities.get("identity", 0.0) else None
