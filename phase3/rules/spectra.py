"""One-dimensional spectra: S01 to S07 (SDP 8 §5.6, §5.6.1)."""

import re
from collections.abc import Iterator

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ingest.describe.facts import RefusedError
from phase3.rules.breach import Breach
from phase3.rules.common import DAY_S
from phase3.rules.product import Product
from phase3.rules.units import unit_of

REPEAT = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")
UTYPES = ("Data.SpectralAxis.Value", "Data.FluxAxis.Value", "Data.FluxAxis.Accuracy.StatError")
NAMESPACES = ("Spectrum.", "spec:", "eso:")


def same_target(product: Product) -> Iterator[Breach]:
    """S01: position and target are those of both HDUs."""
    for index in product.science:
        for keyword in ("RA", "DEC"):
            first, second = product.number(keyword), product.number(keyword, index)
            if first is not None and second is not None and abs(first - second) > 1e-7:
                yield product.breach(
                    "S01", index, keyword, "target_differs", f"{keyword} is {second!r} here and {first!r} in [0].",
                    "the same within 1e-7 deg", "write the position of the target into both headers.",
                )  # fmt: skip
        one, other = product.text("OBJECT"), product.text("OBJECT", index)
        if one is not None and other is not None and one != other:
            yield product.breach(
                "S01", index, "OBJECT", "target_differs", f"OBJECT is {other!r} here and {one!r} in [0].", one,
                "write the same name into both headers.",
            )  # fmt: skip


def derived(product: Product) -> Iterator[Breach]:
    """S02: what follows from other keywords does."""
    times, waves = product.numbers("MJD-OBS", "MJD-END"), product.numbers("WAVELMIN", "WAVELMAX")
    wanted: dict[str, tuple[float, float, str]] = {}
    if times:
        wanted["TELAPSE"] = ((times[1] - times[0]) * DAY_S, 0.1, "(MJD-END - MJD-OBS) * 86400 s")
        wanted["TMID"] = ((times[0] + times[1]) / 2, 1e-4, "(MJD-OBS + MJD-END) / 2")
    if waves:
        wanted["SPEC_VAL"] = ((waves[0] + waves[1]) / 2, 1e-3, "(WAVELMIN + WAVELMAX) / 2, nm")
        wanted["SPEC_BW"] = (waves[1] - waves[0], 1e-3, "WAVELMAX - WAVELMIN, nm")
    for index in product.science:
        for keyword, (right, tolerance, words) in wanted.items():
            value = product.number(keyword, index)
            # A little more than the tolerance: the sums of decimal numbers are not exact.
            if value is not None and abs(value - right) > tolerance * (1 + 1e-6):
                yield product.breach(
                    "S02", index, keyword, "derived_wrong", f"{keyword} is {value:.10g}.",
                    f"{words} = {right:.10g}, within {tolerance:g}", f"write {keyword} = {right:.10g}.",
                )  # fmt: skip


def structure(product: Product) -> Iterator[Breach]:
    """S03: one table of one row, whose cells are arrays of one length."""
    if not product.science:
        yield product.breach(
            "S03", None, "XTENSION", "table_missing", "the file has no binary table.", "a BINTABLE with the spectrum",
            "write the spectrum as a table of one row.",
        )  # fmt: skip
        return
    index = product.science[0]
    for keyword, wanted in (("NAXIS2", 1), ("GCOUNT", 1), ("PCOUNT", 0)):
        value = product.get(keyword, index)
        if value != wanted:
            rows = ": a single row, every cell an array of NELEM points" if keyword == "NAXIS2" else ""
            yield product.breach(
                "S03", index, keyword, "table_form", f"{keyword} is {value}.", f"{wanted}{rows}",
                "write a table of one row, with arrays of fixed length.",
            )  # fmt: skip
    if product.hdu(product.primary).shape:
        yield product.breach(
            "S03", product.primary, "NAXIS", "primary_not_empty", "the primary HDU has data.", "NAXIS = 0",
            "move the data to an ancillary file.",
        )  # fmt: skip
    lengths = {i: int(match[1] or 1) for i, form in product.indexed("TFORM", index).items()
               if (match := REPEAT.match(str(form)))}  # fmt: skip
    points = product.get("NELEM", index)
    wrong = [f"TFORM{i}" for i, length in lengths.items() if length != points]
    if isinstance(points, int) and wrong and product.get("NAXIS2", index) == 1:
        yield product.breach(
            "S03", index, ", ".join(wrong[:6]), "array_length", f"arrays of other lengths than NELEM, {points}.",
            f"{points} in all columns", "write all arrays with one length, and NELEM.",
        )  # fmt: skip
    flux, error = product.text("TUNIT2", index), product.text("TUNIT3", index)
    if flux is not None and error is not None and flux != error:
        yield product.breach(
            "S03", index, "TUNIT2, TUNIT3", "units_differ", f"flux in {flux!r}, error in {error!r}.", "the same unit",
            "give the error in the unit of the flux, never in percent.",
        )  # fmt: skip


