"""What holds for all categories: who made it and from what (M01 to M05), when (T01), where (P01)."""

import re
from collections.abc import Iterator
from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import SkyCoord

from ingest.describe.wcs import Celestial, WcsError, celestial
from phase3.rules.breach import Breach
from phase3.rules.product import PROVENANCE, Product

DAY_S = 86_400.0
MULTI = {"TELESCOP": "TELESC", "INSTRUME": "INSTR", "FILTER": "FILTER", "PROG_ID": "PROGID"}
IDENTITY = ("ORIGIN", "OBSTECH", "DATE", "MJD-OBS", "MJD-END", "PROCSOFT", "REFERENC", "TELESCOP", "INSTRUME")
PLACED = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
BIBCODE = re.compile(r"\d{4}[A-Za-z0-9.&]{14}[A-Za-z.:]\Z")
DOI = re.compile(r"(doi:\s?)?10\.\d{4,9}/\S+\Z", re.IGNORECASE)
# The table asks catalogues for OBSTECH only where one technique describes them; the validator asks always.
LENIENT = {"OBSTECH"}


def identity(product: Product) -> Iterator[Breach]:
    """M01, where the keyword table does not ask already."""
    table = product.rules.of_category(product.category.id) if product.category else ()
    asked = {rule.name for rule, use in table if use.level == "required"}
    for keyword in IDENTITY:
        if keyword not in asked and not product.has(keyword):
            lenient = product.category is not None and keyword in LENIENT
            yield product.breach(
                "M01", product.primary, keyword, "keyword_missing",
                f"{keyword} is missing{': allowed only if no single technique describes the data' if lenient else ''}.",
                product.rules.keywords[keyword].meaning, f"write {keyword}.", level="warning" if lenient else None,
            )  # fmt: skip


def several(product: Product) -> Iterator[Breach]:
    """M02: X=MULTI if and only if there is a list, of at least two different names (SDP 8 §5.1)."""
    at = product.primary
    for keyword, stem in MULTI.items():
        names = list(product.indexed(stem).values())
        multi = product.get(keyword) == "MULTI"
        pair = f"{keyword}, {stem}i"
        if multi and len(names) < 2:
            yield product.breach(
                "M02", at, pair, "list_missing", f"{keyword} is MULTI, and {stem}1, {stem}2 are not both there.",
                f"{stem}1, {stem}2, ... with at least two names", "write the list, or the one name.",
            )  # fmt: skip
        elif names and not multi:
            yield product.breach(
                "M02", at, pair, "list_unasked", f"there is a list {stem}1..., and {keyword} is not MULTI.",
                f"{keyword} = 'MULTI' with a list", f"write {keyword} = 'MULTI', or remove the list.",
            )  # fmt: skip
        elif len(set(map(str, names))) < len(names):
            yield product.breach(
                "M02", at, pair, "list_repeats", f"the list {stem}i names something twice.", "different names",
                "name each once, without a gap.",
            )  # fmt: skip


def origins(product: Product) -> Iterator[Breach]:
    """M03: PROVi and OBIDi well numbered, each value once; PROVi or the table of provenance, never both (§5.2)."""
    at = product.primary
    padded = [key for key in product.values[at] if re.match(r"(PROV|OBID)0\d*\Z", key)]
    if padded:
        yield product.breach(
            "M03", at, ", ".join(padded[:6]), "index_padded", "indices with leading zeros.", "PROV1, PROV2, ...",
            "renumber them.",
        )  # fmt: skip
    for stem in ("PROV", "OBID"):
        values = list(product.indexed(stem).values())
        if len(set(map(str, values))) < len(values):
            yield product.breach(
                "M03", at, f"{stem}i", "list_repeats", f"{stem}i names something twice.", "each value once",
                "name each once, and renumber.",
            )  # fmt: skip
    if product.is_apex and product.indexed("OBID"):
        yield product.breach(
            "M03", at, "OBIDi", "keyword_forbidden", "APEX has no observation blocks.", "absent", "remove OBIDi."
        )
    flag, table = product.get("PROVXTN") is True, any(hdu.name == PROVENANCE for hdu in product.file.hdus)
    if flag and not table:
        yield product.breach(
            "M03", at, "PROVXTN", "provenance_missing", f"PROVXTN is T, and there is no extension {PROVENANCE}.",
            f"an extension {PROVENANCE}", "add the extension, or name the precursors in PROVi.",
        )  # fmt: skip
    if product.indexed("PROV") and (flag or table):
        yield product.breach(
            "M03", at, "PROVi, PROVXTN", "provenance_twice", f"precursors are named in PROVi and in {PROVENANCE}.",
            "one of the two", "remove one of them.",
        )  # fmt: skip


