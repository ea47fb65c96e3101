"""Walking along the tokens of a query: what stands here, is it what was expected, and how deep are we."""

from collections.abc import Iterator
from contextlib import contextmanager

from archive.vo.errors import QueryError
from tap.adql.lexer import Token, tokens
from tap.adql.mistakes import closest, mistake, shortened
from tap.adql.nodes import Identifier, Place
from tap.adql.words import RESERVED

# What people bring along from SQL dialects, and what ADQL has for it.
INSTEAD = {
    "LIMIT": "ADQL has no LIMIT; write SELECT TOP n",
    "CASE": "ADQL has no CASE; COALESCE(a, b) or a UNION may do",
    "CROSS": "ADQL has no CROSS JOIN; put a comma between the tables",
    "TRUE": "ADQL has no boolean literals; compare with 'true'",
    "FALSE": "ADQL has no boolean literals; compare with 'false'",
    "CURRENT_TIMESTAMP": "ADQL has no CURRENT_TIMESTAMP; write the time as a string",
    "CURRENT_DATE": "ADQL has no CURRENT_DATE; write the date as a string",
    "SUBSTRING": "ADQL has no SUBSTRING; LIKE may do",
}


class Cursor:
    """The tokens of one query and a place among them.

    max_depth: how deep parentheses, functions and subqueries may nest; a subquery counts as three, since it costs the
    stack so much.
    """

    def __init__(self, text: str, max_length: int, max_depth: int) -> None:
        self.text = text
        self.max_depth = max_depth
        self._tokens = tokens(text, max_length)
        self._position = 0
        self._depth = 0
        self.token = self._tokens[0]

    def advance(self) -> Token:
        """The token that stood here; the next stands here now."""
        token = self.token
        if token.kind != "end":
            self._position += 1
            self.token = self._tokens[self._position]
        return token

    def ahead(self, steps: int = 1) -> Token:
        return self._tokens[min(self._position + steps, len(self._tokens) - 1)]

    def accept(self, *words: str) -> Token | None:
        """The token, if it is one of these words or symbols, and go on."""
        return self.advance() if self.token.word in words else None

    def expect(self, word: str, *also: str, hint: str = "") -> Token:
        """The token, which must be this word; also: what else would have been right here."""
        if self.token.word == word:
            return self.advance()
        raise self.unexpected(word, *also, hint=hint)

    def unexpected(self, *expected: str, hint: str = "") -> QueryError:
        """What to raise where something else was expected."""
        token = self.token
        words = [word if word[0].isalpha() else f"'{word}'" for word in expected]
        wanted = ", ".join(words[:-1]) + " or " + words[-1] if len(words) > 1 else words[0]
        message = f"expected {wanted}, found {token.shown}"
        if not hint:
            hint = self._hint(token, expected)
        return mistake(self.text, token.place, message + (f"; {hint}" if hint else ""), expected)

    def _hint(self, token: Token, expected: tuple[str, ...]) -> str:
        before = self._tokens[self._position - 1] if self._position else token
        for candidate in (token, before):
            if candidate.word in INSTEAD:
                return INSTEAD[candidate.word]
        # `SELECT a FORM t`: FORM was read as an alias, and the mistake shows one token later.
        for candidate in (token, before):
            if candidate.kind == "name" and candidate.word not in expected and len(candidate.word) > 2:
                near = [word for word in closest(candidate.word, expected, 1) if word.isupper()]
                if near:
                    return f"did you mean {near[0]} for {candidate.text}?"
        if token.word in RESERVED and any("name" in word for word in expected):
            return f'{token.text} is a reserved word; as a name it must be quoted: "{token.text}"'
        return ""

    def mistake(self, place: Place, message: str, expected: tuple[str, ...] = ()) -> QueryError:
        return mistake(self.text, place, message, expected)

    @property
    def at_end(self) -> bool:
        return self.token.kind == "end"

    @property
    def at_name(self) -> bool:
        """Whether an identifier may be read here."""
        token = self.token
        return token.kind == "delimited" or (token.kind == "name" and token.word not in RESERVED)

    def identifier(self, what: str, *also: str) -> Identifier:
        """A name that is not a reserved word. what: "a table name", ..."""
        if not self.at_name:
            raise self.unexpected(what, *also)
        token = self.advance()
        return Identifier(token.place, str(token.value), token.kind == "delimited")

    def dotted(self, what: str, most: int = 4) -> tuple[Identifier, ...]:
        """name[.name...]: at most so many parts. A dot that a * follows is left standing."""
        parts = [self.identifier(what)]
        while self.token.word == "." and self.ahead().word != "*":
            dot = self.advance()
            if len(parts) == most:
                written = ".".join(part.name for part in parts)
                raise self.mistake(dot.place, f"{shortened(written)} has its {most} parts already")
            parts.append(self.identifier(what))
        return tuple(parts)

    def whole_number(self, after: str) -> int:
        """An unsigned whole number, as TOP and OFFSET take."""
        token = self.token
        if token.kind == "number" and isinstance(token.value, int):
            self.advance()
            return token.value
        raise self.unexpected("a whole number, 0 or more", hint=f"{after} takes a literal number")

    @contextmanager
    def deeper(self, place: Place, cost: int = 1) -> Iterator[None]:
        """Everything read inside is nested once more (bounded, so that no query exhausts the stack)."""
        self._depth += cost
        if self._depth > self.max_depth:
            raise self.mistake(place, f"nested deeper than {self.max_depth} levels; flatten the query")
        yield
        self._depth -= cost
