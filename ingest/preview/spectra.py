"""The samples of a file's spectrum, as they are drawn: in the file's own units, labelled.

Where wavelengths stand is known to ingest.describe's readers of spectra; here they are read with their fluxes.
"""

from typing import Any

import astropy.units as u
import numpy as np
from numpy.typing import NDArray

from ingest.catalogues.kinds import table_kind
from ingest.describe import spectral_images, spectral_tables
from ingest.describe.header import FitsFile, Hdu
from ingest.describe.units import parse_unit
from ingest.describe.wcs import WcsError, read_wcs
from ingest.preview.images import values_of
from ingest.preview.plot import Trace

QUANTITIES = (
    (u.m, "Wavelength"),
    (u.Hz, "Frequency"),
    (u.J, "Energy"),
    (u.m / u.s, "Velocity"),
    (1 / u.m, "Wave number"),
)
LONGEST = 20_000_000  # samples; a table of more is no spectrum that one looks at


def is_spectrum(file: FitsFile) -> bool:
    """Spectra in tables, or in images of one long axis."""
    tabular = table_kind([hdu.header for hdu in file.hdus]) == "spectrum" or spectral_tables.is_desi(file)
    return tabular or bool(spectral_images.spectral_hdus(file))


def spectrum(file: FitsFile) -> Trace | None:
    """The file's spectrum, of several the first; None if no column or axis can be drawn."""
    if spectral_tables.is_desi(file):
        found = _desi(file)
    elif table_kind([hdu.header for hdu in file.hdus]) == "spectrum":
        found = _table(file)
    else:
        found = _image(file, spectral_images.spectral_hdus(file)[0])
    return found if found is not None and found.is_drawable else None


def title(file: FitsFile) -> str:
    """What the header says it is of."""
    keywords = file.keywords(*range(min(len(file.hdus), 3)))
    told = (keywords.text("OBJECT", "TARGNAME", "TARGETID"), keywords.text("TELESCOP"), keywords.text("INSTRUME"))
    return ", ".join(dict.fromkeys(entry[0].strip() for entry in told if entry and entry[0].strip()))


def axis_label(unit: u.UnitBase | None, otherwise: str = "Sample") -> str:
    """What an axis in this unit counts, and the unit."""
    if unit is None or unit == u.one:
        return otherwise
    name = next((name for quantity, name in QUANTITIES if unit.is_equivalent(quantity)), otherwise)
    return f"{name} ({unit.to_string('unicode', fraction=False)})"


def flux_label(text: str | None, name: str = "Flux") -> str:
    """Flux and its unit; a unit that cannot be read is shown as it is written."""
    unit = parse_unit(text)
    if unit is None:
        return f"{name} ({text})" if text else name
    return name if unit == u.one else f"{name} ({unit.to_string('unicode', fraction=False)})"


def _image(file: FitsFile, hdu: Hdu) -> Trace:
    rows = values_of(file, hdu).reshape(-1, hdu.shape[-1])
    echelle = len(rows) > spectral_images.FEW_ROWS or "MULTISPE" in str(hdu.header.get("CTYPE1", "")).upper()
    unit = str(hdu.header.get("BUNIT", "")).strip() or None
    if echelle:
        middle = len(rows) // 2
        samples = np.arange(1.0, rows.shape[1] + 1)
        return Trace(
            samples, rows[middle], f"Sample of order {middle + 1} of {len(rows)}", flux_label(unit), title(file)
        )
    values, axis_unit = spectral_images.axis_values(file, hdu)
    return Trace(values, rows[0], axis_label(axis_unit), flux_label(unit), title(file))


def _table(file: FitsFile) -> Trace | None:
    tables = [hdu for hdu in file.hdus if hdu.kind == "table" and hdu.shape and 0 < hdu.shape[0] <= LONGEST]
    for hdu in tables:
        if hdu.name == "SINGLE DISH" and "DATA" in hdu.columns:
            return _single_dish(file, hdu)
        names = {name.upper(): name for name in hdu.columns}
        counts = next((names[name] for name in ("COUNTS", "RATE") if name in names), None)
        if "CHANNEL" in names and counts:
            rows = file.table(hdu.index)
            return Trace(
                _flat(rows[names["CHANNEL"]]), _flat(rows[counts]), "Channel", counts.capitalize(), title(file)
            )
    for hdu in tables:
        axes = spectral_tables.wavelength_columns(hdu)
        flux = _flux(hdu, axes)
        if axes and flux:
            return _columns(file, hdu, axes[0], flux)
    return None


def _flux(hdu: Hdu, axes: list[str]) -> str | None:
    """The column to draw: of fluxes by name, else the first of numbers that is neither an axis nor an error."""
    named = spectral_tables.flux_column(hdu)
    if named or not axes:
        return named
    like = [name for name in hdu.columns if name.upper() in ("SPEC", "SPECTRUM", "NET", "COUNTS", "DATA", "INTENSITY")]
    numbers = [
        name
        for number, name in enumerate(hdu.columns, 1)
        if str(hdu.header.get(f"TFORM{number}", "")).strip()[-1:] in ("E", "D")
        and not name.upper().startswith(("ERR", "SIG", "IVAR", "VAR", "WAVE", "LAM", "FREQ", "VEL", "VHEL", "LOGLAM"))
        and name not in axes
    ]
    return next(iter(like + numbers), None)