def associations(product: Product) -> Iterator[Breach]:
    """B02, of one file: ASSOCi and ASSOMi go with an ASSONi."""
    files = product.indexed("ASSON")
    names = [f"{stem}{i}" for stem in ("ASSOC", "ASSOM") for i in product.indexed(stem) if i not in files]
    if names:
        told = ", ".join(names[:6])
        yield product.breach(
            "B02", product.primary, told, "association_unnamed", f"{told} without the name of the file.",
            "ASSONi of the same index", "name the file, or remove these.",
        )  # fmt: skip


def reference(product: Product) -> Iterator[Breach]:
    """M04: a bibcode, a DOI, or nothing yet."""
    value = product.text("REFERENC")
    if value and not BIBCODE.match(value) and not DOI.match(value):
        yield product.breach(
            "M04", product.primary, "REFERENC", "reference_form", f"REFERENC is {value!r}.",
            "a bibcode of 19 characters, doi:..., or an empty string", "write the bibcode of the paper.",
        )  # fmt: skip


def facility(product: Product) -> Iterator[Breach]:
    """M05: data of other facilities say so."""
    origin = product.text("ORIGIN")
    if origin is None:
        return
    at, told = product.primary, []
    if not product.from_archive_facility and product.get("NOESODAT") is not True:
        told.append(("NOESODAT", f"ORIGIN is {origin!r}, and NOESODAT is not T.", "NOESODAT = T"))
    if origin == "GRANTECAN" and product.get("TELESCOP") != "GTC":
        told.append(("TELESCOP", f"ORIGIN is GRANTECAN, TELESCOP {product.get('TELESCOP')!r}.", "TELESCOP = 'GTC'"))
    if origin == "NGTS" and (product.get("TELESCOP"), product.get("INSTRUME")) != ("NGTS", "NGTS"):
        told.append(("TELESCOP, INSTRUME", "ORIGIN is NGTS, the telescope or instrument is not.", "NGTS in both"))
    for keyword, what, expected in told:
        yield product.breach(
            "M05", at, keyword, "facility_contradictory", what, expected,
            "ORIGIN is the facility that took the data: correct it, or the keyword named.",
        )  # fmt: skip


def times(product: Product, tolerance_s: float = 0.01) -> Iterator[Breach]:
    """T01: start, end and exposure times agree; the past is past."""
    at = product.primary
    start, end = product.number("MJD-OBS"), product.number("MJD-END")
    exposure, total = product.number("EXPTIME"), product.number("TEXPTIME")
    found: list[tuple[str, str, str]] = []
    if start is not None and end is not None and end < start:
        found.append(("MJD-OBS, MJD-END", f"MJD-END {end:.8f} is before MJD-OBS {start:.8f}.", "MJD-OBS <= MJD-END"))
    if end is not None and end > product.now:
        found.append(("MJD-END", f"MJD-END {end:.8f} is in the future.", f"<= {product.now:.5f}, now"))
    if exposure is not None and total is not None and exposure >= total + tolerance_s:
        found.append(("EXPTIME, TEXPTIME", f"EXPTIME {exposure:g} s is more than TEXPTIME {total:g} s.",
                      "EXPTIME <= TEXPTIME"))  # fmt: skip
    if start is not None and end is not None and total is not None and start <= end:
        elapsed = (end - start) * DAY_S
        if total > elapsed + tolerance_s:
            found.append(("TEXPTIME", f"TEXPTIME {total:g} s is longer than MJD-OBS to MJD-END, {elapsed:.3f} s.",
                          "TEXPTIME <= (MJD-END - MJD-OBS) * 86400 s"))  # fmt: skip
    for keyword, what, expected in found:
        yield product.breach(
            "T01", at, keyword, "times_contradictory", what, expected, "correct the one that is wrong."
        )


