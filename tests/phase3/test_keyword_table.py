"""The keyword table: a file that keeps the rules passes in silence; each spoilt keyword is told, and nothing else."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from phase3.check import Report
from phase3.rules.model import load_rules
from tests.phase3.made import MAKERS, Made

Checked = Callable[[Made], Report]
RULES = load_rules()
# FITS itself needs them: their absence is no table at all (tests/ingest).
OF_FITS = {"TFIELDS", "TFORMi", "TTYPEi", "TUNITi", "EXTNAME", "CHECKSUM", "DATASUM"}
# Keywords whose absence a cross-check tells, not the table.
CROSS_CHECKED = {
    ("SCIENCE.IMAGE#MEF", "SCIDATA"): "I03", ("SCIENCE.IMAGE#MEF", "ERRDATA"): "I03",
    ("SCIENCE.IMAGE#MEF", "QUALDATA"): "I03", ("SCIENCE.CUBE.IFS", "SCIDATA"): "I03",
    ("SCIENCE.CUBE.IFS", "ERRDATA"): "I03", ("SCIENCE.CATALOG", "OBSTECH"): "M01",
    ("SCIENCE.MCATALOG", "OBSTECH"): "M01", ("SCIENCE.CATALOGTILE", "OBSTECH"): "M01",
    ("SCIENCE.VISIBILITY", "ASSONi"): "B02", ("SCIENCE.MCATALOG", "FPRAia"): "K06",
    ("SCIENCE.MCATALOG", "FPDEia"): "K06",
}  # fmt: skip


def _pattern(name: str) -> re.Pattern[str]:
    """The standard's name of a keyword, i, j and a for indices, as headers have it."""
    indexed = {"CDi_j": r"CD\d_\d", "FPRAia": r"FPRA\d[A-Z]", "FPDEia": r"FPDE\d[A-Z]"}
    return re.compile(indexed.get(name, name[:-1] + r"\d+" if name.endswith("i") else re.escape(name)) + r"\Z")


def _cases() -> list[tuple[str, str, str]]:
    cases = []
    for category, make in MAKERS.items():
        made = make()
        for rule, use in RULES.of_category(category):
            stands = any(_pattern(rule.name).match(key) for header in made.headers for key in header)
            if stands and use.level in ("required", "recommended", "conditional") and rule.name not in OF_FITS:
                cases.append((category, rule.name, use.level))
    return cases


CASES = _cases()


@pytest.mark.parametrize("category", MAKERS)
def test_a_file_that_keeps_all_rules_is_passed_in_silence(category: str, checked: Checked) -> None:
    report = checked(MAKERS[category]())
    assert report.category == category
    assert report.findings == ()
    assert report.passed


def test_the_made_files_hold_every_required_keyword() -> None:
    made = {(category, name) for category, name, _ in CASES}
    for category in MAKERS:
        required = {rule.name for rule, use in RULES.of_category(category) if use.level == "required"} - OF_FITS
        assert {(category, name) for name in required} <= made


@pytest.mark.parametrize("category", MAKERS)
def test_each_keyword_that_is_taken_away_is_missed_and_nothing_else(category: str, checked: Checked) -> None:
    for _, name, level in (case for case in CASES if case[0] == category and case[1] != "PRODCATG"):
        made = MAKERS[category]()
        for header in made.headers:
            for keyword in [key for key in header if _pattern(name).match(key)]:
                del header[keyword]
        report = checked(made)
        found = {(finding.rule, _family(finding.keyword, name)) for finding in report.findings}
        rule = CROSS_CHECKED.get((category, name), level)
        if rule == "conditional" and not found:
            assert name in {"TUNITi", "TDMINi", "TDMAXi", "ABMAGLIM"}, f"{category} {name} is not missed"
            continue
        assert found == {(rule, True)}, f"{category} {name}: {report.findings}"
        assert report.passed == (level == "recommended" or (name, rule) == ("OBSTECH", "M01"))


