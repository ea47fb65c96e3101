"""The NGAS status document: XML from plain values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.sax.saxutils import quoteattr

MEDIA_TYPE = "text/xml"
# What XML 1.0 cannot hold (§2.2).
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Element:
    """An element with attributes, in the order given, and what it holds."""

    name: str
    attributes: Mapping[str, object]
    children: Sequence["Element"] = ()

    def write(self, indent: str = "") -> str:
        """Its XML, a line an element."""
        told = "".join(
            f" {name}={quoteattr(_NO_CHARACTER.sub('?', str(value)))}" for name, value in self.attributes.items()
        )
        if not self.children:
            return f"{indent}<{self.name}{told}/>\n"
        inner = "".join(child.write(f"{indent}  ") for child in self.children)
        return f"{indent}<{self.name}{told}>\n{inner}{indent}</{self.name}>\n"


def write_document(*elements: Element) -> bytes:
    """A document with root NgamsStatus. Without a DOCTYPE: nobody fetches it."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{Element("NgamsStatus", {}, elements).write()}'.encode()


def date_text(moment: datetime | None) -> str:
    """YYYY-MM-DDThh:mm:ss.mmm in UTC, without Z, as the client reads it; empty for None."""
    if moment is None:
        return ""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}"
