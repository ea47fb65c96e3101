"""INFO: a name, a value and a sentence (VOTable 1.5 §4.3)."""

from dataclasses import dataclass

from archive.vo.markup import Markup, element


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
