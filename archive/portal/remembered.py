"""What takes long to make and may be a while old: pages are not kept waiting while it is made again. Pure."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
Made = TypeVar("Made")


class Remembered(Generic[Made]):
    """A value as of a while ago, made again in the background when it is old."""

    def __init__(self, make: Callable[[], Made], *, look_again_s: float) -> None:
        self._make = make
        self._look_again_s = look_again_s
        self._guard = threading.Lock()
        self._made: tuple[Made] | None = None
        self._looked = float("-inf")

    def value(self) -> Made:
        """The first time it is waited for, and `make`'s errors are raised; afterwards an old answer is better than a
        late one, or than none."""
        if self._made is None:
            with self._guard:
                if self._made is None:
                    self._look()
        elif time.monotonic() - self._looked >= self._look_again_s and self._guard.acquire(blocking=False):
            threading.Thread(target=self._look_again, daemon=True, name="remembered").start()
        assert self._made is not None
        return self._made[0]

    def _look(self) -> None:
        try:
            self._made = (self._make(),)
        finally:
            self._looked = time.monotonic()

    def _look_again(self) -> None:
        try:
            self._look()
        except Exception:  # the thread's last word: nobody waits for it
            log.exception("what pages show could not be made again; they show what it was")
        finally:
            self._guard.release()
