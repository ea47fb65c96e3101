"""XML from declared values: one function that escapes, so that no document is put together by hand.

The VOTable, VOSI and error documents are written with it. Reading XML is not here.
"""

import re
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape, quoteattr

# What XML 1.0 §2.2 does not allow, not even as a character reference.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
SPECIAL = re.compile("[&<>\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")  # and what is escaped
SPECIAL_IN_ATTRIBUTES = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
REPLACEMENT = "\ufffd"

Attributes = Mapping[str, str | int | float | bool | None]


class Markup(str):
    """Text that is XML already; everything else that is given to `element` is escaped."""

    __slots__ = ()


def text(value: str) -> Markup:
    """Character data; what XML cannot carry becomes U+FFFD, and a carriage return keeps its place."""
    if not SPECIAL.search(value):
        return Markup(value)
    return Markup(escape(FORBIDDEN.sub(REPLACEMENT, value), {"\r": "&#13;"}))


def start_tag(name: str, attributes: Attributes | None = None, *, empty: bool = False) -> Markup:
    """The opening tag; attributes whose value is None are left out, booleans are xs:boolean."""
    words = [name]
    for key, value in (attributes or {}).items():
        if value is None:
            continue
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        is_plain = not SPECIAL_IN_ATTRIBUTES.search(shown)
        words.append(f'{key}="{shown}"' if is_plain else f"{key}={quoteattr(FORBIDDEN.sub(REPLACEMENT, shown))}")
    return Markup(f"<{' '.join(words)}{'/' if empty else ''}>")


def element(name: str, attributes: Attributes | None = None, *content: str | Iterable[Markup] | None) -> Markup:
    """An element. content: str is escaped, Markup is not, an iterable of Markup is joined, None is left out."""
    parts = [part for part in content if part is not None]
    if not parts:
        return start_tag(name, attributes, empty=True)
    inner = "".join(_joined(part) for part in parts)
    return Markup(f"{start_tag(name, attributes)}{inner}</{name}>")


def _joined(part: str | Iterable[Markup]) -> str:
    if isinstance(part, Markup):
        return part
    return text(part) if isinstance(part, str) else "".join(part)
