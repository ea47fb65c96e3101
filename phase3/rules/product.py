"""A delivered file as the checks see it: its category, the HDUs that matter, and its keywords by name.

Nothing is judged here. Pixels and rows are read only when a check asks for them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from astropy.io import fits

from ingest.describe.header import FitsFile, Hdu
from ingest.findings import Level
from phase3.rules.breach import Breach
from phase3.rules.model import Category, KeywordRule, Rules

COMMENTARY = ("COMMENT", "HISTORY", "")
CATALOGUES = ("SCIENCE.CATALOG", "SCIENCE.MCATALOG", "SCIENCE.CATALOGTILE")
PROVENANCE, CATALOGUE, FILE_LIST = "PHASE3PROVENANCE", "PHASE3CATALOG", "PHASE3FILELIST"
# Keywords that every image extension carries, not only that of the science data (SDP 8 §5.4, §5.10).
IMAGE_WIDE = (
    "CRVALi", "CRPIXi", "CTYPEi", "CUNITi", "CDi_j", "HDUCLASS", "HDUCLASi", "HDUDOC", "HDUVERS",
    "SCIDATA", "ERRDATA", "QUALDATA", "CONFDATA", "BKGDATA", "BKGERR", "BKGCONF",
)  # fmt: skip
FITS_SUFFIXES = (".fits", ".fits.fz")


@dataclass
class Product:
    """One file under the rules. name: of the file. now: the time of the check, MJD, UTC. publisher: what VOPUB says."""

    file: FitsFile
    rules: Rules
    name: str
    now: float
    publisher: str = "ESO/SAF"
    prodcatg: str = ""
    category: Category | None = None

    def __post_init__(self) -> None:
        self.prodcatg = self.prodcatg or self.text("PRODCATG") or ""
        self.category = self._category()

    # ---- HDUs

    @cached_property
    def primary(self) -> int:
        """Index of the HDU that the standard calls primary: fpack turns a primary image into the first extension."""
        hdus = self.file.hdus
        packed = len(hdus) > 1 and hdus[1].compressed and hdus[1].raw_header.get("ZSIMPLE") is True
        return 1 if packed and not hdus[0].shape else 0

    @cached_property
    def extensions(self) -> tuple[int, ...]:
        return tuple(hdu.index for hdu in self.file.hdus if hdu.index > self.primary)

    @cached_property
    def images(self) -> tuple[int, ...]:
        """Image extensions."""
        return tuple(i for i in self.extensions if self.file.hdus[i].kind == "image")

    @cached_property
    def tables(self) -> tuple[int, ...]:
        """Binary tables with data of the product: neither provenance nor a list of files."""
        return tuple(
            i for i in self.extensions
            if self.file.hdus[i].kind == "table" and self.file.hdus[i].name not in (PROVENANCE, FILE_LIST)
        )  # fmt: skip

    @cached_property
    def science(self) -> tuple[int, ...]:
        """The HDUs that hold the data of the product, by the structure of its category; () if there are none."""
        identity = self.category.id if self.category else self.prodcatg
        if identity in ("SCIENCE.IMAGE", "SCIENCE.IMAGE.FLUXMAP"):
            return (self.primary,)
        if identity in ("SCIENCE.IMAGE#MEF", "SCIENCE.CUBE.IFS"):
            data = tuple(i for i in self.images if self.text("HDUCLAS2", i) == "DATA")
            named = tuple(i for i in self.images if self.file.hdus[i].name == "DATA")
            return data or named[:1] or self.images[:1]
        if identity == "SCIENCE.MEFIMAGE":
            return self.images
        if identity in CATALOGUES:
            named = tuple(i for i in self.tables if self.file.hdus[i].name == CATALOGUE)
            return named[:1] or self.tables[:1]
        if identity == "SCIENCE.SPECTRUM":
            return self.tables[:1]
        if identity in self.rules.categories:
            return self.tables
        return tuple(i for i in (self.primary, *self.extensions) if self.file.hdus[i].shape)

    def places(self, place: str, name: str = "") -> tuple[int, ...]:
        """The HDUs a keyword belongs in: place as in Use.hdu, name as in the rules."""
        if place == "primary":
            return (self.primary,)
        if place == "extension":
            wide = name in IMAGE_WIDE and self.images and set(self.science) <= set(self.images)
            return self.images if wide else self.science
        if place == "primary+extension":
            return (self.primary, *self.science)
        return (self.primary, *self.extensions)

    def hdu(self, index: int) -> Hdu:
        return self.file.hdus[index]

    # ---- keywords

    @cached_property
    def values(self) -> tuple[Mapping[str, Any], ...]:
        """Keyword to value, for each HDU; text without trailing blanks. The first of several cards of a name counts."""
        return tuple(self._values_of(hdu) for hdu in self.file.hdus)

    @staticmethod
    def _values_of(hdu: Hdu) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for card in hdu.header.cards:
            if card.keyword not in COMMENTARY and not card.keyword.startswith("ESO ") and card.keyword not in values:
                value = card.value
                values[card.keyword] = value.rstrip() if isinstance(value, str) else value
        for keyword in ("CHECKSUM", "DATASUM"):  # of a compressed image: of the HDU as it lies in the file
            if keyword in hdu.raw_header:
                values[keyword] = str(hdu.raw_header[keyword]).strip()
        if "RADESYS" not in values and "RADECSYS" in values:
            values["RADESYS"] = values["RADECSYS"]  # the name of old; common.position tells of it
        return values

    @cached_property
    def by_rule(self) -> tuple[Mapping[str, tuple[str, ...]], ...]:
        """For each HDU: name in the rules to the keywords in the header that it stands for."""
        found: list[dict[str, tuple[str, ...]]] = []
        for values in self.values:
            names: dict[str, tuple[str, ...]] = {}
            for keyword in values:
                name = self.rules.generic(keyword)
                if name is not None:
                    names[name] = (*names.get(name, ()), keyword)
            found.append(names)
        return tuple(found)

    def get(self, keyword: str, hdu: int | None = None) -> Any:
        """The value in an HDU (default: the primary); None if it is absent or has none."""
        value = self.values[self.primary if hdu is None else hdu].get(keyword)
        return None if isinstance(value, fits.card.Undefined) else value

    def has(self, keyword: str, hdu: int | None = None) -> bool:
        return keyword in self.values[self.primary if hdu is None else hdu]

    def text(self, keyword: str, hdu: int | None = None) -> str | None:
        """The value if it is text."""
        value = self.get(keyword, hdu)
        return value if isinstance(value, str) else None

    def number(self, keyword: str, hdu: int | None = None) -> float | None:
        """The value if it is a number."""
        value = self.get(keyword, hdu)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def numbers(self, *keywords: str, hdu: int | None = None) -> tuple[float, ...] | None:
        """The values if all of them are numbers: relations between keywords hold their tongue until then."""
        found = [self.number(keyword, hdu) for keyword in keywords]
        return tuple(value for value in found if value is not None) if None not in found else None

    def indexed(self, stem: str, hdu: int | None = None) -> dict[int, Any]:
        """Values of stem1, stem2, ..., by index, in order; indices with leading zeros are not among them."""
        values = self.values[self.primary if hdu is None else hdu]
        pattern = re.compile(re.escape(stem) + r"([1-9]\d*)\Z")
        found = ((pattern.match(keyword), value) for keyword, value in values.items() if keyword.startswith(stem))
        return dict(sorted((int(match[1]), value) for match, value in found if match))

    def columns(self, hdu: int) -> int:
        """TFIELDS, or 0."""
        count = self.get("TFIELDS", hdu)
        return count if isinstance(count, int) else 0

    def is_of(self, *instruments: str) -> bool:
        """True if INSTRUME is one of these."""
        return (self.text("INSTRUME") or "").upper() in instruments

    @property
    def is_apex(self) -> bool:
        return (self.text("TELESCOP") or "").upper().startswith("APEX") or self.text("ORIGIN") == "APEX"

    @property
    def from_archive_facility(self) -> bool:
        """True if the data were taken by a facility whose raw data the archive keeps (S2: ESO*, APEX, ALMA)."""
        origin = (self.text("ORIGIN") or "").upper()
        return origin.startswith("ESO") or origin in ("APEX", "ALMA")

    # ---- findings

    def breach(
        self, rule: str, hdu: int | None, keyword: str, code: str, what: str, expected: str = "", mend: str = "",
        *, level: Level | None = None,
    ) -> Breach:  # fmt: skip
        """A breach of a cross-check; its level and source are the rule's unless told."""
        known = self.rules.checks[rule]
        place = self.file.hdus[hdu].label if hdu is not None else self.name
        source = {"S1": "SDP 8", "S2": "checks of the validator (2025-03-27)"}
        return Breach(
            level or known.severity, code, f"{place} {keyword}".rstrip(), what, mend, rule=rule, keyword=keyword,
            hdu=hdu, expected=expected, source=" and ".join(source.get(one, one) for one in known.source.split("+")),
        )  # fmt: skip

    def table_breach(
        self, rule: str, of: KeywordRule, hdu: int, keyword: str, level: Level, code: str, what: str, expected: str,
        mend: str,
    ) -> Breach:  # fmt: skip
        """A breach of the keyword table."""
        return Breach(
            level, code, f"{self.file.hdus[hdu].label} {keyword}", what, mend, rule=rule, keyword=keyword, hdu=hdu,
            expected=expected, source=of.source,
        )  # fmt: skip

    def _category(self) -> Category | None:
        if self.prodcatg == "SCIENCE.IMAGE" and not self.file.hdus[self.primary].shape:
            return self.rules.categories["SCIENCE.IMAGE#MEF"]
        return self.rules.categories.get(self.prodcatg)
