"""Made Phase 3 files: for every category one that keeps all rules, as keywords and tables that a test may spoil.

Written from the standard's tables, not from our checks: values are those of a plausible product.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

RA, DEC = 150.1, 2.2
NOW_MJD = 60_000.0
POINTS = 40

IDENTITY: dict[str, Any] = {
    "ORIGIN": "ESO", "TELESCOP": "ESO-VLT-U3", "INSTRUME": "XSHOOTER", "OBJECT": "NGC 1300", "DATE": "2020-02-03",
    "RA": RA, "DEC": DEC, "RADESYS": "FK5", "EQUINOX": 2000.0, "EXPTIME": 600.0, "TEXPTIME": 1200.0,
    "MJD-OBS": 58_000.12345678, "MJD-END": 58_000.22345678, "PROG_ID": "096.A-0123(B)", "OBID1": 1234567,
    "NCOMBINE": 2, "OBSTECH": "IMAGE,JITTER", "PROCSOFT": "esorex 3.13", "REFERENC": "2019A&A...627A.138A",
    "PROV1": "XSHOO.2017-09-04T02:57:46.000", "PROV2": "XSHOO.2017-09-04T03:57:46.000",
}  # fmt: skip
IMAGE_WCS: dict[str, Any] = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": RA, "CRVAL2": DEC, "CRPIX1": 10.5, "CRPIX2": 8.5,
    "CUNIT1": "deg", "CUNIT2": "deg", "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, "CSYER1": 1e-5,
    "CSYER2": 1e-5, "CRDER1": 1e-5, "CRDER2": 1e-5,
}  # fmt: skip
CUBE_WCS = {**IMAGE_WCS, "CTYPE3": "WAVE", "CRVAL3": 5e-7, "CRPIX3": 1.0, "CUNIT3": "m", "CD3_3": 1e-10}
PHOTOMETRY: dict[str, Any] = {
    "BUNIT": "adu", "PHOTZP": 25.1, "PHOTZPER": 0.02, "PHOTSYS": "VEGA", "ABMAGLIM": 22.5, "ABMAGSAT": 13.5,
    "PSF_FWHM": 0.8,
}  # fmt: skip
ROLE: dict[str, Any] = {"HDUCLASS": "ESO", "HDUDOC": "SDP", "HDUVERS": "SDP version 8", "HDUCLAS1": "IMAGE"}
BAND: dict[str, Any] = {"WAVELMIN": 500.0, "WAVELMAX": 539.0, "SPECSYS": "BARYCENT"}


@dataclass
class Made:
    """A file before it is written. headers: of each HDU, in order. data: of each, None for none."""

    headers: list[dict[str, Any]]
    data: list[Any] = field(default_factory=list)
    name: str = "made.fits"

    def write(self, folder: Path, *, checksum: bool = True) -> Path:
        hdus: list[Any] = []
        for index, (header, data) in enumerate(zip(self.headers, self.data, strict=True)):
            if index == 0:
                hdu = fits.PrimaryHDU(data)
            elif isinstance(data, fits.ColDefs):
                hdu = fits.BinTableHDU.from_columns(data)
            else:
                hdu = fits.ImageHDU(data)
            for keyword, value in header.items():
                hdu.header[keyword] = value
            hdus.append(hdu)
        path = folder / self.name
        fits.HDUList(hdus).writeto(path, checksum=checksum, overwrite=True, output_verify="silentfix")
        return path


def pixels(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def image() -> Made:
    header = {**IDENTITY, "PRODCATG": "SCIENCE.IMAGE", "FILTER": "R_SPEC", "FLUXCAL": "ABSOLUTE", **IMAGE_WCS,
              **PHOTOMETRY}  # fmt: skip
    return Made([header], [pixels(16, 20)])


def image_mef() -> Made:
    primary = {**IDENTITY, "PRODCATG": "SCIENCE.IMAGE", "FILTER": "R_SPEC", "FLUXCAL": "ABSOLUTE"}
    data = {**IMAGE_WCS, **PHOTOMETRY, **ROLE, "HDUCLAS2": "DATA", "EXTNAME": "SCI", "ERRDATA": "ERR",
            "QUALDATA": "DQ"}  # fmt: skip
    error = {**IMAGE_WCS, **ROLE, "HDUCLAS2": "ERROR", "HDUCLAS3": "RMSE", "EXTNAME": "ERR", "SCIDATA": "SCI"}
    quality = {**IMAGE_WCS, **ROLE, "HDUCLAS2": "QUALITY", "HDUCLAS3": "MASKZERO", "EXTNAME": "DQ", "SCIDATA": "SCI"}
    return Made([primary, data, error, quality], [None, *(pixels(16, 20) for _ in range(3))])


def pawprint() -> Made:
    primary = {**IDENTITY, "PRODCATG": "SCIENCE.MEFIMAGE", "FILTER": "R_SPEC", "FLUXCAL": "ABSOLUTE"}
    chips = [
        {**IMAGE_WCS, **PHOTOMETRY, "CRPIX1": crpix, "EXTNAME": f"CHIP{i}"} for i, crpix in enumerate((-20.0, 40.0))
    ]
    return Made([primary, *chips], [None, pixels(16, 20), pixels(16, 20)])


def flux_map() -> Made:
    header = {
        **IDENTITY, "PRODCATG": "SCIENCE.IMAGE.FLUXMAP", "ORIGIN": "APEX", "TELESCOP": "APEX-12m", "INSTRUME": "LABOCA",
        "FILTER": "870u", "FLUXCAL": "ABSOLUTE", **IMAGE_WCS, "BUNIT": "Jy/beam", "FLUXERR": 10.0, "WAVELMIN": 7.994e5,
        "WAVELMAX": 9.517e5, "BNOISE": 0.05, "MAPMODE": "OTF", "FEBE1": "LABOCA-ABBA", "SKY_RES": 19.2,
        "ASSON1": "rms.fits", "PROG_ID": "181.C-0885(A)",
    }  # fmt: skip
    del header["OBID1"]
    return Made([header], [pixels(16, 20)])


def wavelengths() -> np.ndarray:
    return 500.0 + np.arange(POINTS, dtype=np.float64)


def spectrum() -> Made:
    primary = {
        **IDENTITY, "PRODCATG": "SCIENCE.SPECTRUM", "FLUXCAL": "ABSOLUTE", **BAND, "CONTNORM": False, "TOT_FLUX": False,
        "FLUXERR": 5.0, "SPEC_BIN": 1.0, "SNR": 20.0, "SPEC_RES": 5000.0, "EXT_OBJ": False, "SPEC_ERR": 0.01,
        "SPEC_SYE": 0.01, "RA_ERR": 1e-5, "DEC_ERR": 1e-5, "OBSTECH": "ECHELLE,SLIT",
    }  # fmt: skip
    header: dict[str, Any] = {
        "EXTNAME": "SPECTRUM", "OBJECT": "NGC 1300", "RA": RA, "DEC": DEC, "NELEM": POINTS, "VOCLASS": "SPECTRUM v1.0",
        "VOPUB": "ESO/SAF", "TITLE": "NGC 1300 X", "APERTURE": 0.0003, "TELAPSE": 8640.0, "TMID": 58_000.17345678,
        "SPEC_VAL": 519.5, "SPEC_BW": 39.0, "TDMIN1": 500.0, "TDMAX1": 539.0,
    }  # fmt: skip
    flux = "erg.s**(-1).cm**(-2).angstrom**(-1)"
    columns = (
        ("WAVE", "nm", "Spectrum.Data.SpectralAxis.Value", "em.wl"),
        ("FLUX", flux, "Spectrum.Data.FluxAxis.Value", "phot.flux.density;em.wl;meta.main"),
        ("ERR", flux, "Spectrum.Data.FluxAxis.Accuracy.StatError", "stat.error;phot.flux.density;em.wl"),
    )
    values = (wavelengths(), np.ones(POINTS), np.full(POINTS, 0.1))
    defined = []
    for i, ((name, unit, utype, ucd), value) in enumerate(zip(columns, values, strict=True), start=1):
        header |= {f"TUTYP{i}": utype, f"TUCD{i}": ucd}
        defined.append(fits.Column(name, f"{POINTS}D", unit=unit, array=value[None, :]))
    return Made([primary, header], [None, fits.ColDefs(defined)])


def cube() -> Made:
    primary = {
        **IDENTITY, "PRODCATG": "SCIENCE.CUBE.IFS", "INSTRUME": "MUSE", "FLUXCAL": "ABSOLUTE", **BAND, "ABMAGLIM": 22.0,
        "PIXNOISE": 1e-20, "SPEC_RES": 2900.0, "SKY_RES": 0.8, "DATE-OBS": "2017-09-04T02:57:46.666",
        "ASSON1": "white.fits", "OBSTECH": "IFU",
    }  # fmt: skip
    flux = "erg.s**(-1).cm**(-2).angstrom**(-1)"
    data = {**CUBE_WCS, **ROLE, "BUNIT": flux, "HDUCLAS2": "DATA", "EXTNAME": "DATA", "ERRDATA": "STAT"}
    error = {**CUBE_WCS, **ROLE, "HDUCLAS2": "ERROR", "HDUCLAS3": "MSE", "EXTNAME": "STAT", "SCIDATA": "DATA"}
    third = {"CSYER3": 1e-12, "CRDER3": 1e-12}
    return Made([primary, {**data, **third}, error], [None, pixels(5, 16, 20), pixels(5, 16, 20)])


def visibility() -> Made:
    primary = {
        **IDENTITY, "PRODCATG": "SCIENCE.VISIBILITY", "TELESCOP": "ESO-VLTI-A1234", "INSTRUME": "PIONIER",
        "EXPTIME": 128.0, "WAVELMIN": 1536.0, "WAVELMAX": 1771.0, "SPECSYS": "TOPOCENT", "SPEC_ERR": 8.0,
        "SPEC_SYE": 16.0, "CONTENT": "OIFITS1", "INSMODE": "GRISM_H", "VIS2ERR": 1.2, "T3PHIERR": 0.6, "SPEC_RES": 34.0,
        "BASE_MIN": 48.0, "BASE_MAX": 125.0,
        "NUM_CHAN": 3, "DATE-OBS": "2017-09-04T02:57:46.666", "OBSERVER": "UNKNOWN",
        "OBSTECH": "INTERFEROMETRY", "ASSON1": "vis2.pdf", "ASSOC1": "ANCILLARY.PREVIEW", "ASSOM1": "0" * 32,
        "ASSON2": "t3.pdf", "ASSOC2": "ANCILLARY.PREVIEW", "ASSOM2": "1" * 32,
    }  # fmt: skip
    one, three = "1D", "3D"
    tables: dict[str, dict[str, tuple[str, Any]]] = {
        "OI_TARGET": {"TARGET_ID": ("1I", [1]), "TARGET": ("8A", ["NGC 1300"]), "RAEP0": (one, [RA]),
                      "DECEP0": (one, [DEC]), "EQUINOX": ("1E", [2000.0])},
        "OI_ARRAY": {"TEL_NAME": ("3A", ["AT1"]), "STA_NAME": ("2A", ["A0"]), "STA_INDEX": ("1I", [1]),
                     "DIAMETER": ("1E", [1.8]), "STAXYZ": (three, [[0.0, 1.0, 2.0]])},
        "OI_WAVELENGTH": {"EFF_WAVE": ("1E", [1.536e-6, 1.65e-6, 1.771e-6]), "EFF_BAND": ("1E", [4.8e-8] * 3)},
        "OI_VIS2": {"TARGET_ID": ("1I", [1]), "MJD": (one, [58000.2]), "INT_TIME": (one, [128.0]),
                    "VIS2DATA": (three, [[0.5] * 3]), "VIS2ERR": (three, [[0.01] * 3]), "UCOORD": (one, [30.0]),
                    "VCOORD": (one, [40.0]), "STA_INDEX": ("2I", [[1, 2]]), "FLAG": ("3L", [[False] * 3])},
        "OI_T3": {"TARGET_ID": ("1I", [1]), "MJD": (one, [58000.2]), "INT_TIME": (one, [128.0]),
                  "T3AMP": (three, [[0.5] * 3]), "T3AMPERR": (three, [[0.1] * 3]), "T3PHI": (three, [[1.0] * 3]),
                  "T3PHIERR": (three, [[0.5] * 3]), "U1COORD": (one, [30.0]), "V1COORD": (one, [40.0]),
                  "U2COORD": (one, [30.0]), "V2COORD": (one, [40.0]), "STA_INDEX": ("3I", [[1, 2, 3]]),
                  "FLAG": ("3L", [[False] * 3])},
    }  # fmt: skip
    headers = [primary, *({"EXTNAME": name, "OI_REVN": 1} for name in tables)]
    data = [
        fits.ColDefs([fits.Column(name, form, array=np.array(values)) for name, (form, values) in table.items()])
        for table in tables.values()
    ]
    return Made(headers, [None, *data])


def table(columns: Mapping[str, tuple[str, str, str, Any]]) -> tuple[dict[str, Any], fits.ColDefs]:
    """Header and columns of a table: name to format, unit, UCD, values."""
    header: dict[str, Any] = {}
    for i, (name, (_, unit, ucd, _)) in enumerate(columns.items(), start=1):
        header |= {f"TUCD{i}": ucd, f"TUNIT{i}": unit, f"TCOMM{i}": f"what {name} is"}
    defined = [fits.Column(name, form, array=np.array(values)) for name, (form, _, _, values) in columns.items()]
    return header, fits.ColDefs(defined)


SOURCES: dict[str, tuple[str, str, str, Any]] = {
    "SOURCE_ID": ("8A", "", "meta.id;meta.main", ["A1", "A2", "A3"]),
    "RA2000": ("1D", "deg", "pos.eq.ra;meta.main", [150.0, 150.1, 150.2]),
    "DEC2000": ("1D", "deg", "pos.eq.dec;meta.main", [2.1, 2.2, 2.3]),
    "RMAG": ("1E", "mag", "phot.mag;em.opt.R", [20.0, 21.0, np.nan]),
}


def source_table() -> Made:
    primary = {**IDENTITY, "PRODCATG": "SCIENCE.SRCTBL", "FILTER": "R_SPEC"}
    header, columns = table(SOURCES)
    header |= {"EXTNAME": "CHIP1", **{key: PHOTOMETRY[key] for key in ("PHOTSYS", "ABMAGLIM", "ABMAGSAT", "PSF_FWHM",
                                                                       "PHOTZP", "PHOTZPER")}}  # fmt: skip
    return Made([primary, header], [None, columns])


FOOTPRINT = {
    # North-east of the field first, then south-east: counter-clockwise on the sky is north, east, south, west.
    "FPRA1A": 150.6, "FPDE1A": 2.7, "FPRA2A": 150.6, "FPDE2A": 1.7, "FPRA3A": 149.6, "FPDE3A": 1.7, "FPRA4A": 149.6,
    "FPDE4A": 2.7,
}  # fmt: skip


def _catalogue(prodcatg: str) -> Made:
    dropped = ("EXPTIME", "TEXPTIME", "NCOMBINE")
    primary = {key: value for key, value in IDENTITY.items() if key not in dropped}
    primary |= {"PRODCATG": prodcatg, "FILTER": "R_SPEC", "PHOTSYS": "AB", "ABMAGLIM": 22.0, "SKYSQDEG": 0.9,
                **FOOTPRINT}  # fmt: skip
    header, columns = table(SOURCES)
    return Made([primary, {**header, "EXTNAME": "PHASE3CATALOG"}], [None, columns])


def catalogue() -> Made:
    return _catalogue("SCIENCE.CATALOG")


def catalogue_tile() -> Made:
    return _catalogue("SCIENCE.CATALOGTILE")


def metadata_file(tiles: tuple[str, ...] = ("tile1.fits", "tile2.fits")) -> Made:
    made = _catalogue("SCIENCE.MCATALOG")
    made.headers[0] = {key: value for key, value in made.headers[0].items() if not key.startswith("PROV")}
    empty = {name: (form, unit, ucd, np.array(values)[:0]) for name, (form, unit, ucd, values) in SOURCES.items()}
    made.headers[1], made.data[1] = {**table(empty)[0], "EXTNAME": "PHASE3CATALOG"}, table(empty)[1]
    made.headers.append({"EXTNAME": "PHASE3FILELIST"})
    made.data.append(fits.ColDefs([fits.Column("ORIGFILE", "68A", array=np.array(tiles))]))
    return made


MAKERS: dict[str, Callable[[], Made]] = {
    "SCIENCE.IMAGE": image, "SCIENCE.IMAGE#MEF": image_mef, "SCIENCE.MEFIMAGE": pawprint,
    "SCIENCE.IMAGE.FLUXMAP": flux_map, "SCIENCE.SPECTRUM": spectrum, "SCIENCE.CUBE.IFS": cube,
    "SCIENCE.VISIBILITY": visibility, "SCIENCE.SRCTBL": source_table, "SCIENCE.CATALOG": catalogue,
    "SCIENCE.MCATALOG": metadata_file, "SCIENCE.CATALOGTILE": catalogue_tile,
}  # fmt: skip
