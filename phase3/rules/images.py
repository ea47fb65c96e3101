"""Images, flux maps and cubes: I01 to I03, X01, C01."""

from collections.abc import Iterator

from phase3.rules.breach import Breach
from phase3.rules.product import PROVENANCE, Product

ERRORS = ("MSE", "RMSE", "INVMSE", "INVRMSE")
QUALITIES = ("MASKZERO", "MASKONE", "FLAG32BIT", "FLAG16BIT")
# HDUCLAS2 of an HDU: the keyword by which the science HDU points to it, and its HDUCLAS3 (SDP 8 §5.10).
ROLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "ERROR": ("ERRDATA", ERRORS),
    "QUALITY": ("QUALDATA", QUALITIES),
    "CONF": ("CONFDATA", ()),
    "BKG_DATA": ("BKGDATA", ()),
    "BKG_ERROR": ("BKGERR", ERRORS),
    "BKG_CONF": ("BKGCONF", ()),
}
IN_CUBES = ("DATA", "ERROR", "QUALITY")
# What the instruments can do, generously, in nm; the validator's own limits are not public, hence warnings.
RANGES = {"MUSE": ((450.0, 950.0), (1_000.0, 5_000.0)), "KMOS": ((750.0, 2_550.0), (1_000.0, 6_000.0))}
LABOCA: dict[str, str | float] = {"FILTER": "870u", "WAVELMIN": 7.994e5, "WAVELMAX": 9.517e5}


def photometry(product: Product) -> Iterator[Breach]:
    """I01: images are flux calibrated; they saturate brighter than they end; they have an image quality."""
    if product.text("FLUXCAL") == "UNCALIBRATED":
        yield product.breach(
            "I01", product.primary, "FLUXCAL", "not_calibrated", "the image is not flux calibrated.", "ABSOLUTE",
            "calibrate it and give PHOTZP; images without are not accepted.",
        )  # fmt: skip
    widths = {index: product.number("PSF_FWHM", index) for index in product.science}
    unknown = [index for index, width in widths.items() if width == -1]
    for index in product.science:
        both = product.numbers("ABMAGSAT", "ABMAGLIM", hdu=index)
        if both and both[0] >= both[1]:
            yield product.breach(
                "I01", index, "ABMAGLIM, ABMAGSAT", "magnitudes_reversed",
                f"ABMAGLIM {both[1]:g} is not fainter than ABMAGSAT {both[0]:g}.", "ABMAGLIM > ABMAGSAT",
                "give both in AB magnitudes.",
            )  # fmt: skip
        width = widths[index]
        mosaic = product.prodcatg == "SCIENCE.MEFIMAGE" and width == -1 and len(unknown) < len(product.science)
        if width is not None and width <= 0 and not mosaic:
            yield product.breach(
                "I01", index, "PSF_FWHM", "fwhm_absent", f"PSF_FWHM is {width:g}.",
                "> 0 arcsec; in a mosaic -1 for single chips, not for all", "measure it.",
            )  # fmt: skip


def survey_cameras(product: Product) -> Iterator[Breach]:
    """I02: VIRCAM and OmegaCAM. Whether a stack is deep no keyword tells: what only shallow ones need is a warning."""
    if not product.is_of("VIRCAM", "OMEGACAM"):
        return
    if not product.has("ASSON1"):
        yield product.breach(
            "I02", product.primary, "ASSON1", "association_missing", "no file is associated.",
            "the weight map in ASSON1",
            "deliver the ANCILLARY.WEIGHTMAP and name it.",
        )  # fmt: skip
    wanted = ("DIT", "NDIT", "NJITTER", "NOFFSETS", "NUSTEP") if product.is_of("VIRCAM") else ("DIT",)
    missing = ", ".join(keyword for keyword in wanted if not product.has(keyword))
    if missing:
        yield product.breach(
            "I02", product.primary, missing, "keyword_missing", f"{missing} missing; deep stacks alone may lack them.",
            "the value all contributing exposures share", "write them, unless this is a deep stack.", level="warning",
        )  # fmt: skip


def roles(product: Product) -> Iterator[Breach]:
    """I03: every image extension says its role, and science and its errors and qualities point to each other."""
    data = {product.hdu(i).name: i for i in product.images if product.text("HDUCLAS2", i) == "DATA"}
    if not data and any(product.has("HDUCLAS2", index) for index in product.images):
        yield product.breach(
            "I03", None, "HDUCLAS2", "data_hdu_missing", "no image extension has HDUCLAS2 = DATA.", "one with DATA",
            "write HDUCLAS2 = 'DATA' into the extension with the science data.",
        )  # fmt: skip
    for index in product.images:
        role = product.text("HDUCLAS2", index)
        if role is not None and role != "DATA" and role not in ROLES:
            yield product.breach(
                "I03", index, "HDUCLAS2", "role_unknown", f"HDUCLAS2 is {role!r}.", f"DATA or {', '.join(ROLES)}",
                "write what the extension holds.",
            )  # fmt: skip
        if role in ROLES:
            yield from _role(product, index, role, data)
    yield from _geometry(product)


