"""Cubes: two axes on the sky (or on a detector) and a third that is neither degenerate nor a polarisation alone."""

import numpy as np

from ingest.describe.facts import Facts
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.images import add_sky, add_unit
from ingest.describe.science import pixel_axes, science_hdus
from ingest.describe.spectral import add_spectral, spectral_axis, velocity_without_line
from ingest.findings import Finding

# FITS 4.0 table 29: the Stokes axis.
STOKES = {
    1: "I",
    2: "Q",
    3: "U",
    4: "V",
    -1: "RR",
    -2: "LL",
    -3: "RL",
    -4: "LR",
    -5: "XX",
    -6: "YY",
    -7: "XY",
    -8: "YX",
}


def recognises(file: FitsFile) -> bool:
    """A science HDU with three or more axes longer than one pixel."""
    return any(pixel_axes(file.hdus[index]) >= 3 for index in science_hdus(file))


def describe(file: FitsFile, facts: Facts) -> None:
    """Add what a cube is: type, footprint, spectral range, polarisation, beam, units. RefusedError as images."""
    science = [hdu for hdu in (file.hdus[index] for index in science_hdus(file)) if pixel_axes(hdu) >= 3]
    largest = max(science, key=lambda hdu: int(np.prod(hdu.shape)))
    facts.add("dataproduct_type", "cube", largest.label, "three axes of pixels")
    add_sky(file, facts, science)
    add_polarisation(facts, largest)
    axis = spectral_axis(file, largest)
    if axis is not None and axis.length > 1:
        add_spectral(facts, axis, f"WCS of {largest.label}", cube=True)
        if axis.edges is None and "em_min" not in facts:
            facts.found(velocity_without_line(axis, largest.label))
    add_beam(file, facts, largest)
    add_unit(file, facts, largest)


def add_polarisation(facts: Facts, hdu: Hdu) -> None:
    """Add pol_states ("/I/Q/") and pol_xel of a STOKES axis, in the standard's order (ObsCore 1.1 §B.6.6)."""
    ndim = len(hdu.shape)
    for i in range(1, ndim + 1):
        if str(hdu.header.get(f"CTYPE{i}", "")).strip().upper() != "STOKES":
            continue
        length = hdu.shape[ndim - i]
        start = hdu.header.get(f"CRVAL{i}", 1) - (hdu.header.get(f"CRPIX{i}", 1) - 1) * hdu.header.get(f"CDELT{i}", 1)
        codes = [round(start + k * hdu.header.get(f"CDELT{i}", 1)) for k in range(length)]
        names = [STOKES[code] for code in STOKES if code in codes]
        if names:
            facts.add("pol_states", f"/{'/'.join(names)}/", f"{hdu.label} CTYPE{i}", "the Stokes axis")
            facts.add("pol_xel", len(names), f"{hdu.label} CTYPE{i}", "the Stokes axis")


def add_beam(file: FitsFile, facts: Facts, hdu: Hdu) -> None:
    """Add s_resolution from CASA's table of a beam per plane: the median major axis, arcsec."""
    table = next((entry for entry in file.hdus if entry.kind == "table" and entry.name == "BEAMS"), None)
    if table is None or "BMAJ" not in table.columns:
        return
    major = np.asarray(file.table(table.index)["BMAJ"], dtype=float)
    unit = str(table.header.get(f"TUNIT{table.columns.index('BMAJ') + 1}", "arcsec")).strip().lower()
    scale = {"arcsec": 1.0, "deg": 3600.0, "arcmin": 60.0}.get(unit)
    good = major[np.isfinite(major) & (major > 0)]
    if scale is None or not good.size:
        facts.found(Finding("warning", "beam_unreadable", table.label, f"beams in {unit!r} cannot be read."))
        return
    facts.add("s_resolution", float(np.median(good)) * scale, table.label, "median major axis of the planes' beams")
