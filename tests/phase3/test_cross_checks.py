"""The cross-checks: what keywords, columns and pixels say together. Each case spoils one thing and expects one rule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from phase3.check import Asked, Report, check_file
from phase3.rules.footprints import area_sqdeg, turns
from phase3.rules.model import Rules
from tests.phase3 import made as makers
from tests.phase3.made import MAKERS, NOW_MJD, Made

Checked = Callable[[Made], Report]
Spoil = Callable[[Made], object]


def put(hdu: int = 0, /, **keywords: Any) -> Spoil:
    """Write keywords; _ stands for -, None takes one away."""

    def spoil(made: Made) -> None:
        for name, value in keywords.items():
            if value is None:
                made.headers[hdu].pop(name.replace("_", "-") if name.startswith("MJD") else name)
            else:
                made.headers[hdu][name.replace("_", "-") if name.startswith("MJD") else name] = value

    return spoil


def name(text: str) -> Spoil:
    return lambda made: setattr(made, "name", text)


def column(hdu: int, number: int, **changes: Any) -> Spoil:
    """Change a column: name, format, unit, array."""

    def spoil(made: Made) -> None:
        old = list(made.data[hdu])
        one = old[number - 1]
        told = {"name": one.name, "format": one.format, "unit": one.unit, "array": one.array, **changes}
        old[number - 1] = fits.Column(**told)
        made.data[hdu] = fits.ColDefs(old)

    return spoil


def pixels(hdu: int, *shape: int) -> Spoil:
    return lambda made: made.data.__setitem__(hdu, makers.pixels(*shape))


def extension(data: Any, **header: Any) -> Spoil:
    def spoil(made: Made) -> None:
        made.headers.append(header)
        made.data.append(data)

    return spoil


def two_rows(made: Made) -> None:
    made.data[1] = fits.ColDefs(
        [
            fits.Column(one.name, one.format, unit=one.unit, array=np.repeat(one.array, 2, axis=0))
            for one in made.data[1]
        ]
    )


WAVES = makers.wavelengths()[None, :]
LONG = "x" * 66
CASES: list[tuple[str, str, Spoil, str]] = [
    ("F01", "SCIENCE.IMAGE", name(f"{LONG}.fits"), ""),
    ("F01", "SCIENCE.IMAGE", name("made.fit"), ""),
    ("F01", "SCIENCE.IMAGE", name("made.fits.fz"), ""),
    ("F03", "SCIENCE.IMAGE", put(PROCSOFT="soft " * 20), "CONTINUE"),
    ("F05", "SCIENCE.SPECTRUM", put(1, PRODCATG="SCIENCE.SPECTRUM"), "PRODCATG"),
    ("F05", "SCIENCE.SPECTRUM", put(1, ORIGFILE="made.fits"), "ORIGFILE"),
    ("F05", "SCIENCE.MEFIMAGE", put(2, EXTNAME="CHIP0"), "EXTNAME"),
    ("F05", "SCIENCE.MEFIMAGE", put(2, EXTNAME=None), "EXTNAME"),
    ("F06", "SCIENCE.IMAGE", put(CDELT1=1e-4), "CDELT1"),
    ("F06", "SCIENCE.IMAGE", put(CTYPE1A="RA---TAN"), "CTYPE1A"),
    ("M02", "SCIENCE.IMAGE", put(FILTER="MULTI"), "FILTER, FILTERi"),
    ("M02", "SCIENCE.IMAGE", put(FILTER1="R"), "FILTER, FILTERi"),
    ("M02", "SCIENCE.IMAGE", put(FILTER="MULTI", FILTER1="R", FILTER2="R"), "FILTER, FILTERi"),
    ("M02", "SCIENCE.IMAGE", put(INSTRUME="MULTI", INSTR1="FORS2"), "INSTRUME, INSTRi"),
    ("M03", "SCIENCE.IMAGE", put(PROV03="XSHOO.2017-09-04T05:57:46.000"), "PROV03"),
    ("M03", "SCIENCE.IMAGE", put(PROV2="XSHOO.2017-09-04T02:57:46.000"), "PROVi"),
    ("M03", "SCIENCE.IMAGE", put(OBID2=1234567), "OBIDi"),
    ("M03", "SCIENCE.IMAGE.FLUXMAP", put(OBID1=1), "OBIDi"),
    ("M03", "SCIENCE.IMAGE", put(PROV1=None, PROV2=None, PROVXTN=True), "PROVXTN"),
    ("M04", "SCIENCE.IMAGE", put(REFERENC="Brahe et al. 1588"), "REFERENC"),
    ("M05", "SCIENCE.IMAGE", put(ORIGIN="KPNO", PROV1=None), "NOESODAT"),
    ("M05", "SCIENCE.IMAGE", put(ORIGIN="GRANTECAN", NOESODAT=True), "TELESCOP"),
    ("M05", "SCIENCE.IMAGE", put(ORIGIN="NGTS", NOESODAT=True), "TELESCOP, INSTRUME"),
    ("T01", "SCIENCE.IMAGE", put(MJD_END=57_999.0), "MJD-OBS, MJD-END"),
    ("T01", "SCIENCE.IMAGE", put(MJD_END=NOW_MJD + 1), "MJD-END"),
    ("T01", "SCIENCE.IMAGE", put(EXPTIME=1200.02), "EXPTIME, TEXPTIME"),
    ("T01", "SCIENCE.IMAGE", put(TEXPTIME=8640.02), "TEXPTIME"),
    ("P01", "SCIENCE.IMAGE", put(RA=151.0), "RA, DEC"),
    ("P01", "SCIENCE.MEFIMAGE", put(DEC=3.0), "RA, DEC"),
    ("P01", "SCIENCE.CUBE.IFS", put(DEC=-2.2), "RA, DEC"),
    ("P01", "SCIENCE.SPECTRUM", lambda m: m.headers[0].update(RADECSYS=m.headers[0].pop("RADESYS")), "RADECSYS"),
    ("B02", "SCIENCE.IMAGE", put(ASSOC1="ANCILLARY.PREVIEW"), "ASSOC1"),
    ("I01", "SCIENCE.IMAGE", put(FLUXCAL="UNCALIBRATED"), "FLUXCAL"),
    ("I01", "SCIENCE.IMAGE#MEF", put(1, ABMAGSAT=23.0), "ABMAGLIM, ABMAGSAT"),
    ("I01", "SCIENCE.IMAGE", put(PSF_FWHM=-1.0), "PSF_FWHM"),
    ("I03", "SCIENCE.IMAGE#MEF", put(2, HDUCLAS3="MASKZERO"), "HDUCLAS3"),
    ("I03", "SCIENCE.IMAGE#MEF", put(1, ERRDATA="DQ"), "ERRDATA"),
    ("I03", "SCIENCE.IMAGE#MEF", put(3, SCIDATA="ERR"), "SCIDATA"),
    ("I03", "SCIENCE.CUBE.IFS", put(2, HDUCLAS2="NOISE"), "HDUCLAS2"),
    ("I03", "SCIENCE.IMAGE#MEF", pixels(2, 8, 10), "NAXISi"),
    ("X01", "SCIENCE.IMAGE.FLUXMAP", put(FLUXCAL="UNCALIBRATED"), "FLUXCAL"),
    ("X01", "SCIENCE.IMAGE.FLUXMAP", put(TELESCOP="APEX"), "TELESCOP"),
    ("X01", "SCIENCE.IMAGE.FLUXMAP", put(FILTER="870um"), "FILTER"),
    ("X01", "SCIENCE.IMAGE.FLUXMAP", put(WAVELMIN=7.8e5), "WAVELMIN"),
    ("S01", "SCIENCE.SPECTRUM", put(1, RA=makers.RA + 2e-7), "RA"),
    ("S01", "SCIENCE.SPECTRUM", put(1, OBJECT="NGC 1301"), "OBJECT"),
    ("S02", "SCIENCE.SPECTRUM", put(1, TELAPSE=8640.2), "TELAPSE"),
    ("S02", "SCIENCE.SPECTRUM", put(1, TMID=58_000.1737), "TMID"),
    ("S02", "SCIENCE.SPECTRUM", put(1, SPEC_VAL=519.502), "SPEC_VAL"),
    ("S02", "SCIENCE.SPECTRUM", put(1, SPEC_BW=39.002), "SPEC_BW"),
    ("S03", "SCIENCE.SPECTRUM", two_rows, "NAXIS2"),
    ("S03", "SCIENCE.SPECTRUM", put(1, NELEM=39), "TFORM1, TFORM2, TFORM3"),
    ("S03", "SCIENCE.SPECTRUM", column(1, 3, unit="%"), "TUNIT2, TUNIT3"),
    ("S03", "SCIENCE.SPECTRUM", pixels(0, 4, 4), "NAXIS"),
    ("S04", "SCIENCE.SPECTRUM", column(1, 1, name="LAMBDA"), "TTYPE1"),
    ("S04", "SCIENCE.SPECTRUM", column(1, 2, name="COUNTS"), "TTYPE2"),
    ("S04", "SCIENCE.SPECTRUM", column(1, 3, name="SIGMA"), "TTYPE3"),
    ("S04", "SCIENCE.SPECTRUM", put(1, TUCD1="em.wl.central"), "TUCD1"),
    ("S05", "SCIENCE.SPECTRUM", put(1, TUTYP1="Spectrum.Data.FluxAxis.Value"), "TUTYP1"),
    ("S06", "SCIENCE.SPECTRUM", column(1, 1, array=WAVES[:, ::-1]), "TTYPE1"),
    ("S06", "SCIENCE.SPECTRUM", column(1, 2, array=np.where(WAVES == 510, np.inf, 1.0)), "TTYPE2"),
    ("S06", "SCIENCE.SPECTRUM", put(1, TDMIN1=500.01), "TDMIN1"),
    ("S06", "SCIENCE.SPECTRUM", put(0, SPEC_BIN=0.1), "SPEC_BIN"),
    ("S07", "SCIENCE.SPECTRUM", put(FLUXERR=-1.0), "FLUXERR, FLUXCAL"),
    ("S07", "SCIENCE.SPECTRUM", put(FLUXCAL="UNCALIBRATED"), "FLUXERR, FLUXCAL"),
    ("S07", "SCIENCE.SPECTRUM", put(FLUXCAL="UNCALIBRATED", FLUXERR=-1.0, TOT_FLUX=True), "TOT_FLUX, FLUXCAL"),
    ("C01", "SCIENCE.CUBE.IFS", put(FILTER="R"), "FILTER"),
    ("C01", "SCIENCE.CUBE.IFS", put(SPEC_RES=90_000.0), "SPEC_RES"),
    ("V01", "SCIENCE.VISIBILITY", put(WAVELMAX=1900.0), "WAVELMAX"),
    ("V01", "SCIENCE.VISIBILITY", put(EXPTIME=64.0), "EXPTIME"),
    ("V01", "SCIENCE.VISIBILITY", put(ASSON2=None, ASSOC2=None, ASSOM2=None), "ASSOCi"),
    ("V01", "SCIENCE.VISIBILITY", put(CONTENT="OIFITS2"), "CONTENT"),
    ("V01", "SCIENCE.VISIBILITY", put(5, EXTNAME="OI_T4"), "EXTNAME"),
    ("V01", "SCIENCE.VISIBILITY", column(4, 4, name="VIS2"), "TTYPEi"),
    ("V01", "SCIENCE.VISIBILITY", put(4, OI_REVN=None), "OI_REVN"),
    ("K01", "SCIENCE.CATALOG", put(1, EXTNAME="SOURCES"), "EXTNAME"),
    ("K01", "SCIENCE.CATALOG", put(EXTNAME="MAIN"), "EXTNAME"),
    ("K01", "SCIENCE.CATALOG", pixels(0, 4, 4), "NAXIS"),
    ("K01", "SCIENCE.MCATALOG", put(2, EXTNAME="FILES"), "EXTNAME"),
    ("K02", "SCIENCE.CATALOG", put(1, TUCD1="meta.id"), "TUCDi"),
    ("K02", "SCIENCE.CATALOG", column(1, 1, array=np.array(["A1", "A1", "A3"])), "TTYPE1"),
    ("K02", "SCIENCE.CATALOG", column(1, 1, array=np.array(["A1", "", "A3"])), "TTYPE1"),
    ("K02", "SCIENCE.CATALOG", column(1, 1, format="1D", array=np.array([1.0, 2.0, 3.0])), "TTYPE1"),
    ("K02", "SCIENCE.CATALOG", put(M_EPOCH=True), "TUCDi"),
    ("K03", "SCIENCE.CATALOG", put(1, TUCD2="pos.eq.ra"), "TUCDi"),
    ("K03", "SCIENCE.CATALOG", put(1, TUNIT3="rad"), "TUNIT3"),
    ("K04", "SCIENCE.CATALOG", column(1, 4, array=np.array([20.0, np.inf, 21.0])), "TTYPE4"),
    ("K04", "SCIENCE.CATALOG", column(1, 4, array=np.full(3, np.nan)), "TTYPE4"),
    ("K04", "SCIENCE.CATALOG", put(1, TDMIN4=20.5, TDMAX4=22.0), "TDMIN4"),
    ("K04", "SCIENCE.CATALOG", put(1, TDMIN4=10.0, TDMAX4=20.5), "TDMAX4"),
    ("K06", "SCIENCE.CATALOG", put(FPRA4A=None), "FPRAiA, FPDEiA"),
    ("K06", "SCIENCE.CATALOG", put(SKYSQDEG=1.5), "SKYSQDEG"),
    ("K06", "SCIENCE.CATALOG", put(RA=151.0), "RA, DEC"),
    ("K06", "SCIENCE.CATALOG", put(FPRA1A=149.6, FPRA2A=149.6, FPRA3A=150.6, FPRA4A=150.6), "FPRAiA, FPDEiA"),
    ("K06", "SCIENCE.CATALOG", put(FPRA3A=150.2, FPDE3A=2.4, RA=150.4, DEC=2.4, SKYSQDEG=0.1), "FPRAiA, FPDEiA"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "category", "spoil", "keyword"), CASES)
def test_what_contradicts_is_told_by_its_rule_and_nothing_else(
    rule: str, category: str, spoil: Spoil, keyword: str, checked: Checked
) -> None:
    made = MAKERS[category]()
    spoil(made)
    found = {(finding.rule, finding.keyword) for finding in checked(made).findings}
    assert found == {(rule, keyword)}


@pytest.mark.parametrize("word", ["DEC", "dec", "select", "Z-PHOT", "1ST"])
def test_columns_of_catalogues_have_plain_names(word: str, checked: Checked) -> None:
    made = MAKERS["SCIENCE.CATALOG"]()
    column(1, 4, name=word)(made)
    assert {(f.rule, f.code, f.keyword) for f in checked(made).findings} == {("value", "column_name", "TTYPE4")}


def test_columns_that_differ_in_case_only_are_told(tmp_path: Path, rules: Rules) -> None:
    path = MAKERS["SCIENCE.CATALOG"]().write(tmp_path)
    # astropy makes no such table, but others do.
    path.write_bytes(path.read_bytes().replace(b"'RMAG    '", b"'ra2000  '", 1))
    found = {f.keyword for f in check_file(path, Asked(NOW_MJD), rules).findings if f.code == "column_name"}
    assert found == {"TTYPE2", "TTYPE4"}


def test_sums_that_are_missing_or_wrong_are_told(tmp_path: Path, rules: Rules) -> None:
    made = MAKERS["SCIENCE.IMAGE"]()
    absent = check_file(made.write(tmp_path, checksum=False), Asked(NOW_MJD), rules)
    assert {(f.rule, f.keyword) for f in absent.findings} == {("required", "CHECKSUM"), ("required", "DATASUM")}
    path = made.write(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[-2880 + 5] ^= 1  # a bit of the pixels
    path.write_bytes(whole)
    damaged = check_file(path, Asked(NOW_MJD), rules)
    assert [(f.level, f.rule, f.code) for f in damaged.findings] == [("error", "F02", "datasum_wrong")]
    assert fits.open(path)[0].verify_datasum() == 0, "astropy finds the data damaged too"


def test_lower_case_keywords_and_a_file_without_data_are_told(tmp_path: Path, rules: Rules) -> None:
    made = MAKERS["SCIENCE.IMAGE"]()
    path = made.write(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"PHOTZPER=", b"photzper=", 1))
    found = {(f.rule, f.keyword) for f in check_file(path, Asked(NOW_MJD), rules).findings}
    assert ("F03", "photzper") in found
    made.data[0] = None
    found = {(f.rule, f.code) for f in check_file(made.write(tmp_path), Asked(NOW_MJD), rules).findings}
    assert ("F04", "no_data") in found


def test_a_camera_whose_weights_are_not_delivered_is_told(checked: Checked) -> None:
    made = MAKERS["SCIENCE.IMAGE"]()
    made.headers[0] |= {"INSTRUME": "VIRCAM", "ELLIPTIC": 0.1}
    found = {(f.level, f.rule, f.keyword) for f in checked(made).findings}
    assert found == {("error", "I02", "ASSON1"), ("warning", "I02", "DIT, NDIT, NJITTER, NOFFSETS, NUSTEP")}


def test_products_without_rules_of_their_own_are_asked_who_made_them(checked: Checked) -> None:
    made = MAKERS["SCIENCE.IMAGE"]()
    made.headers[0]["PRODCATG"] = "SCIENCE.CUBE"
    del made.headers[0]["OBSTECH"]
    assert {(f.rule, f.keyword) for f in checked(made).findings} == {("M01", "OBSTECH")}


def test_a_category_that_nobody_knows_is_told_with_those_that_exist(checked: Checked) -> None:
    made = MAKERS["SCIENCE.IMAGE"]()
    made.headers[0]["PRODCATG"] = "SCIENCE.PICTURE"
    (finding,) = checked(made).findings
    assert finding.code == "category_unknown"
    assert "SCIENCE.MEFIMAGE" in finding.expected


def test_single_chips_of_a_mosaic_may_lack_an_image_quality_but_not_all(checked: Checked) -> None:
    made = MAKERS["SCIENCE.MEFIMAGE"]()
    made.headers[1]["PSF_FWHM"] = -1.0
    assert checked(made).findings == ()
    made.headers[2]["PSF_FWHM"] = -1.0
    assert {(f.rule, f.hdu) for f in checked(made).findings} == {("I01", 1), ("I01", 2)}


def test_a_tile_compressed_image_is_an_image(tmp_path: Path, rules: Rules) -> None:
    made = MAKERS["SCIENCE.MEFIMAGE"]()
    plain = fits.open(made.write(tmp_path))
    hdus = [plain[0], *(fits.CompImageHDU(one.data, one.header, compression_type="RICE_1") for one in plain[1:])]
    packed = tmp_path / "packed.fits.fz"
    fits.HDUList(hdus).writeto(packed, checksum=True)
    report = check_file(packed, Asked(NOW_MJD), rules)
    assert report.category == "SCIENCE.MEFIMAGE"
    assert report.findings == ()


@settings(max_examples=60, deadline=None)
@given(
    ra=st.floats(0, 359.9),
    dec=st.floats(-80, 80),
    radii=st.lists(st.floats(1.0, 8.0), min_size=3, max_size=9),
    turn=st.floats(0, 360),
)
def test_polygons_have_the_area_and_the_sense_that_others_measure(
    ra: float, dec: float, radii: list[float], turn: float
) -> None:
    """Vertices at growing position angles (north through east, astropy's) run counter-clockwise on the sky."""
    centre = SkyCoord(ra, dec, unit="deg")
    radius = min(radii)  # on a circle: convex, whatever the angles
    angles = turn + np.arange(len(radii)) * 360 / len(radii)
    places = centre.directional_offset_by(angles * u.deg, radius * u.deg)
    polygon = places.cartesian.xyz.value.T
    assert (turns(polygon) > 0).all()
    assert (turns(polygon[::-1]) < 0).all()
    nside = 512
    counted = len(healpy.query_polygon(nside, polygon)) * healpy.nside2pixarea(nside, degrees=True)
    assert area_sqdeg(polygon) == pytest.approx(counted, rel=0.15, abs=0.05)
    assert area_sqdeg(polygon[::-1]) == pytest.approx(area_sqdeg(polygon))
