"""When a conditional keyword is demanded. Each condition of the rules, by its words, is a question to the product.

A condition that no header can answer (was the observation adaptive-optics assisted?) demands nothing: a finding must be
true. Which those are is said in UNDECIDED; a condition that a cross-check answers is in CHECKED.
"""

from collections.abc import Callable
from typing import Any

from phase3.rules.model import Rules, RulesError
from phase3.rules.product import CATALOGUES, FITS_SUFFIXES, PROVENANCE, Product

Question = Callable[[Product], bool]
NOT_IMAGING = ("SPECTR", "ECHELLE", "MOS", "MXU", "IFU", "FIBRE", "SLIT")


def wanted(product: Product, name: str, hdu: int) -> tuple[str, ...]:
    """The keywords, with their indices, that must stand in an HDU if the rules' keyword `name` is demanded there."""
    stem = product.rules.keywords[name].stem
    if name == "CDi_j":
        axes = range(1, 3)
        third = ("CD3_3",) if len(product.hdu(hdu).shape) == 3 else ()
        return (*(f"CD{i}_{j}" for i in axes for j in axes), *third)
    if name in ("CRVALi", "CRPIXi", "CTYPEi", "CUNITi"):
        return tuple(f"{stem}{i}" for i in range(1, max(2, len(product.hdu(hdu).shape)) + 1))
    if name == "HDUCLASi":
        return ("HDUCLAS1", "HDUCLAS2")
    if name in ("FPRAia", "FPDEia"):
        return tuple(f"{stem}{i}A" for i in (1, 2, 3))
    if name in ("TTYPEi", "TFORMi", "TCOMMi", "TUNITi", "TUTYPi", "TUCDi"):
        return tuple(f"{stem}{i}" for i in range(1, product.columns(hdu) + 1))
    if name in ("ASSOCi", "ASSOMi"):  # SDP 8 §4.2: for each associated file that is not FITS
        files = product.indexed("ASSON", hdu)
        return tuple(f"{stem}{i}" for i, file in files.items() if not str(file).endswith(FITS_SUFFIXES))
    if name in ("TXRGF", "TXCTY"):
        links = product.indexed("TXLNK", hdu)
        return tuple(f"{stem}{i}" for i, kind in links.items() if kind == "CATALOG")
    if name == "MAGLIMi":
        return tuple(f"MAGLIM{i}" for i in product.indexed("FILTER", hdu) or (1,))
    return (f"{stem}1",) if product.rules.keywords[name].indexed or name[-1].islower() else (name,)


def photometric(product: Product) -> bool:
    """A catalogue of magnitudes from images, so far as its technique and its columns say so."""
    technique = (product.text("OBSTECH") or "").upper()
    if product.is_apex or any(word in technique for word in NOT_IMAGING):
        return False
    return has_column(product, "phot.mag") and "IMAGE" in technique


def has_column(product: Product, ucd: str) -> bool:
    """True if a column's UCD has this word, or words that begin so."""
    return any(
        any(word.startswith(ucd) for word in str(value).split(";"))
        for hdu in product.science
        for value in product.indexed("TUCD", hdu).values()
    )


def one_position(product: Product) -> bool:
    """A catalogue that gives a part of a position, or a footprint, has one position."""
    return any(product.has(key) for key in ("RA", "DEC", "RADESYS", "RADECSYS", "FPRA1A"))


def spectroscopic_or_apex(product: Product) -> bool:
    technique = (product.text("OBSTECH") or "").upper()
    return product.is_apex or any(word in technique for word in NOT_IMAGING)


def from_eso_data(product: Product) -> bool:
    return product.from_archive_facility and product.get("NOESODAT") is not True


def fk5(product: Product) -> bool:
    return product.text("RADESYS") == "FK5"


FACILITY = "products made from ESO data (validator: see checks; not NGTS/GTC; OBIDi not allowed for APEX)"
FRAME = "if RADESYS='FK5' (then 2000.0); with ICRS tolerated and must be 2000.0"
NO_PLACE = "unless no single position describes the catalogue (e.g. spectroscopic target catalogues)"
LINK = "if a data link between catalogues is defined"

