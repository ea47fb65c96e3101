"""INFO: a name, a value and a sentence (VOTable 1.5 §4.3)."""

from collections.abc import Iterator
from dataclasses import dataclass

from archive.vo.markup import Markup, element
from archive.vo.origin import Origin

# What each item of an origin is, for people who read the document, as the note on data origin recommends.
_ITEMS = {
    "creator": "authors",
    "citation": "identifier to cite",
    "article": "article to cite",
    "reference_url": "landing page",
    "resource_version": "version",
    "rights": "licence",
    "rights_uri": "licence",
}
_UCDS = {"citation": "meta.bib", "article": "meta.bib"}  # TAP-25


@dataclass(frozen=True, slots=True)
class Info:
    """An INFO element: name and value, and a sentence as its content where there is more to say."""

    name: str
    value: str
    content: str | None = None
    ucd: str | None = None
    id: str | None = None

    def markup(self) -> Markup:
        attributes = {"ID": self.id, "name": self.name, "value": self.value, "ucd": self.ucd}
        return element("INFO", attributes, self.content)


def origin_infos(of: str, origin: Origin) -> Iterator[Info]:
    """An origin in a document that has data from it (Data Origin in the VO 1.2 §3.3). of: the table's name."""
    for name, value in origin.items().items():
        yield Info(name, value, f"{of}: {_ITEMS[name]}", ucd=_UCDS.get(name))