def columns(product: Product) -> Iterator[Breach]:
    """S04: wavelength (or frequency, energy), flux, error come first and in this order."""
    for index in product.science:
        name = {i: (product.text(f"TTYPE{i}", index) or "").upper() for i in range(1, product.columns(index) + 1)}
        right = {
            1: (name.get(1) in ("WAVE", "FREQ", "ENER"), "WAVE, FREQ or ENER"),
            2: (name.get(2, "").startswith("FLUX"), "a name that begins with FLUX"),
            3: (name.get(3, "").startswith("ERR"), "a name that begins with ERR"),
        }
        for i, (good, expected) in right.items():
            if not good and (i not in name or name[i]):
                yield product.breach(
                    "S04", index, f"TTYPE{i}", "column_order", f"column {i} is {name.get(i)!r}.", expected,
                    "order the columns: spectral coordinate, flux, error, then others.",
                )  # fmt: skip
        for i, each in name.items():
            if each == "SKYBACK":
                yield product.breach(
                    "S04", index, f"TTYPE{i}", "column_refused", "a column SKYBACK is refused.", "BGFLUX", "rename it."
                )
        ucd = product.text("TUCD1", index)
        if name.get(1) == "WAVE" and ucd is not None and ucd not in ("em.wl", "em.wl;obs.atmos"):
            yield product.breach(
                "S04", index, "TUCD1", "ucd_wrong", f"TUCD1 is {ucd!r}.", "em.wl (vacuum) or em.wl;obs.atmos (air)",
                "say in which medium the wavelengths are.",
            )  # fmt: skip


def utypes(product: Product) -> Iterator[Breach]:
    """S05: the first three columns' place in the data model; the others' namespace."""
    for index in product.science:
        for i, utype in product.indexed("TUTYP", index).items():
            wanted = UTYPES[i - 1] if i <= 3 else ""
            good = any(str(utype).startswith(f"{space}{wanted or 'Data.'}") for space in NAMESPACES)
            if i <= 3 and not any(utype == f"{space}{wanted}" for space in NAMESPACES):
                yield product.breach(
                    "S05", index, f"TUTYP{i}", "utype_wrong", f"TUTYP{i} is {utype!r}.",
                    " or ".join(f"{space}{wanted}" for space in NAMESPACES), "write the utype of the data model.",
                )  # fmt: skip
            elif i > 3 and utype and not good:
                # S1 lists the namespaces for all columns; the validator is known to ask the first three only.
                yield product.breach(
                    "S05", index, f"TUTYP{i}", "utype_namespace", f"TUTYP{i} is {utype!r}.",
                    "Spectrum.Data.*, spec:Data.*, eso:Data.*, or an empty string",
                    "write the utype of the data model, or none.", level="warning",
                )  # fmt: skip


def samples(product: Product) -> Iterator[Breach]:
    """S06: the spectral column itself, against what the header says of it."""
    for index in product.science:
        try:
            table = product.file.table(index)
        except RefusedError:
            continue  # check_bytes tells of it
        if table is None or not len(table) or not product.columns(index):
            continue
        if len(table) > 1 and table.field(0).ndim > 1:
            continue  # several spectra: structure() tells
        axis = np.ravel(np.asarray(table.field(0), dtype=np.float64))
        steps = np.diff(axis)
        if len(axis) < 2 or not np.isfinite(axis).all() or not (steps > 0).all():
            yield product.breach(
                "S06", index, "TTYPE1", "axis_not_increasing", "the spectral column is not strictly increasing.",
                "finite values, each larger than the one before", "sort the samples, and remove repeated ones.",
            )  # fmt: skip
            continue
        yield from _infinities(product, index, table)
        yield from _limits(product, index, axis)
        unit = unit_of(product.text("TUNIT1", index) or "")
        if unit is not None and unit.is_equivalent(u.nm, equivalencies=u.spectral()):
            nm = np.sort((axis * unit).to_value(u.nm, equivalencies=u.spectral()))
            yield from _range(product, nm)