DEMANDS: dict[str, Question] = {
    "if an ancillary file that is not FITS is delivered with the product": lambda p: bool(p.indexed("ASSON")),
    "photometric catalogues and APEX catalogues": lambda p: photometric(p) or p.is_apex,
    NO_PLACE: one_position,
    FRAME: fk5,
    f"{FRAME}; {NO_PLACE}": fk5,
    FACILITY: from_eso_data,
    "if the source list gives magnitudes (rather than fluxes)": lambda p: has_column(p, "phot.mag"),
    "externally delivered products (EDP); not for unsupervised pipeline products (IDP)":
        lambda p: p.text("P3ORIG") != "IDP",
    "spectroscopic and APEX catalogues; photometric ones only if (INSTRi,FILTERi) does not fix the band":
        spectroscopic_or_apex,
    "APEX catalogues only": lambda p: p.is_apex,
    "photometric catalogues with one filter (several: MAGLIMi)":
        lambda p: photometric(p) and p.get("FILTER") not in (None, "MULTI"),
    "photometric catalogues with more than one filter": lambda p: photometric(p) and p.get("FILTER") == "MULTI",
    "VIRCAM and OmegaCAM only": lambda p: p.is_of("VIRCAM", "OMEGACAM"),
    "not for spectroscopic catalogues without a coverage pattern": photometric,
    "multi-epoch catalogues with one row per source and epoch": lambda p: has_main_epoch(p),
    LINK: lambda p: bool(p.indexed("TXLNK")) or bool(p.indexed("TXRGF")),
    f"{LINK}; if provenance is given per catalogue record": lambda p: bool(p.indexed("TXRGF")),
    "first column (spectral coordinate) only": lambda p: True,
    "GRAVITY": lambda p: p.is_of("GRAVITY"),
    "more than 9999 precursors, or the extension is present":
        lambda p: any(hdu.name == PROVENANCE for hdu in p.file.hdus),
}  # fmt: skip

UNDECIDED = frozenset({
    "if the time system is not UTC",  # absent means UTC
    "if SKY_RES varies in the collection because of how it is estimated",
    "adaptive-optics observations only",
    "unless the footprint is complex",
    "aperture-matched catalogues only",
    "unless the column has no unit",
    "integer columns that contain nulls; never the identifier column",
})  # fmt: skip

CHECKED = {
    "if any ancillary file is delivered with the product": "B02",
    "unless no single technique describes the catalogue": "M01",
    "SCIDATA in every non-science HDU when such HDUs exist; each other pointer if the HDU it names exists": "I03",
    "near-infrared products whose contributing exposures all share the value": "I02",
    "VIRCAM and OmegaCAM products that are not deep stacks (S2); otherwise if uniform (S1 5.1)": "I02",
    "if data of a non-ESO facility are used": "M05",
    "multi-extension files; fixed values for provenance, catalogue and file-list extensions": "F05",
    **{
        f"if {key}='MULTI' (and conversely {key} must be MULTI if the list exists)": "M02"
        for key in ("TELESCOP", "INSTRUME", "FILTER", "PROG_ID")
    },
}


def has_main_epoch(product: Product) -> bool:
    ucds = (str(value) for hdu in product.science for value in product.indexed("TUCD", hdu).values())
    return product.prodcatg in CATALOGUES and any(ucd == "time.epoch;meta.main" for ucd in ucds)


def demanded(product: Product, name: str, condition: str, hdu: int) -> tuple[str, ...]:
    """The keywords that a condition demands of an HDU now; () if it does not hold, or cannot be told from here."""
    question = DEMANDS.get(condition)
    if question is None or not question(product):
        return ()
    if (name == "PROVi" and product.get("PROVXTN") is True) or (name == "OBIDi" and product.is_apex):
        return ()
    return wanted(product, name, hdu)


def require_known(rules: Rules) -> None:
    """RulesError: a conditional keyword whose condition nobody here can answer would never be asked for."""
    known: set[Any] = {*DEMANDS, *UNDECIDED, *CHECKED}
    unknown = {
        use.condition
        for rule in rules.keywords.values()
        for use in rule.use.values()
        if use.level == "conditional" and use.condition not in known
    }
    if unknown:
        raise RulesError(f"conditions that no check knows: {'; '.join(sorted(unknown))}")