def _family(keyword: str, name: str) -> bool:
    """True if all keywords of a finding are of that name, or of the files it belongs to."""
    stem = re.sub(r"(i_j|ia|i)\Z", "", name)
    allowed = (stem, "FPRA", "FPDE") if stem in ("FPRA", "FPDE") else (stem, "ASSO") if stem == "ASSON" else (stem,)
    return all(word.startswith(allowed) for word in keyword.replace(" and ", ", ").split(", ") if "more" not in word)


def _types() -> dict[str, list[str]]:
    """Each keyword in the first category whose made file has it: a type is the same in all."""
    first: dict[str, str] = {}
    for category, name, _ in CASES:
        if RULES.keywords[name].type != "any" and name != "PRODCATG":
            first.setdefault(name, category)
    return {
        category: [name for name, at in first.items() if at == category] for category in dict.fromkeys(first.values())
    }


@pytest.mark.parametrize(("category", "names"), _types().items())
def test_each_keyword_of_a_wrong_type_is_told(category: str, names: list[str], checked: Checked) -> None:
    for name in names:
        made = MAKERS[category]()
        places = [(header, key) for header in made.headers for key in header if _pattern(name).match(key)]
        kind = RULES.keywords[name].type
        for header, keyword in places:
            header[keyword] = 7 if kind == "string" else 1.5 if kind == "integer" else "text"
        report = checked(made)
        told = {finding.keyword for finding in report.findings if finding.rule == "type"}
        assert told == {keyword for _, keyword in places}, f"{category} {name}: {report.findings}"


# Values that the words of the standard refuse, one a case: category, keyword, value.
REFUSED: list[tuple[str, str, Any]] = [
    ("SCIENCE.IMAGE", "RA", 361.0), ("SCIENCE.IMAGE", "DEC", -90.5), ("SCIENCE.IMAGE", "EQUINOX", 1950.0),
    ("SCIENCE.IMAGE", "RADESYS", "FK4"), ("SCIENCE.IMAGE", "TIMESYS", "TT"), ("SCIENCE.IMAGE", "EXPTIME", 0.0),
    ("SCIENCE.IMAGE", "MJD-OBS", 40000.0), ("SCIENCE.IMAGE", "NCOMBINE", 0), ("SCIENCE.IMAGE", "FLUXCAL", "RELATIVE"),
    ("SCIENCE.IMAGE", "PROG_ID", "96.A-123(B)"), ("SCIENCE.IMAGE", "PHOTSYS", "ST"), ("SCIENCE.IMAGE", "CUNIT1", "rad"),
    ("SCIENCE.IMAGE", "ABMAGLIM", 100.0), ("SCIENCE.IMAGE", "STREHL", 1.2), ("SCIENCE.IMAGE", "ELLIPTIC", 1.0),
    ("SCIENCE.IMAGE", "DATE", "3 Feb 2020"), ("SCIENCE.IMAGE", "NOESODAT", False),
    ("SCIENCE.IMAGE", "BUNIT", "furlong/fortnight"), ("SCIENCE.IMAGE", "PROV1", "XSHOO.2017-09-04T02:57:46.000.fits"),
    ("SCIENCE.IMAGE", "TL_OFFAN", -1000.0), ("SCIENCE.IMAGE#MEF", "HDUCLASS", "OGIP"),
    ("SCIENCE.IMAGE#MEF", "HDUDOC", "DICD"), ("SCIENCE.IMAGE#MEF", "HDUVERS", "8"),
    ("SCIENCE.IMAGE.FLUXMAP", "FLUXERR", 101.0), ("SCIENCE.IMAGE.FLUXMAP", "MAPMODE", "RASTER"),
    ("SCIENCE.IMAGE.FLUXMAP", "SKY_RES", 100.0), ("SCIENCE.SPECTRUM", "SPECSYS", "GALACTIC"),
    ("SCIENCE.SPECTRUM", "LAMRMS", -0.1), ("SCIENCE.SPECTRUM", "SPEC_ERR", -1.0), ("SCIENCE.SPECTRUM", "SPEC_RES", 0.0),
    ("SCIENCE.SPECTRUM", "VOCLASS", "SPECTRUM v3.0"), ("SCIENCE.SPECTRUM", "VOPUB", "ME"),
    ("SCIENCE.SPECTRUM", "APERTURE", 1.0), ("SCIENCE.SPECTRUM", "TUCD2", "flux"),
    ("SCIENCE.VISIBILITY", "INSMODE", "HIGH"), ("SCIENCE.VISIBILITY", "CONTENT", "OIFITS3"),
    ("SCIENCE.VISIBILITY", "T3PHIERR", -1.0), ("SCIENCE.VISIBILITY", "BASE_MIN", 0.0),
    ("SCIENCE.VISIBILITY", "ASSOM1", "xyz"), ("SCIENCE.VISIBILITY", "ASSOC1", "ANCILLARY.POEM"),
    ("SCIENCE.CATALOG", "TXLNK1", "WEB"), ("SCIENCE.CATALOG", "SKYSQDEG", -1.0), ("SCIENCE.CATALOG", "FPDE1A", 91.0),
    ("SCIENCE.SPECTRUM", "WAVELMIN", 540.0), ("SCIENCE.VISIBILITY", "BASE_MAX", 40.0),
]  # fmt: skip


