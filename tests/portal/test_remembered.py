"""What pages show may be old, and nobody waits while it is made again."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from archive.portal.remembered import Remembered

PATIENCE_S = 30


def given(answer: int | OSError) -> int:
    if isinstance(answer, OSError):
        raise answer
    return answer


def test_the_first_is_waited_for_and_made_once() -> None:
    numbers = iter(range(50))
    remembered = Remembered(lambda: next(numbers), look_again_s=300)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: remembered.value(), range(50))) == {0}
    assert next(numbers) == 1


def test_an_old_one_is_given_while_it_is_made_again_and_kept_if_that_fails() -> None:
    answers: queue.Queue[int | OSError] = queue.Queue()

    def make() -> int:
        return given(answers.get(timeout=PATIENCE_S))

    answers.put(0)
    remembered = Remembered(make, look_again_s=0)
    for answer, kept in ((OSError("not now"), 0), (1, 1)):
        assert [remembered.value() for _ in range(3)] == [0, 0, 0], "the making waits for its answer, and nobody for it"
        (making,) = (thread for thread in threading.enumerate() if thread.name == "remembered")
        answers.put(answer)
        making.join(PATIENCE_S)
        answers.put(kept)
        assert remembered.value() == kept
        for thread in threading.enumerate():
            if thread.name == "remembered":
                thread.join(PATIENCE_S)


def test_if_the_first_fails_the_next_tries_again() -> None:
    answers: Iterator[int | OSError] = iter([OSError("not now"), 7])
    remembered = Remembered(lambda: given(next(answers)), look_again_s=300)
    with pytest.raises(OSError, match="not now"):
        remembered.value()
    assert remembered.value() == 7
