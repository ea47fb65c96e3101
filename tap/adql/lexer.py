"""ADQL text to tokens, in one pass and linear time (ADQL-01, 02, 03). No grammar here: that is parser.py's."""

import re
from typing import Literal, NamedTuple

from tap.adql.mistakes import mistake, shortened
from tap.adql.nodes import Place

TokenKind = Literal["name", "delimited", "string", "number", "symbol", "end"]


class Token(NamedTuple):
    """text: as written. word: a name in upper case or a symbol, what the grammar compares; "" for literals.

    value: of a literal; the name itself for names. start, end: offsets into the query.
    """

    kind: TokenKind
    text: str
    word: str
    value: str | int | float
    place: Place
    start: int
    end: int

    @property
    def shown(self) -> str:
        return "the end of the query" if self.kind == "end" else shortened(self.text)


# Possessive quantifiers (++, *+): what was taken is never given back, so no input is read twice.
# A blank that does not break and a byte order mark come with queries copied from web pages and papers.
PIECES = re.compile(
    r"""(?P<space>(?:[\x20\t\r\n\f\v\u00a0\ufeff]++|--[^\r\n]*+)++)
    |(?P<name>[A-Za-z][A-Za-z0-9_]*+)
    |(?P<number>(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?)
    |(?P<string>'[^']*+(?:''[^']*+)*+')
    |(?P<delimited>"[^"]*+(?:""[^"]*+)*+")
    |(?P<symbol><>|!=|<=|>=|\|\||[-+*/%=<>(),.;])""",
    re.VERBOSE,
)

OPENINGS = {
    "'": "a string that is never closed: a ' is missing",
    '"': 'a quoted name that is never closed: a " is missing',
    "_": "a name starts with a letter, not with _; quote it if it is so named",
}


def tokens(text: str, max_length: int = 1_000_000) -> list[Token]:
    """All tokens of a query, the last of kind "end".

    max_length: characters. Raises QueryError with the place of the first piece that is no ADQL.
    """
    if len(text) > max_length:
        raise mistake(text, Place(1, 1), f"the query has {len(text)} characters; at most {max_length} are read")
    result: list[Token] = []
    position, line, line_start = 0, 1, 0
    while position < len(text):
        place = Place(line, position - line_start + 1)
        match = PIECES.match(text, position)
        if match is None:
            raise mistake(text, place, unreadable(text[position]))
        end, kind = match.end(), match.lastgroup
        piece = match.group()
        if kind == "name":
            result.append(Token("name", piece, piece.upper(), piece, place, position, end))
        elif kind == "symbol":
            word = "<>" if piece == "!=" else piece
            result.append(Token("symbol", piece, word, piece, place, position, end))
        elif kind == "number":
            result.append(Token("number", piece, "", number(text, piece, place, end), place, position, end))
        elif kind != "space":
            result.append(quoted(text, kind, piece, place, position))
        if kind not in ("name", "symbol", "number") and (breaks := piece.count("\n")):
            line += breaks
            line_start = position + piece.rindex("\n") + 1
        position = end
    result.append(Token("end", "", "", "", Place(line, position - line_start + 1), position, position))
    return result


def unreadable(letter: str) -> str:
    """Why no token starts with this letter."""
    if letter in OPENINGS:
        return OPENINGS[letter]
    if letter.isalpha():
        return f"{letter!r} cannot stand in a bare name; quote the name"
    return f"{letter!r} has no meaning in ADQL here"


def number(text: str, piece: str, place: Place, end: int) -> int | float:
    """The value of a numeric literal; whole numbers beyond 64 bits become floating point, as in PostgreSQL."""
    if end < len(text) and (text[end].isalnum() or text[end] == "_"):
        raise mistake(text, place, f"{shortened(piece + text[end])} is neither a number nor a name")
    if piece.isdecimal() and len(piece) <= 19 and (whole := int(piece)) < 2**63:
        return whole
    if len(piece) > 400:
        raise mistake(text, place, "a number of more than 400 digits")
    value = float(piece)
    if value == float("inf"):
        raise mistake(text, place, f"{shortened(piece)} is beyond double precision")
    return value


def quoted(text: str, kind: str | None, piece: str, place: Place, start: int) -> Token:
    """A string literal or a delimited identifier, with its quotes undone."""
    quote = piece[0]
    value = piece[1:-1].replace(quote * 2, quote)
    if "\x00" in value or any("\ud800" <= letter <= "\udfff" for letter in value if letter > "\x7f"):
        raise mistake(text, place, "a character here is no text: NUL, or half a surrogate pair")
    end = start + len(piece)
    if kind == "string":
        return Token("string", piece, "", value, place, start, end)
    if not value:
        raise mistake(text, place, 'a quoted name ("") needs at least one character')
    return Token("delimited", piece, "", value, place, start, end)