def _role(product: Product, index: int, role: str, data: dict[str, int]) -> Iterator[Breach]:
    pointer, kinds = ROLES[role]
    kind = product.text("HDUCLAS3", index)
    if kinds and kind not in kinds:
        yield product.breach(
            "I03", index, "HDUCLAS3", "kind_unknown", f"HDUCLAS3 is {kind!r}.", " or ".join(kinds),
            f"say which kind of {role.lower()} it is.",
        )  # fmt: skip
    science = (product.text("SCIDATA", index) or "").upper()
    if science not in data:
        if not science or science in {hdu.name for hdu in product.file.hdus}:  # the value rule tells of unknown names
            yield product.breach(
                "I03", index, "SCIDATA", "pointer_missing", f"SCIDATA is {science!r}, which is no science HDU.",
                "the EXTNAME of the HDU with HDUCLAS2 = DATA", "write SCIDATA.",
            )  # fmt: skip
        return
    back = (product.text(pointer, data[science]) or "").upper()
    if back != product.hdu(index).name and (not back or back in {hdu.name for hdu in product.file.hdus}):
        yield product.breach(
            "I03", data[science], pointer, "pointer_missing",
            f"{pointer} is {back!r}, and {product.hdu(index).name} says that it belongs to this HDU.",
            product.hdu(index).name, f"write {pointer} = '{product.hdu(index).name}'.",
        )  # fmt: skip


def _geometry(product: Product) -> Iterator[Breach]:
    """Extensions that belong to the science data are as large as it (structure of the category)."""
    if not product.science:
        return
    shape = product.hdu(product.science[0]).shape
    for index in product.images:
        role = product.text("HDUCLAS2", index) or ""
        if index in product.science or role.startswith("BKG") or product.hdu(index).shape == shape:
            continue
        yield product.breach(
            "I03", index, "NAXISi", "size_differs",
            f"axes {product.hdu(index).shape[::-1]}, the science data {shape[::-1]}.", "equal axes",
            "write it on the pixels of the science data.",
        )  # fmt: skip


def flux_map(product: Product) -> Iterator[Breach]:
    """X01: sub-millimetre flux maps."""
    at = product.primary
    if product.text("FLUXCAL") == "UNCALIBRATED":
        yield product.breach(
            "X01", at, "FLUXCAL", "not_calibrated", "the map is not flux calibrated.", "ABSOLUTE", "calibrate it."
        )
    if product.is_apex and product.text("TELESCOP") not in (None, "APEX-12m"):
        yield product.breach(
            "X01", at, "TELESCOP", "telescope_name", f"TELESCOP is {product.get('TELESCOP')!r}.", "APEX-12m",
            "write APEX-12m.",
        )  # fmt: skip
    if product.text("FEBE1") != "LABOCA-ABBA":
        return
    for keyword, wanted in LABOCA.items():
        value = product.get(keyword)
        if isinstance(wanted, str):
            same = value == wanted
        else:
            same = isinstance(value, int | float) and abs(value - wanted) <= 1e-3 * wanted
        if value is not None and not same:
            yield product.breach(
                "X01", at, keyword, "laboca", f"{keyword} is {value!r}, and the map is LABOCA's.", str(wanted),
                f"write {keyword} = {wanted}.",
            )  # fmt: skip


def cube(product: Product) -> Iterator[Breach]:
    """C01: cubes have three axes, no filter, and lie in the range of their instrument."""
    for index in product.images:
        shape, role = product.hdu(index).shape, product.text("HDUCLAS2", index)
        if len(shape) != 3:
            yield product.breach(
                "C01", index, "NAXIS", "axes", f"NAXIS is {len(shape)}.", "3: two of the sky, one of the spectrum",
                "deliver other images as ancillary files.",
            )  # fmt: skip
        if role in ("CONF", "BKG_DATA", "BKG_ERROR", "BKG_CONF"):
            yield product.breach(
                "C01", index, "HDUCLAS2", "role_refused", f"a cube has no {role} extension.", ", ".join(IN_CUBES),
                "deliver it as an ancillary file.",
            )  # fmt: skip
    for index in product.extensions:
        if product.hdu(index).kind != "image" and product.hdu(index).name != PROVENANCE:
            yield product.breach(
                "C01", index, "XTENSION", "extension_refused", "the extension is no image.",
                f"images, and {PROVENANCE} if there is need", "deliver it as an ancillary file.",
            )  # fmt: skip
    if product.has("FILTER"):
        yield product.breach(
            "C01", product.primary, "FILTER", "keyword_forbidden", "a cube has no filter.", "absent", "remove it."
        )
    yield from _instrument_range(product)


def _instrument_range(product: Product) -> Iterator[Breach]:
    limits = RANGES.get((product.text("INSTRUME") or "").upper())
    if limits is None:
        return
    for keyword, (low, high) in (("WAVELMIN", limits[0]), ("WAVELMAX", limits[0]), ("SPEC_RES", limits[1])):
        value = product.number(keyword)
        if value is not None and not low <= value <= high:
            yield product.breach(
                "C01", product.primary, keyword, "beyond_instrument",
                f"{keyword} is {value:g}, which {product.get('INSTRUME')} does not reach.", f"{low:g} to {high:g}",
                "give wavelengths in nm; correct the value.", level="warning",
            )  # fmt: skip
