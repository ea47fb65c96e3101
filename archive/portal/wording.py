"""How the portal writes numbers, times and commands for people. Pure."""

import math
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from archive.portal.search import date_of, literal

HC_EV_M = 1.239841984e-6  # Planck's constant times the speed of light (SI 2019)
_X_RAYS_M = 1e-8
_ENERGIES = ((1e6, 1e3, "keV"), (1e9, 1e6, "MeV"), (1e12, 1e9, "GeV"))
_LENGTHS = ((1e-6, 1e-9, "nm"), (1e-3, 1e-6, "µm"), (1e-2, 1e-3, "mm"), (1.0, 1e-2, "cm"))
_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")
_TYPES = {
    "image": ("Image", "images"), "cube": ("Cube", "cubes"), "spectrum": ("Spectrum", "spectra"),
    "sed": ("Spectral energy distribution", "spectral energy distributions"),
    "timeseries": ("Time series", "time series"),
    "visibility": ("Visibilities", "sets of visibilities"), "event": ("Event list", "event lists"),
    "measurements": ("Catalogue", "catalogues"),
}  # fmt: skip


def size(size_bytes: float | None) -> str:
    """Bytes with three digits and a unit."""
    if size_bytes is None:
        return ""
    amount = float(size_bytes)
    for unit in _SIZES:
        if amount < 999.5 or unit == _SIZES[-1]:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    raise AssertionError("the last unit takes all")


def moment(t_mjd: float | None, *, to_the_minute: bool = False) -> str:
    """An MJD (UTC) as a date, or with its time of day."""
    when = date_of(t_mjd)
    return "" if when is None else when.strftime("%Y-%m-%d %H:%M" if to_the_minute else "%Y-%m-%d")


def instant(time: datetime) -> str:
    """A moment to the second, UTC."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def day(text: str | datetime | None) -> str:
    """The date of a timestamp."""
    return str(text)[:10] if text else ""


def wavelengths(em_min: float | None, em_max: float | None) -> str:
    """A span of wavelengths, metres in vacuum, in the unit that suits its longer end; X-rays and beyond as energies."""
    if em_min is None or em_max is None:
        return ""
    if em_max < _X_RAYS_M:
        return _energies(HC_EV_M / em_max, HC_EV_M / em_min if em_min > 0 else math.inf)
    scale, unit = next(((scale, unit) for limit, scale, unit in _LENGTHS if em_max < limit), (1.0, "m"))
    return _span(em_min / scale, em_max / scale, unit)


def _energies(low_ev: float, high_ev: float) -> str:
    scale, unit = next(((scale, unit) for limit, scale, unit in _ENERGIES if low_ev < limit), (1e12, "TeV"))
    return _span(low_ev / scale, high_ev / scale, unit)


def _span(low: float, high: float, unit: str) -> str:
    texts = f"{low:.4g}", f"{high:.4g}"
    return f"{texts[0]} {unit}" if texts[0] == texts[1] else f"{texts[0]} – {texts[1]} {unit}"


def seconds(value: float | None) -> str:
    """A time, in the unit that suits it."""
    if value is None:
        return ""
    for limit, scale, unit in ((180.0, 1.0, "s"), (10_800.0, 60.0, "min")):
        if value < limit:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 3600:.3g} h"


def angle(degrees: float | None) -> str:
    """An angle in degrees, in the unit that suits it."""
    if degrees is None:
        return ""
    for limit, scale, unit in ((1 / 60, 3600.0, "″"), (1.0, 60.0, "′")):
        if degrees < limit:
            return f"{degrees * scale:.3g}{unit}"
    return f"{degrees:.4g}°"


def sexagesimal(ra: float | None, dec: float | None) -> str:
    """ICRS degrees as hours, minutes, seconds and degrees, arcminutes, arcseconds; to 0.01 s and 0.1 arcsec."""
    if ra is None or dec is None:
        return ""
    hundredths = round(ra / 15 * 360_000) % (24 * 360_000)
    tenths = round(abs(dec) * 36_000)
    hours, rest = divmod(hundredths, 360_000)
    minutes, rest = divmod(rest, 6_000)
    degrees, left = divmod(tenths, 36_000)
    arcmin, left = divmod(left, 600)
    sign = "−" if dec < 0 else "+"
    return f"{hours:02}ʰ {minutes:02}ᵐ {rest / 100:05.2f}ˢ  {sign}{degrees:02}° {arcmin:02}′ {left / 10:04.1f}″"


def kind(dataproduct_type: str | None) -> str:
    """A dataproduct_type as people say it."""
    word = dataproduct_type or ""
    return _TYPES[word][0] if word in _TYPES else word or "Other"


def counted(dataproduct_type: str | None, count: int) -> str:
    """So many data sets of a dataproduct_type."""
    one, more = _TYPES.get(dataproduct_type or "", ("other", "others"))
    return f"{count:,} {one.lower() if count == 1 else more}"


def title(row: Mapping[str, Any]) -> str:
    """What a data set is called: its title, else its target, else its name."""
    return str(row.get("obs_title") or row.get("target_name") or row["dp_id"])


def snippets(adql: str, url: str) -> dict[str, str]:
    """A query as other programs ask it. url: of the archive."""
    quoted = shlex.quote(f"QUERY={adql}")
    python = repr(adql) if '"' in adql or "\\" in adql else f'"""{adql}"""'
    return {
        "ADQL": adql,
        "pyvo": f'import pyvo\n\ntap = pyvo.dal.TAPService("{url}/tap")\nfound = tap.search({python})',
        "curl": f"curl {url}/tap/sync -d LANG=ADQL -d FORMAT=csv --data-urlencode {quoted}",
    }


def dataset_snippets(did: str, dp_id: str, file_url: str, url: str) -> dict[str, str]:
    """A data set as other programs fetch it."""
    return {
        "curl": f"curl -OJ {shlex.quote(file_url)}",
        "pyvo": (
            "import pyvo\n\n"
            f'url = "{url}/datalink/links?ID={quote(did, safe=":/?")}"\n'
            "links = pyvo.dal.adhoc.DatalinkResults.from_result_url(url)\n"
            'this = next(links.bysemantics("#this", include_narrower=False))\n'
            "data = this.getdataset().read()"
        ),
        "ADQL": f"SELECT * FROM ivoa.obscore WHERE dp_id = {literal(dp_id)}",
    }
