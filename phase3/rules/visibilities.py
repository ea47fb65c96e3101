"""Interferometry: V01, the structure of OIFITS and what the header says of it (SDP 8 §5.8; OIFITS 1: Pauls et al. 2005,
OIFITS 2: Duvert et al. 2017)."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ingest.describe.facts import RefusedError
from phase3.rules.breach import Breach
from phase3.rules.product import Product

TABLES: dict[str, tuple[str, ...]] = {
    "OI_TARGET": ("TARGET_ID", "TARGET", "RAEP0", "DECEP0", "EQUINOX"),
    "OI_ARRAY": ("TEL_NAME", "STA_NAME", "STA_INDEX", "DIAMETER", "STAXYZ"),
    "OI_WAVELENGTH": ("EFF_WAVE", "EFF_BAND"),
    "OI_VIS2": ("TARGET_ID", "MJD", "INT_TIME", "VIS2DATA", "VIS2ERR", "UCOORD", "VCOORD", "STA_INDEX", "FLAG"),
    "OI_T3": ("TARGET_ID", "MJD", "INT_TIME", "T3AMP", "T3AMPERR", "T3PHI", "T3PHIERR", "U1COORD", "V1COORD", "U2COORD",
              "V2COORD", "STA_INDEX", "FLAG"),
    "OI_VIS": ("TARGET_ID", "MJD", "INT_TIME", "VISAMP", "VISAMPERR", "VISPHI", "VISPHIERR", "UCOORD", "VCOORD",
               "STA_INDEX", "FLAG"),
    "OI_FLUX": ("TARGET_ID", "MJD", "INT_TIME", "STA_INDEX", "FLAG"),
}  # fmt: skip
ALWAYS = ("OI_TARGET", "OI_ARRAY", "OI_WAVELENGTH", "OI_VIS2", "OI_T3")
FLAVOURS = {"PIONIER": "OIFITS1", "GRAVITY": "OIFITS2"}
MEASURED = ("OI_VIS2", "OI_T3", "OI_VIS", "OI_FLUX")


def visibility(product: Product) -> Iterator[Breach]:
    """V01: tables, wavelengths, integration time, and what single instruments owe."""
    yield from _tables(product)
    flavour = FLAVOURS.get((product.text("INSTRUME") or "").upper())
    content = product.text("CONTENT")
    if flavour and content in FLAVOURS.values() and content != flavour:
        yield product.breach(
            "V01", product.primary, "CONTENT", "content_wrong", f"CONTENT is {content!r}.", flavour, f"write {flavour}."
        )
    try:
        yield from _wavelengths(product)
        yield from _integration(product)
    except RefusedError:
        return  # check_bytes tells of tables that cannot be read
    kinds = product.indexed("ASSOC")
    if product.is_of("PIONIER") and all(i in kinds for i in product.indexed("ASSON")):
        previews = [kind for kind in kinds.values() if kind == "ANCILLARY.PREVIEW"]
        if len(previews) < 2:
            yield product.breach(
                "V01", product.primary, "ASSOCi", "previews_missing",
                f"{len(previews)} files are associated as ANCILLARY.PREVIEW.", "two, of the transfer function",
                "associate the plots of squared visibility and closure phase.",
            )  # fmt: skip
    if product.is_of("GRAVITY"):
        yield from _gravity(product)


def _tables(product: Product) -> Iterator[Breach]:
    names = {product.hdu(index).name for index in product.tables}
    wanted = (*ALWAYS, "OI_VIS", "OI_FLUX") if product.is_of("GRAVITY") else ALWAYS
    missing = [name for name in wanted if name not in names]
    if missing:
        yield product.breach(
            "V01", None, "EXTNAME", "table_missing", f"no table {', '.join(missing)}.", ", ".join(wanted),
            "write all tables of the OIFITS standard.",
        )  # fmt: skip
    for index in product.tables:
        hdu = product.hdu(index)
        columns = {name.upper() for name in hdu.columns}
        absent = [name for name in TABLES.get(hdu.name, ()) if name not in columns]
        if absent:
            yield product.breach(
                "V01", index, "TTYPEi", "column_missing", f"{hdu.name} has no column {', '.join(absent)}.",
                "the columns of the OIFITS standard", "add them.",
            )  # fmt: skip
        if hdu.name in TABLES and not product.has("OI_REVN", index):
            yield product.breach(
                "V01", index, "OI_REVN", "keyword_missing", "OI_REVN is missing.", "the revision of the table's form",
                "write OI_REVN (1 for OIFITS 1, 2 for OIFITS 2; OI_FLUX: 1).",
            )  # fmt: skip


def _column(product: Product, name: str, *tables: str) -> list[NDArray[np.float64]]:
    found: list[NDArray[np.float64]] = []
    for index in product.tables:
        hdu = product.hdu(index)
        if hdu.name in tables and name in [column.upper() for column in hdu.columns]:
            found.append(np.ravel(np.asarray(product.file.table(index).field(name), dtype=np.float64)))
    return found


def _wavelengths(product: Product) -> Iterator[Breach]:
    """WAVELMIN and WAVELMAX are centre or edge of the first and last channel of any spectrometer table."""
    centres = _column(product, "EFF_WAVE", "OI_WAVELENGTH")
    bands = _column(product, "EFF_BAND", "OI_WAVELENGTH")
    if not centres or len(centres) != len(bands):
        return
    centre, half = np.concatenate(centres) * 1e9, np.abs(np.concatenate(bands)) * 1e9 / 2
    if not len(centre):
        return
    slack = 1e-6 * float(np.nanmax(centre)) + 1e-3  # 4-byte numbers
    for keyword, sign in (("WAVELMIN", -1), ("WAVELMAX", +1)):
        value = product.number(keyword)
        last = int(np.argmax(sign * centre))
        inner, outer = float(centre[last]), float(centre[last] + sign * half[last])
        if value is not None and not min(inner, outer) - slack <= value <= max(inner, outer) + slack:
            yield product.breach(
                "V01", product.primary, keyword, "wavelength_wrong", f"{keyword} is {value:.8g} nm.",
                f"{min(inner, outer):.8g} to {max(inner, outer):.8g} nm, of EFF_WAVE and EFF_BAND",
                "take it from OI_WAVELENGTH, in nm.",
            )  # fmt: skip


def _integration(product: Product, tolerance: float = 0.01) -> Iterator[Breach]:
    """tolerance: relative; the mean is over all rows, and instruments round."""
    value, columns = product.number("EXPTIME"), _column(product, "INT_TIME", *MEASURED)
    if value is None or not columns:
        return
    mean = float(np.nanmean(np.concatenate(columns)))
    if np.isfinite(mean) and abs(value - mean) > tolerance * max(abs(mean), 1.0):
        yield product.breach(
            "V01", product.primary, "EXPTIME", "exposure_wrong", f"EXPTIME is {value:g} s.",
            f"{mean:g} s, the mean of INT_TIME", "take it from the tables.",
        )  # fmt: skip


def _gravity(product: Product) -> Iterator[Breach]:
    error, systematic = product.number("SPEC_ERR"), product.number("SPEC_SYE")
    if error is not None and error not in (0.28, 2.2, 50):
        yield product.breach(
            "V01", product.primary, "SPEC_ERR", "spec_err", f"SPEC_ERR is {error:g} nm.", "0.28, 2.2 or 50 nm",
            "write that of the spectral resolution (high, medium, low).",
        )  # fmt: skip
    if systematic is not None and systematic != 0.1:
        yield product.breach(
            "V01", product.primary, "SPEC_SYE", "spec_sye", f"SPEC_SYE is {systematic:g} nm.", "0.1 nm", "write 0.1."
        )
