"""Where data come from, and how those who use them cite them (IVOA Note "Data Origin in the VO" 1.2, table 2).

How a VOTable tells it is archive.vo.votable.info's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Self

SOFTWARE = f"Uraniborg/{version('uraniborg')}"  # what answers here


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of a table; None: not known.

    creator: the authors; citation: identifier of the data (a DOI); article: bibcode or DOI of the article to cite;
    reference_url: landing page; resource_version: of the data; rights: the licence in words; rights_uri: its URI.
    """

    creator: str | None = None
    citation: str | None = None
    article: str | None = None
    reference_url: str | None = None
    resource_version: str | None = None
    rights: str | None = None
    rights_uri: str | None = None

    @classmethod
    def from_items(cls, items: Mapping[str, str | None]) -> Self:
        """Of known items; others, which a later release may have written, are left out."""
        return cls(**{name: value for name, value in items.items() if name in ITEMS and value})

    def items(self) -> dict[str, str]:
        """What is known, by the note's names, in its order."""
        told = ((name, getattr(self, name)) for name in ITEMS)
        return {name: value for name, value in told if value}


ITEMS = tuple(each.name for each in fields(Origin))
UNKNOWN = Origin()
