"""Telling a user what is wrong with a query, where, and what may have been meant. One form for parser and names."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

from archive.vo.errors import QueryError
from tap.adql.nodes import Place


@contextmanager
def within_the_stack() -> Iterator[None]:
    """Where more nesting is allowed than the stack of Python bears, that too is a QueryError, no fault of ours."""
    try:
        yield
    except RecursionError:
        raise QueryError("the query is nested too deeply; flatten it, or name its parts in WITH") from None


def caret_lines(text: str, place: Place, width: int = 100) -> str:
    """The line of the query and, below it, a caret under the column; at most width characters of a long line."""
    lines = text.split("\n")
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    start = max(0, place.column - 1 - width // 2)
    # Tabs and control characters would shift the caret or break the XML that carries the message.
    shown = "".join(letter if letter.isprintable() else " " for letter in line[start : start + width])
    return f"\n  {shown}\n  {' ' * (place.column - 1 - start)}^"


def closest(word: str, candidates: Iterable[str], limit: int = 3) -> list[str]:
    """Up to limit names like the word, nearest first, compared without case."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    # difflib is quadratic in length: a megabyte of a name is not compared.
    if len(word) > 128:
        return []
    return [by_lower[match] for match in get_close_matches(word.lower(), list(by_lower), n=limit, cutoff=0.65)]


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """ "; did you mean A or B?", or nothing when no candidate is near."""
    matches = closest(word, candidates)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""


def shortened(text: str, limit: int = 60) -> str:
    """A piece of the query as it may stand in a message."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def mistake(text: str, place: Place, message: str, expected: tuple[str, ...] = ()) -> QueryError:
    """The error to raise: message with its place and a caret line below it."""
    return QueryError(message + caret_lines(text, place), place.line, place.column, expected)