def _infinities(product: Product, index: int, table: object) -> Iterator[Breach]:
    names = []
    for i in range(1, product.columns(index)):
        values = np.asarray(table.field(i))  # type: ignore[attr-defined]
        if values.dtype.kind == "f" and np.isinf(values).any():
            names.append(f"TTYPE{i + 1}")
    if names:
        yield product.breach(
            "S06", index, ", ".join(names), "infinite", "infinite values.", "finite values, or NaN for none",
            "replace them by NaN.",
        )  # fmt: skip


def _limits(product: Product, index: int, axis: NDArray[np.float64]) -> Iterator[Breach]:
    for keyword, right in (("TDMIN1", axis[0]), ("TDMAX1", axis[-1])):
        value = product.number(keyword, index)
        # A column of 4-byte numbers knows seven digits, its header more.
        if value is not None and abs(value - right) > 1e-6 * abs(right):
            yield product.breach(
                "S06", index, keyword, "limit_wrong", f"{keyword} is {value:.10g}.", f"{right:.10g}, of the data",
                f"write {keyword} = {right:.10g}.",
            )  # fmt: skip


def _range(product: Product, nm: NDArray[np.float64]) -> Iterator[Breach]:
    at, steps = product.primary, np.diff(nm)
    low, high = product.number("WAVELMIN"), product.number("WAVELMAX")
    slack = 1e-6 * float(nm[-1])  # a column of 4-byte numbers
    if low is not None and low < nm[0] - steps[0] / 2 - slack:
        yield product.breach(
            "S06", at, "WAVELMIN", "outside_samples", f"WAVELMIN is {low:.8g} nm, the samples begin at {nm[0]:.8g} nm.",
            f">= {nm[0]:.8g} nm, less half a bin", "correct it.",
        )  # fmt: skip
    if high is not None and high > nm[-1] + steps[-1] / 2 + slack:
        yield product.breach(
            "S06", at, "WAVELMAX", "outside_samples", f"WAVELMAX is {high:.8g} nm, the samples end at {nm[-1]:.8g} nm.",
            f"<= {nm[-1]:.8g} nm, and half a bin", "correct it.",
        )  # fmt: skip
    bin_nm, median = product.number("SPEC_BIN"), float(np.median(steps))
    if bin_nm is not None and not 0.5 * median <= bin_nm <= 1.5 * median:
        yield product.breach(
            "S06", at, "SPEC_BIN", "bin_wrong", f"SPEC_BIN is {bin_nm:.6g} nm, the median step {median:.6g} nm.",
            f"{0.5 * median:.6g} to {1.5 * median:.6g} nm", "give the mean bin in nm.",
        )  # fmt: skip


def flux_scale(product: Product) -> Iterator[Breach]:
    """S07: a total flux is calibrated; an error of the scale goes with a scale. VOPUB, APERTURE: values.py."""
    at, state = product.primary, product.text("FLUXCAL")
    if product.get("TOT_FLUX") is True and state == "UNCALIBRATED":
        yield product.breach(
            "S07", at, "TOT_FLUX, FLUXCAL", "flux_contradictory", "TOT_FLUX is T, and FLUXCAL is UNCALIBRATED.",
            "FLUXCAL = ABSOLUTE, or TOT_FLUX = F", "correct the one that is wrong.",
        )  # fmt: skip
    error = product.number("FLUXERR")
    if error is None or not (0 <= error <= 100 or error in (-1, -2)):
        return
    if (state == "ABSOLUTE" and error == -1) or (state == "UNCALIBRATED" and error != -1):
        yield product.breach(
            "S07", at, "FLUXERR, FLUXCAL", "flux_contradictory", f"FLUXERR is {error:g}, and FLUXCAL is {state}.",
            "0 to 100 % or -2 if ABSOLUTE; -1 if UNCALIBRATED", "correct the one that is wrong.",
        )  # fmt: skip
