"""What a keyword's value may be: the standard's words ("[0,100] | -1 | -2") as values that a program can ask.

A rule looks at one value of one keyword. What two keywords say together is a cross-check (form.py, common.py, ...):
those keywords are named in CHECKED with the check that judges them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ingest.findings import Level
from phase3.rules.product import FITS_SUFFIXES, Product
from phase3.rules.units import unit_of

RAW_ID = r"[A-Z][A-Z0-9_]*\.\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?"
ISO_DATE = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"


class ValueRule(Protocol):
    """words: what is expected, for people. level: of the finding when it is not so."""

    @property
    def words(self) -> str: ...
    @property
    def level(self) -> Level: ...

    def allows(self, value: Any, product: Product) -> bool:
        """True if the value, of the right type already, is allowed."""
        ...


@dataclass(frozen=True)
class OneOf:
    """Words, numbers or T and F, as they stand."""

    choices: Sequence[Any]
    level: Level = "error"

    @property
    def words(self) -> str:
        return " or ".join({True: "T", False: "F"}.get(c, repr(c)) if isinstance(c, bool) else str(c)
                           for c in self.choices)  # fmt: skip

    def allows(self, value: Any, product: Product) -> bool:
        return value in self.choices


@dataclass(frozen=True)
class Between:
    """A number from low to high; brackets: of interval notation, "(" or ")" leaves that end out. also: besides."""

    low: float
    high: float = float("inf")
    brackets: str = "[]"
    also: tuple[float, ...] = ()
    level: Level = "error"

    @property
    def words(self) -> str:
        if self.high == float("inf"):
            limits = f"{'>' if self.brackets[0] == '(' else '>='} {self.low:.10g}"
        else:
            limits = f"{self.brackets[0]}{self.low:.10g}, {self.high:.10g}{self.brackets[1]}"
        return " or ".join([limits, *(f"{value:g}" for value in self.also)])

    def allows(self, value: Any, product: Product) -> bool:
        above = value > self.low if self.brackets[0] == "(" else value >= self.low
        below = value < self.high if self.brackets[1] == ")" else value <= self.high
        return bool(above and below) or value in self.also


@dataclass(frozen=True)
class Like:
    """Text that matches a pattern from end to end."""

    pattern: str
    words: str
    level: Level = "error"
    flags: int = 0

    def allows(self, value: Any, product: Product) -> bool:
        return re.fullmatch(self.pattern, value, self.flags) is not None


@dataclass(frozen=True)
class AUnit:
    """A unit that can be read; blank: may be the empty string. Only a warning: our reader of units is not ESO's."""

    words: str = "a unit as in the ESO Data Interface Control Document, ch. 8, such as erg.s**(-1).cm**(-2)"
    level: Level = "warning"
    blank: bool = False

    def allows(self, value: Any, product: Product) -> bool:
        return (self.blank and not value.strip()) or unit_of(value) is not None


@dataclass(frozen=True)
class AnExtension:
    """The EXTNAME of another HDU of the file."""

    words: str = "the EXTNAME of an HDU of this file"
    level: Level = "error"

    def allows(self, value: Any, product: Product) -> bool:
        return value.upper() in {hdu.name for hdu in product.file.hdus if hdu.name}


@dataclass(frozen=True)
class RunId:
    """An observing run of ESO; runs of other facilities are named as they please."""

    words: str = "PPP.C-NNNN(R), from period 105 on PPP.AAAA.nnn, or MULTI"
    level: Level = "error"

    def allows(self, value: Any, product: Product) -> bool:
        if product.is_apex or not product.from_archive_facility:
            return True
        old, new = r"\d{2,4}\.[A-L]-\d{4}(\([A-Z0-9]\))?", r"[1-9]\d{2}\.[A-Z0-9]{4}\.\d{3}"
        return re.fullmatch(f"MULTI|{old}|{new}", value) is not None


@dataclass(frozen=True)
class Publisher:
    """The publisher of this archive (S1: ESO/SAF)."""

    words: str = "the publisher's id, ESO/SAF unless told otherwise"
    level: Level = "error"

    def allows(self, value: Any, product: Product) -> bool:
        return bool(value == product.publisher)


