"""What was found against a rule of the standard: which rule, which keyword, what is expected, how to mend it."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from ingest.findings import Finding


@dataclass(frozen=True, slots=True)
class Breach(Finding):
    """A finding about a Phase 3 file.

    rule: id of a cross-check ("T01"), a rule of the keyword table ("required", "conditional", "recommended",
    "forbidden", "reserved", "type", "value", "unit"), or "FITS" for the form of the file itself. keyword: as in the
    header, several joined by ", "; empty where none is meant. hdu: counted from 0; None for the file or the delivery.
    expected: what would be right. source: where the standard says so.
    """

    rule: str = ""
    keyword: str = ""
    hdu: int | None = None
    expected: str = ""
    source: str = ""

    @classmethod
    def of(cls, finding: Finding, rule: str, source: str = "FITS 4.0") -> "Breach":
        """A finding of ingest.checks, under one of our rules."""
        place = re.match(r"\[(\d+)\]", finding.where)
        return cls(
            finding.level, finding.code, finding.where, finding.what, finding.mend, rule=rule,
            keyword="DATASUM, CHECKSUM" if rule == "F02" else "", hdu=int(place[1]) if place else None,
            expected="the sums of the bytes as they are" if rule == "F02" else "", source=source,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
