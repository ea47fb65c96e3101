"""What a reader of spectra found in a file: a value between spectral_images, spectral_tables and spectra."""

from dataclasses import dataclass, field
from typing import Any

from ingest.describe.wavelengths import Medium, Samples
from ingest.findings import Finding


@dataclass(slots=True)
class Found:
    """The wavelengths of a file's spectra, and where they were read.

    hdus: whose keywords describe it, in this order. range: vacuum m; None where they cannot be known, and `missing`
    says why. medium: of the axis in the file. facts: (field, value, source, why) of what else was found.
    """

    hdus: tuple[int, ...]
    range: Samples | None
    source: str
    why: str
    medium: Medium = "vacuum"
    em_ucd: str = "em.wl"
    flux_unit: str | None = None
    flux_ucd: str | None = None
    is_spectrum: bool = True
    subtype: str | None = None
    missing: str = ""
    facts: list[tuple[str, Any, str, str]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def union(ranges: list[Samples]) -> Samples | None:
    """From the lowest to the highest of several ranges; counts add up."""
    if not ranges:
        return None
    return Samples(
        min(entry.low for entry in ranges), max(entry.high for entry in ranges), sum(entry.count for entry in ranges)
    )