@dataclass(frozen=True)
class AMode:
    """INSMODE; the standard lists PIONIER's."""

    words: str = "for PIONIER FREE or GRISM, SMALL or LARGE (FREE_H, GRISM_H, FREE_K, GRISM_K, SMALL, LARGE)"
    level: Level = "error"

    def allows(self, value: Any, product: Product) -> bool:
        known = ("FREE_H", "GRISM_H", "FREE_K", "GRISM_K", "SMALL", "LARGE")
        return not product.is_of("PIONIER") or value in known


@dataclass(frozen=True)
class AnAncillary:
    """A category of ancillary files."""

    words: str = "an ANCILLARY category of the standard"
    level: Level = "error"

    def allows(self, value: Any, product: Product) -> bool:
        return value in product.rules.ancillaries


@dataclass(frozen=True)
class APrecursor:
    """PROVi: raw files go by the archive's name, products by a file name. A warning: either way they can be found."""

    words: str = "the archive's name of a raw file, without suffix, or the name of a product's file, with suffix"
    level: Level = "warning"

    def allows(self, value: Any, product: Product) -> bool:
        if value.endswith(FITS_SUFFIXES):
            return value.startswith("ADP.") or re.fullmatch(RAW_ID + r"\.fits(\.fz)?", value) is None
        return re.fullmatch(RAW_ID, value) is not None


TRUE, EITHER = OneOf((True,)), OneOf((True, False))
POSITIVE, NOT_NEGATIVE = Between(0, brackets="(]"), Between(0)
FACILITY_NAME = Like(r"\S(.*\S)?", "a name, without blanks at its ends")
A_DATE = Like(ISO_DATE + r"(T\d\d:\d\d:\d\d(\.\d*)?Z?)?", "yyyy-mm-dd, with Thh:mm:ss if wished")
STOKES = "I Q U V RR LL RL LR XX YY XY YX POLI POLA".replace(" ", "|")

