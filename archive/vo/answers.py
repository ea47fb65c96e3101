"""Answers that are given again, for a while, to whoever asks the same: by GET, and as nobody in particular.

An answer is kept as it was made, before compression, so that each client still gets the coding that it takes. Whether
it still holds is asked of the data's state at each request: what was changed is never answered from before the change.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Protocol

from fastapi import Request

from archive.vo.dali import Parameters
from archive.vo.formats import Writer
from archive.vo.line import Line
from archive.vo.streaming import StreamedResponse

State = tuple[object, ...]
FAILED = b'name="QUERY_STATUS" value="ERROR"'
OBJECTS_BYTES = 1500  # what an answer takes beside its text: headers, and Python's own


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole answer. state: of the data when it was begun; at: time.monotonic(); key_bytes: what it is found by."""

    pieces: tuple[bytes, ...]
    headers: Mapping[str, str]
    media_type: str
    is_packed: bool
    state: State
    at: float
    key_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """What it takes of memory, about."""
        return sum(map(len, self.pieces)) + self.key_bytes + OBJECTS_BYTES

    @property
    def age_s(self) -> int:
        """For Age (RFC 9111 §5.1)."""
        return int(time.monotonic() - self.at)


class Answers:
    """The answers that a process keeps; those that were asked for least recently go first."""

    def __init__(self, state: Callable[[], State], *, keep_s: float, answer_bytes: int, all_bytes: int) -> None:
        """state: asked of the database before an answer is looked for, or begun. keep_s: seconds, 0 to keep nothing.

        answer_bytes, all_bytes: of one answer and of all, before compression.
        """
        self.state = state
        self.answer_bytes = answer_bytes
        self._keep_s = keep_s
        self._all_bytes = all_bytes
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @property
    def are_kept(self) -> bool:
        return self._keep_s > 0

    def find(self, key: Hashable, state: State) -> Kept | None:
        """The answer of this key, if it is young enough and the state is the same."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if kept.state != state or time.monotonic() - kept.at > self._keep_s:
                self._forget(key)
                return None
            self._kept.move_to_end(key)
            return kept

    def keep(self, key: Hashable, kept: Kept) -> None:
        """Keep an answer, in place of those that were asked for least recently."""
        with self._lock:
            self._forget(key)
            self._kept[key] = kept
            self._bytes += kept.size_bytes
            while self._bytes > self._all_bytes:
                self._forget(next(iter(self._kept)))

    def _forget(self, key: Hashable) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._bytes -= kept.size_bytes


class Prepared(Protocol):
    """A checked request, as TAP and discovery have it.

    is_repeatable: asked again, it has the same answer until the data change. is_whole: all rows came.
    """

    @property
    def writer(self) -> Writer: ...
    @property
    def is_repeatable(self) -> bool: ...
    def is_whole(self) -> bool: ...
    def open(self) -> Generator[bytes]: ...
    def cancel(self) -> None: ...
    def headers(self) -> dict[str, str]: ...
    def when_freed(self, call: Callable[[], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class Asking:
    """A request whose answer may be kept. state: of the data, before anything of it was read."""

    answers: Answers
    key: Hashable
    state: State

    @classmethod
    def of(cls, answers: Answers, request: Request, asked: Parameters, *, anonymous: bool) -> "Asking | None":
        """None for a request whose answer is not kept: by POST, of somebody, with a table."""
        if not answers.are_kept or not anonymous or request.method != "GET" or "UPLOAD" in asked:
            return None
        return cls(answers, (request.scope["path"], tuple(asked.items())), answers.state())

    def again(self) -> StreamedResponse | None:
        """The answer that was given before, if it still holds."""
        kept = self.answers.find(self.key, self.state)
        if kept is None:
            return None
        headers = {**kept.headers, "Age": str(kept.age_s)}
        return StreamedResponse(
            lambda: iter(kept.pieces), media_type=kept.media_type, headers=headers, compress=not kept.is_packed
        )

    def keeping(self, prepared: Prepared, headers: Mapping[str, str]) -> Iterator[bytes]:
        """Open a request, and keep its answer when it has come to its end."""
        held: list[bytes] | None = []
        size = 0
        with closing(prepared.open()) as pieces:
            for piece in pieces:
                size += len(piece)
                held = held if size <= self.answers.answer_bytes else None
                if held is not None:
                    held.append(piece)
                yield piece
        # A VOTable may end in a failure that came when all rows had been read.
        if held is not None and prepared.is_whole() and FAILED not in b"".join(held[-2:]):
            writer, told = prepared.writer, {**headers, **prepared.headers()}
            now, key_bytes = time.monotonic(), len(repr(self.key))
            kept = Kept(tuple(held), told, writer.media_type, writer.is_packed, self.state, now, key_bytes)
            self.answers.keep(self.key, kept)


def answered(
    asks: Callable[[], Asking | None],
    look_again: Callable[[], None],
    prepare: Callable[[], Prepared],
    name: str,
    line: Line,
) -> StreamedResponse:
    """The answer to a request that is yet to be checked, or one that is kept. name: of the file that a browser saves.

    look_again: has what is published asked for anew, or a table published a moment ago would be answered, and kept, as
    it was before.
    """

    def made() -> StreamedResponse:
        asking = asks()
        if asking is not None:
            if again := asking.again():
                return again
            look_again()
        return _streamed(prepare(), asking, name, line)

    return StreamedResponse.of(made, line)


def _streamed(prepared: Prepared, asking: Asking | None, name: str, line: Line) -> StreamedResponse:
    """The answer to a checked request, kept if it may be."""
    headers = {"Content-Disposition": f'inline; filename="{name}.{prepared.writer.extension}"'}
    is_kept = asking is not None and prepared.is_repeatable
    return StreamedResponse(
        partial(asking.keeping, prepared, headers) if asking and is_kept else prepared.open,
        media_type=prepared.writer.media_type,
        headers=headers,
        cancel=prepared.cancel,
        compress=not prepared.writer.is_packed,
        late_headers=prepared.headers,
        is_whole=prepared.is_whole,
        line=line,
        freed=prepared.when_freed,
    )