def _columns(file: FitsFile, hdu: Hdu, axis: str, flux: str) -> Trace | None:
    rows = file.table(hdu.index)
    x, y = np.asarray(rows[axis], np.float64), np.asarray(rows[flux], np.float64)
    if x.shape != y.shape:
        if y.ndim != 2 or x.size != y.shape[-1]:
            return None
        x, y = x.ravel(), y[0]  # one axis for the spectra of all rows
    x, y = _flat(x), _flat(y)
    unit = parse_unit(_unit_text(hdu, axis))
    if axis.upper() == "LOGLAM":
        x, unit = 10.0**x, u.Angstrom
    elif unit is not None and not unit.is_equivalent(u.m, u.spectral()):
        unit = None
    label = axis_label(unit, f"{axis} (no unit given)")
    return Trace(x, y, label, flux_label(_unit_text(hdu, flux)), title(file))


def _unit_text(hdu: Hdu, name: str) -> str | None:
    return spectral_tables.unit_text(hdu.header.get(f"TUNIT{hdu.columns.index(name) + 1}"))


def _flat(values: Any) -> NDArray[np.float64]:
    """A column as one line; rows that are vectors follow each other with a break between."""
    array = np.asarray(values, np.float64)
    if array.ndim == 2 and len(array) > 1:
        array = np.pad(array, ((0, 0), (0, 1)), constant_values=np.nan)
    return array.ravel()


def _single_dish(file: FitsFile, hdu: Hdu) -> Trace | None:
    rows = file.table(hdu.index)
    frequencies = spectral_tables.row_frequencies(rows, 0)
    values = np.ravel(np.asarray(rows["DATA"][0], np.float64))
    if frequencies is None:
        return None
    return Trace(frequencies / 1e9, values, "Frequency (GHz)", flux_label(_unit_text(hdu, "DATA")), title(file))


def _desi(file: FitsFile) -> Trace | None:
    """The first fibre that saw light, all cameras."""
    cameras = [hdu.name.removesuffix("_WAVELENGTH") for hdu in file.hdus if hdu.name.endswith("_WAVELENGTH")]
    named = {hdu.name: hdu for hdu in file.hdus}
    pairs = [(named[f"{each}_WAVELENGTH"], named[f"{each}_FLUX"]) for each in cameras if f"{each}_FLUX" in named]
    if not pairs:
        return None
    waves, fluxes = ([values_of(file, hdu) for hdu in hdus] for hdus in zip(*pairs, strict=True))
    lit = np.any([np.nan_to_num(each).any(axis=1) for each in fluxes], axis=0)
    fibre = int(np.argmax(lit))
    x = np.concatenate([np.append(each.ravel(), np.nan) for each in waves])
    y = np.concatenate([np.append(each[fibre], np.nan) for each in fluxes])
    unit = spectral_tables.unit_text(pairs[0][1].header.get("BUNIT"))
    about = ", ".join(part for part in (title(file), f"fibre {fibre + 1} of {len(lit)}") if part)
    return Trace(x, y, axis_label(u.Angstrom), flux_label(unit), about)


def mean_spectrum(file: FitsFile, hdu: Hdu, means: NDArray[np.float64], axis: int) -> Trace:
    """A cube's mean over its pixels against its axis number `axis` (numpy's order), by its WCS where it has one."""
    x, label = np.arange(1.0, len(means) + 1), "Channel"
    number = len(hdu.shape) - 1 - axis
    try:
        wcs = read_wcs(file, hdu)
        grid = np.tile(wcs.wcs.crpix - 1.0, (len(means), 1))
        grid[:, number] = np.arange(len(means))
        values = np.asarray(wcs.wcs_pix2world(grid, 0)[:, number], np.float64)
        unit = u.Unit(wcs.wcs.cunit[number])
    except (WcsError, ValueError, IndexError, TypeError, MemoryError):
        values, unit = x, u.one
    if unit != u.one and np.isfinite(values).all():
        shown = _readable(unit, values)
        x, label = (values * unit).to_value(shown), axis_label(shown, "Channel")
    flux = flux_label(str(hdu.header.get("BUNIT", "")).strip() or None, "Mean")
    return Trace(x, means, label, flux, title(file))


def _readable(unit: u.UnitBase, values: NDArray[np.float64]) -> u.UnitBase:
    """A unit in which the numbers are short: WCSLIB turns all into metres and hertz."""
    top = float(np.abs(values).max()) * unit
    for base, choices in ((u.Hz, (u.GHz, u.MHz, u.kHz)), (u.m, (u.m, u.mm, u.um, u.nm)), (u.m / u.s, (u.km / u.s,))):
        if unit.is_equivalent(base):
            return next((each for each in choices if top.to_value(each) >= 1), choices[-1])
    return unit