@pytest.mark.parametrize(("category", "keyword", "value"), REFUSED)
def test_a_value_that_the_standard_refuses_is_told(category: str, keyword: str, value: Any, checked: Checked) -> None:
    made = MAKERS[category]()
    where = [header for header in made.headers if keyword in header] or [made.headers[0]]
    for header in where:
        header[keyword] = value
    found = {(f.rule, keyword in f.keyword.split(", ")) for f in checked(made).findings if f.rule == "value"}
    assert found == {("value", True)}


FORBIDDEN = [
    (category, rule.name)
    for category in MAKERS
    for rule, use in RULES.of_category(category)
    if use.level in ("forbidden", "reserved", "contact-archive")
]


@pytest.mark.parametrize("category", MAKERS)
def test_keywords_that_are_refused_or_reserved_are_told(category: str, checked: Checked) -> None:
    for name in (name for each, name in FORBIDDEN if each == category):
        made = MAKERS[category]()
        keyword = {"TZEROi": "TZERO2", "TSCALi": "TSCAL2", "CDi_j": "CD1_1"}.get(name, name)
        value = {"BUNIT": "adu", "P3ORIG": "EDP", "ORIGFILE": "a.fits", "STOKES": "/I/",
                 "ARCFILE": "ADP.2020-01-01T00:00:00.000"}.get(name, 1)  # fmt: skip
        made.headers[-1 if name[:5] in ("TZERO", "TSCAL") else 0][keyword] = value
        use = RULES.keywords[name].use[category]
        told = [f for f in checked(made).findings if f.rule == use.level]
        assert [(f.keyword, f.hdu is not None) for f in told] == [(keyword, True)], f"{category} {name}"
        assert (told[0].level == "error") == (use.level == "forbidden")


def test_a_keyword_in_the_wrong_header_is_told_with_where_it_stands(checked: Checked) -> None:
    made = MAKERS["SCIENCE.SPECTRUM"]()
    made.headers[1]["SNR"] = made.headers[0].pop("SNR")
    (finding,) = checked(made).findings
    assert (finding.rule, finding.code, finding.hdu) == ("required", "keyword_misplaced", 0)
    assert "[1] SPECTRUM" in finding.what


def test_a_unit_in_the_comment_that_is_not_the_standards_is_odd(checked: Checked) -> None:
    made = MAKERS["SCIENCE.SPECTRUM"]()
    made.headers[0]["SPEC_BIN"] = (1.0, "[Angstrom] mean bin")
    (finding,) = checked(made).findings
    assert (finding.level, finding.rule, finding.keyword, finding.expected) == ("warning", "unit", "SPEC_BIN", "nm")
    made.headers[0]["SPEC_BIN"] = (1.0, "[nm] mean bin")
    assert checked(made).findings == ()


def test_an_integer_is_a_number_too(checked: Checked) -> None:
    made = MAKERS["SCIENCE.IMAGE"]()
    made.headers[0] |= {"EQUINOX": 2000, "EXPTIME": 600, "RA": 150, "CRVAL1": 150}
    assert checked(made).findings == ()