def position(product: Product) -> Iterator[Breach]:
    """P01: the position of the product lies on its data; RADECSYS is the frame's name of old."""
    for index in (product.primary, *product.science):
        if product.has("RADECSYS", index) and "RADESYS" not in product.hdu(index).header:
            yield product.breach(
                "P01", index, "RADECSYS", "keyword_obsolete", "RADECSYS was renamed; it is read as RADESYS.",
                "RADESYS", "write RADESYS (FITS 4.0 §8.3).", level="warning",
            )  # fmt: skip
    place = product.numbers("RA", "DEC")
    if place is None or not (0 <= place[0] <= 360 and -90 <= place[1] <= 90):
        return
    frames = [frame for index in product.science if (frame := _celestial(product, index)) is not None]
    if frames and not _on_data(SkyCoord(*place, unit="deg"), frames):
        yield product.breach(
            "P01", product.primary, "RA, DEC", "position_outside",
            f"RA {place[0]:.5f}, DEC {place[1]:+.5f} lies outside the data, as their WCS has it.",
            "a position on the data, in degrees", "correct RA and DEC, or the WCS.",
        )  # fmt: skip


def _celestial(product: Product, index: int) -> Celestial | None:
    hdu = product.hdu(index)
    if hdu.kind != "image" or len(hdu.shape) < 2 or not all(product.has(keyword, index) for keyword in PLACED):
        return None  # the keyword table asks for what is missing
    try:
        return celestial(product.file, hdu)
    except WcsError:
        return None  # check_bytes tells of it


def _on_data(place: SkyCoord, frames: list[Celestial], margin: float = 1.0) -> bool:
    """True if the place is on an image, a pixel beside it, or, of several, among them: mosaics have gaps.

    margin: pixels.
    """
    if len(frames) == 1:
        return _on_image(place, frames[0], margin)
    corners = np.concatenate([_corners(frame) for frame in frames])
    corners = corners[np.isfinite(corners).all(axis=1)]
    if not len(corners):
        return True
    centre = corners.mean(axis=0)
    centre /= np.linalg.norm(centre)
    here = place.cartesian.xyz.value
    return bool(here @ centre >= (corners @ centre).min() - 1e-9)


def _corners(frame: Celestial) -> Any:
    ny, nx = frame.shape
    x = np.array([-0.5, nx - 0.5, nx - 0.5, -0.5])
    y = np.array([-0.5, -0.5, ny - 0.5, ny - 0.5])
    return frame.to_icrs(x, y)


def _on_image(place: SkyCoord, frame: Celestial, margin: float) -> bool:
    there = place.transform_to(frame.frame)
    there.representation_type = "unitspherical"
    lon, lat = there.spherical.lon.to_value(u.deg), there.spherical.lat.to_value(u.deg)
    world = [0.0, 0.0]
    world[frame.wcs.wcs.lng], world[frame.wcs.wcs.lat] = lon, lat
    # The distortion moves a pixel by less than a few: without it the inverse always exists.
    x, y = frame.wcs.wcs_world2pix([world], 0)[0]
    ny, nx = frame.shape
    if not (np.isfinite(x) and np.isfinite(y)):
        return False
    vector = place.cartesian.xyz.value
    seen = frame.to_icrs(np.array([x]), np.array([y]))[0]
    same_side = bool(seen @ vector > 0) if np.isfinite(seen).all() else True
    return same_side and bool(-0.5 - margin <= x <= nx - 0.5 + margin and -0.5 - margin <= y <= ny - 0.5 + margin)
