"""Bodies between the event loop and the threads that block: in with a bounded pipe, out by pages with look-ahead.

A trip to a thread costs, so small bodies make one, and large ones move by pages.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition
from typing import Any, TypeVar

from starlette.types import Message, Receive, Send

from storage.checksums import BLOCK_BYTES
from storage.web.threads import Threads

SMALL_BYTES = 1 << 20
"""Up to this a body is held in memory whole."""
PAGE_BYTES = BLOCK_BYTES
PIPE_BYTES = 4 << 20
PACE_BYTES = 64 << 10
LINGER_BYTES = 8 << 20
LINGER_S = 2.0

T = TypeVar("T")


class BodyBroken(Exception):
    """The body did not come to its end: its sender left, or sent nothing for too long (stalled), or too much."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ClientGone(Exception):
    """Nobody is there to answer any more."""


class Incoming:
    """The body of a request, taken from the server piece by piece.

    largest: bytes beyond which it is refused (413). stall_s: seconds in which the next 64 KiB must come (408).
    """

    def __init__(self, receive: Receive, *, largest: int, stall_s: float) -> None:
        self._receive, self._largest, self._stall_s = receive, largest, stall_s
        self.size_bytes = 0
        self.ended = False

    async def page(self, page_bytes: int) -> bytes:
        """What comes next, at least page_bytes unless the body ends before. BodyBroken, ClientGone."""
        pieces, size = [], 0
        while size < page_bytes and not self.ended:
            piece = await self.piece()
            pieces.append(piece)
            size += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def linger(self) -> None:
        """Take what is under way, some of it, so that the client reads an answer that came before its body's end."""
        with contextlib.suppress(TimeoutError, BodyBroken, ClientGone):
            async with asyncio.timeout(LINGER_S):
                self._largest = self.size_bytes + LINGER_BYTES
                while not self.ended:
                    await self._piece()

    async def piece(self) -> bytes:
        """What comes next, as it comes: at least 64 KiB, or what there is to the end. BodyBroken, ClientGone."""
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self._stall_s):
                while size < PACE_BYTES and not self.ended:
                    piece = await self._piece()
                    pieces.append(piece)
                    size += len(piece)
        except TimeoutError:
            told = f"the body stalled: fewer than {PACE_BYTES >> 10} KiB came in {self._stall_s:g} s; send it again"
            raise BodyBroken(told, 408) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _piece(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece: bytes = message.get("body", b"")
        self.ended = not message.get("more_body", False)
        self.size_bytes += len(piece)
        if self.size_bytes > self._largest:
            raise BodyBroken(f"the body is larger than the {self._largest} bytes that are taken here", 413)
        return piece


class Pipe:
    """A bounded queue of pages: the event loop puts in, one thread reads out, as from a file.

    read() raises what fail() was told, so that whoever reads keeps nothing of a body that was cut off.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, most_bytes: int = PIPE_BYTES) -> None:
        self._loop, self._most_bytes = loop, most_bytes
        self._pages: deque[bytes] = deque()
        self._held = 0
        self._ended = self._abandoned = False
        self._failure: BaseException | None = None
        self._changed = Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._rest = memoryview(b"")

    async def put(self, page: bytes) -> bool:
        """Take a page, and wait while the pipe is full; False when nobody reads any more."""
        with self._changed:
            self._pages.append(page)
            self._held += len(page)
            if self._held >= self._most_bytes:
                self._room.clear()
            self._changed.notify()
        await self._room.wait()
        return not self._abandoned

    def end(self, failure: BaseException | None = None) -> None:
        """No more comes; failure: because of this."""
        with self._changed:
            self._ended, self._failure = True, failure
            self._changed.notify()

    def read(self, size: int, /) -> bytes:
        """See Readable; on the thread that reads."""
        if not self._rest:
            with self._changed:
                while not self._pages and not self._ended:
                    self._changed.wait()
                if self._failure is not None:
                    raise self._failure
                if not self._pages:
                    return b""
                page = self._pages.popleft()
                self._held -= len(page)
                if self._held < self._most_bytes // 2 and not self._room.is_set():
                    self._loop.call_soon_threadsafe(self._room.set)
            if len(page) <= size:
                return page
            self._rest = memoryview(page)
        block, self._rest = self._rest[:size], self._rest[size:]
        return bytes(block)

    def abandon(self) -> None:
        """Nobody reads any more; on the event loop."""
        self._abandoned = True
        self._room.set()


async def fed(incoming: Incoming, first: bytes, work: Callable[[Pipe], T], threads: Threads) -> T:
    """Do the work on a thread, which reads the body while it comes. first: what of it came already.

    What the work raises comes out of here, at once; what broke the body is raised to the work, and here.
    """
    pipe = Pipe(asyncio.get_running_loop())

    async def pump() -> None:
        try:
            if not first or await pipe.put(first):
                while not incoming.ended:
                    if (piece := await incoming.piece()) and not await pipe.put(piece):
                        return
        except BaseException as error:
            pipe.end(error if isinstance(error, BodyBroken | ClientGone) else ClientGone())
            raise
        pipe.end()

    pumping = asyncio.create_task(pump())
    working = threads.run(work, pipe)
    try:
        return await asyncio.shield(working)
    finally:
        pipe.abandon()
        pumping.cancel()
        with contextlib.suppress(asyncio.CancelledError, BodyBroken, ClientGone):
            await pumping
        if not working.done():  # we were cancelled: the thread hears of it by its next read
            with contextlib.suppress(Exception):
                await working


class Outgoing:
    """The pages of an answer's body, made on threads, one ahead of what the client takes.

    blocks: closed at the end, if it has a close, whatever ends it. size_bytes: of all of them, where it is known: then
    nobody asks for more after the last.
    """

    def __init__(self, blocks: Iterator[bytes], size_bytes: int | None = None, page_bytes: int = PAGE_BYTES) -> None:
        self._blocks, self._left, self._page_bytes = blocks, size_bytes, page_bytes

    def page(self) -> tuple[bytes, bool]:
        """The next page, and whether there is more; blocking. After the last the blocks are closed."""
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            while more and size < self._page_bytes:
                piece = next(self._blocks, None)
                if piece is not None:
                    pieces.append(piece)
                    size += len(piece)
                more = piece is not None and size != self._left
        except BaseException:
            self.close()
            raise
        if self._left is not None:
            self._left -= size
        if not more:
            self.close()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), more

    def close(self) -> None:
        """Let go of what is read; blocking, and may be called twice."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()

    async def send(self, page: bytes, receive: Receive, send: Send, threads: Threads, *, stall_s: float) -> None:
        """Send this page and all after it. Raises ClientGone, TimeoutError (the client takes nothing), and whatever
        reading raises; then the connection must break."""
        leaving = asyncio.create_task(_left(receive))
        coming: asyncio.Future[tuple[bytes, bool]] | None = None
        more = True
        try:
            while more:
                coming = threads.run(self.page)
                async with asyncio.timeout(stall_s):
                    await send({"type": "http.response.body", "body": page, "more_body": True})
                page, more = await asyncio.shield(coming)
                if leaving.done():
                    raise ClientGone
            async with asyncio.timeout(stall_s):
                await send({"type": "http.response.body", "body": page, "more_body": False})
        finally:
            leaving.cancel()
            if coming is not None and not coming.done():
                await asyncio.wait((coming,))
            if more:
                await asyncio.shield(threads.run(self.close))


async def _left(receive: Receive) -> None:
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            return


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    """An answer that is at hand."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def raw(headers: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), str(value).encode("latin-1")) for name, value in headers.items()]
