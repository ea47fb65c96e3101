"""Images: two pixel axes, with or without a place on the sky, one HDU or a mosaic."""

import numpy as np

from ingest.describe.facts import Facts, RefusedError
from ingest.describe.footprint import Footprint, footprint, outline
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.position import pointing
from ingest.describe.science import images, science_hdus
from ingest.describe.spectral import add_degenerate_band
from ingest.describe.units import ucd_of_unit, vounit
from ingest.describe.wcs import WcsError, celestial
from ingest.findings import Finding


def recognises(file: FitsFile) -> bool:
    """At least one HDU with two or more axes of pixels."""
    return bool(images(file))


def describe(file: FitsFile, facts: Facts) -> None:
    """Add what an image is: type, footprint, pixels, units. RefusedError: its WCS is there and cannot be used."""
    science = [file.hdus[index] for index in science_hdus(file)]
    largest = max(science, key=lambda hdu: int(np.prod(hdu.shape)))
    facts.add("dataproduct_type", "image", largest.label, "two axes of pixels")
    add_sky(file, facts, science)
    add_degenerate_band(file, facts, largest)
    add_unit(file, facts, largest)


def add_sky(file: FitsFile, facts: Facts, science: list[Hdu]) -> None:
    """Add the position, the footprint and the pixels of the sky; the pointing where no HDU has a celestial WCS."""
    outlines, used = [], []
    for hdu in science:
        try:
            sky = celestial(file, hdu)
        except WcsError as error:
            raise RefusedError(file.relative_path, (error.finding,)) from error
        entry = None if sky is None else outline(file, hdu, sky)
        if sky is not None and entry is not None:
            outlines.append(entry)
            used.append((hdu, sky))
    if not outlines:
        facts.found(
            Finding("info", "wcs_absent", science[0].label, "no celestial WCS: no footprint; position by the pointing.")
        )
        # Raw frames without WCS: the telescope's keywords tell where it pointed.
        found = pointing(file.keywords(*(hdu.index for hdu in science)))
        if found is not None:
            facts.add("s_ra", found.ra, found.source, f"where the telescope pointed: {found.why}")
            facts.add("s_dec", found.dec, found.source, f"where the telescope pointed: {found.why}")
        _add_shape(facts, science[0].label, science[0].shape)
        return
    _add_footprint(facts, footprint(outlines), "WCS of " + ", ".join(hdu.label for hdu, _ in used[:4]))
    largest, sky = max(used, key=lambda pair: pair[1].shape[0] * pair[1].shape[1])
    _add_shape(facts, largest.label, sky.shape)


def _add_footprint(facts: Facts, found: Footprint, source: str) -> None:
    facts.add("s_region", found.region, source, "outline of the valid pixels")
    facts.add("s_ra", found.ra, source, "centre of the outline")
    facts.add("s_dec", found.dec, source, "centre of the outline")
    facts.add("s_fov", found.fov, source, "diameter of the circle around the outline")
    facts.add("s_pixel_scale", found.pixel_scale, source, "square root of a pixel's area")


def _add_shape(facts: Facts, source: str, shape: tuple[int, ...]) -> None:
    facts.add("s_xel1", int(shape[-1]), source, "NAXISn of the largest science HDU")
    facts.add("s_xel2", int(shape[-2]), source, "NAXISn of the largest science HDU")


def add_unit(file: FitsFile, facts: Facts, hdu: Hdu) -> None:
    """Add o_unit (VOUnits) and o_ucd from BUNIT; a unit that cannot be read is kept as text, with a finding."""
    found = file.keywords(hdu.index).text("BUNIT")
    if found is None:
        return
    text, source = found
    unit = vounit(text)
    if unit is None:
        facts.found(
            Finding(
                "warning", "unit_unreadable", source, f"{text!r} is no unit FITS or VOUnits know; kept as text.",
                "write BUNIT as FITS 4.0 §4.3 says.",
            )
        )  # fmt: skip
    facts.add("o_unit", unit or text, source, "BUNIT in VOUnits" if unit else "BUNIT as it is written")
    facts.add("o_ucd", ucd_of_unit(text), source, "by the unit")