VALUES: dict[str, ValueRule] = {
    "ASSOCi": AnAncillary(),
    "ASSONi": Like(r"[^/\\]{1,68}", "a file name of at most 68 characters, without folders"),
    "ASSOMi": Like("[0-9a-fA-F]{32}", "an MD5 sum: 32 hexadecimal digits"),
    "PROVi": APrecursor(),
    "TELESCOP": FACILITY_NAME, "INSTRUME": FACILITY_NAME, "FILTER": FACILITY_NAME, "OBJECT": FACILITY_NAME,
    "RA": Between(0, 360), "DEC": Between(-90, 90),
    "EQUINOX": OneOf((2000.0,)), "RADESYS": OneOf(("ICRS", "FK5")), "TIMESYS": OneOf(("UTC", "TAI")),
    "EXPTIME": Between(1e-15, 1e15, "()"), "TEXPTIME": POSITIVE, "MJD-OBS": Between(40587),
    "PROG_ID": RunId(), "PROGIDi": RunId(), "OBIDi": POSITIVE, "NCOMBINE": POSITIVE,
    "FLUXCAL": OneOf(("ABSOLUTE", "UNCALIBRATED")), "PROCSOFT": FACILITY_NAME,
    "BUNIT": AUnit(), "CUNITi": OneOf(("deg",)), "CUNIT3": AUnit(),
    "PHOTSYS": OneOf(("VEGA", "AB")),
    "SPECSYS": OneOf(("TOPOCENT", "GEOCENTR", "BARYCENT", "HELIOCEN", "LSRK", "LSRD", "GALACTOC", "LOCALGRP",
                      "CMBDIPOL", "SOURCE")),
    "EXT_OBJ": EITHER, "CONTNORM": EITHER, "TOT_FLUX": EITHER, "M_EPOCH": EITHER, "APMATCHD": EITHER,
    "FLUXERR": Between(0, 100, also=(-1, -2)), "WAVELMIN": POSITIVE, "WAVELMAX": POSITIVE,
    "LAMRMS": NOT_NEGATIVE, "LAMNLIN": NOT_NEGATIVE, "SPEC_ERR": NOT_NEGATIVE, "SPEC_SYE": NOT_NEGATIVE,
    "SPEC_BIN": POSITIVE, "RA_ERR": NOT_NEGATIVE, "DEC_ERR": NOT_NEGATIVE, "NELEM": POSITIVE,
    "VOCLASS": Like(r"SPECTRUM V[12]\.0", "SPECTRUM v1.0 or SPECTRUM v2.0", flags=re.IGNORECASE),
    "VOPUB": Publisher(), "APERTURE": Between(0, 0.1, "()"),
    "CONTENT": OneOf(("OIFITS1", "OIFITS2")), "INSMODE": AMode(),
    "MAPMODE": Like(r"(OTF|SPIRALRAS|SPIRAL)(, ?(OTF|SPIRALRAS|SPIRAL))*", "OTF, SPIRALRAS, SPIRAL, by commas"),
    "FEBEi": Like(r"[A-Za-z0-9]+-[A-Za-z0-9]+", "front end and back end, such as LABOCA-ABBA"),
    "VIS2ERR": NOT_NEGATIVE, "T3PHIERR": NOT_NEGATIVE, "VISPHERR": NOT_NEGATIVE,
    "STOKES": Like(rf"/?({STOKES})(/({STOKES}))*/?", "Stokes parameters between slashes, such as /I/Q/U/V/"),
    "HDUCLASS": OneOf(("ESO",)), "HDUCLAS1": OneOf(("IMAGE",)),
    "HDUDOC": OneOf(("SDP",)), "HDUVERS": Like(r"SDP version \d+", "SDP version and its number"),
    **dict.fromkeys(("SCIDATA", "ERRDATA", "QUALDATA", "CONFDATA", "BKGDATA", "BKGERR", "BKGCONF"), AnExtension()),
    "ABMAGLIM": Between(0, 99), "MAGLIMi": Between(0, 99), "PIXNOISE": NOT_NEGATIVE, "ELLIPTIC": Between(0, 1, "[)"),
    "SPEC_RES": POSITIVE, "SKY_RES": Between(0, 99), "SKY_RERR": Between(0, 99), "STREHL": Between(0, 1, "(]"),
    "BNOISE": POSITIVE, "NDIT": POSITIVE, "DIT": POSITIVE, "NJITTER": POSITIVE, "NOFFSETS": POSITIVE,
    "NUSTEP": POSITIVE,
    "ARCFILE": Like(RAW_ID + r"(\.fits(\.fz)?)?", "PREFIX.yyyy-mm-ddThh:mm:ss.sss, with .fits if wished"),
    "ORIGFILE": Like(r".{1,68}", "a file name of at most 68 characters"), "P3ORIG": OneOf(("IDP", "EDP")),
    "FPRAia": Between(0, 360, "[)"), "FPDEia": Between(-90, 90), "SKYSQDEG": POSITIVE,
    "TXLNKi": OneOf(("CATALOG", "ARCFILE", "ORIGFILE")), "TXRGF": FACILITY_NAME, "TXCTY": FACILITY_NAME,
    "NOESODAT": TRUE, "PROVXTN": TRUE, "BASE_MIN": POSITIVE, "BASE_MAX": POSITIVE, "NUM_CHAN": POSITIVE,
    "TFIELDS": Between(1, 999), "TUNITi": AUnit(blank=True), "TCOMMi": Like(r".{0,68}", "at most 68 characters"),
    "DATE": A_DATE, "DATE-OBS": A_DATE, "TL_OFFAN": Between(-999),
}  # fmt: skip

CHECKED = {
    "PRODCATG": "category", "ORIGIN": "M05", "MJD-END": "T01", "REFERENC": "M04", "TELAPSE": "S02", "TMID": "S02",
    "SPEC_VAL": "S02", "SPEC_BW": "S02", "HDUCLASi": "I03", "ABMAGSAT": "I01", "PSF_FWHM": "I01",
    "TTYPEi": "columns", "TUTYPi": "S05", "TDMINi": "columns", "TDMAXi": "columns", "EXTNAME": "F05",
}  # fmt: skip


def value_rule(generic: str, keyword: str) -> ValueRule | None:
    """The rule for a keyword of a header: its own, or that of all its indices."""
    return VALUES.get(keyword) or VALUES.get(generic)
