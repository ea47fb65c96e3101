"""Answers that are kept: how many, how long, and for which state of the data."""

import time

from archive.vo.answers import OBJECTS_BYTES, Answers, Kept


def kept(size: int, state: int = 1, at: float = 0.0) -> Kept:
    return Kept((b"x" * size,), {}, "text/csv", False, (state,), at or time.monotonic())


def test_the_answers_asked_for_least_recently_make_room_for_new_ones() -> None:
    answers = Answers(lambda: (1,), keep_s=60, answer_bytes=100, all_bytes=3 * OBJECTS_BYTES + 250)
    for key in "abc":
        answers.keep(key, kept(80))
    assert answers.find("a", (1,)) is not None
    answers.keep("d", kept(80))
    assert [key for key in "abcd" if answers.find(key, (1,))] == ["a", "c", "d"]
    answers.keep("d", kept(90))
    assert [key for key in "abcd" if answers.find(key, (1,))] == ["a", "c", "d"]


def test_an_answer_of_another_state_or_too_old_is_forgotten() -> None:
    answers = Answers(lambda: (1,), keep_s=5, answer_bytes=100, all_bytes=9000)
    answers.keep("a", kept(10))
    answers.keep("b", kept(10, at=time.monotonic() - 6))
    assert answers.find("a", (2,)) is None
    assert answers.find("a", (1,)) is None
    assert answers.find("b", (1,)) is None


def test_without_seconds_nothing_is_kept() -> None:
    assert not Answers(lambda: (1,), keep_s=0, answer_bytes=100, all_bytes=250).are_kept
