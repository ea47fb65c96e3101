"""Which HDUs of a file are its science: not its weights, masks, errors, distortion tables or exposure maps."""

import re

from ingest.describe.header import FitsFile, Hdu

COMPANION = re.compile(
    r"^(WHT|WGT|WEIGHT|CTX|CON|STAT|VAR(IANCE)?|ERR(OR|S)?|SIGMA|STDDEV|UNCERT(AINTY)?|NOISE|RMS|I(N)?VAR|DQ|DATA_?QUALITY|"
    r"QUALITY|Q(UAL)?F|MASK|BPM|BADPIX\w*|FLAGS?|EXP(OSURE|MAP|OSURE_?MAP)?|FIELDMAP|COVERAGE|NHITS?|D2IMARR|WCSDVARR|"
    r"SAMP|TIME|BKG|BACKGROUND|SKY|PSF|WCSCORR|CONFIDENCE|CONF)([_\d]\w*)?$"
)
COMPANION_CLASSES = frozenset({"ERROR", "QUALITY", "WEIGHT", "MASK"})


def pixel_axes(hdu: Hdu) -> int:
    """Axes with more than one pixel."""
    return sum(axis > 1 for axis in hdu.shape)


def is_companion(hdu: Hdu) -> bool:
    """True for weights, masks, errors and tables of distortion, by EXTNAME or HDUCLASn (OGIP, ESO)."""
    classes = {str(hdu.header.get(key, "")).strip().upper() for key in ("HDUCLAS2", "HDUCLAS3")}
    return bool(COMPANION.match(hdu.name)) or bool(classes & COMPANION_CLASSES)


def images(file: FitsFile) -> list[Hdu]:
    """HDUs with pixels in at least two dimensions."""
    return [hdu for hdu in file.hdus if hdu.kind == "image" and pixel_axes(hdu) >= 2]


def science_hdus(file: FitsFile) -> list[int]:
    """Indices of the science images; if all are companions (a file of masks), all of them."""
    found = images(file)
    science = [hdu.index for hdu in found if not is_companion(hdu)]
    return science or [hdu.index for hdu in found]
