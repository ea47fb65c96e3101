"""Catalogues read from files of every form, held against astropy, pyarrow and numpy."""

import gzip
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import FK4, Angle, SkyCoord
from astropy.io import fits
from astropy.io.votable import parse_single_table
from astropy.io.votable.ucd import check_ucd
from astropy.table import Table as AstropyTable
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalogues.kinds import recognise
from ingest.catalogues.metadata import vounit
from ingest.catalogues.names import RESERVED, unique_identifiers
from ingest.catalogues.reading import Catalogue, NoTableError, arrow_type, read_catalogue, table_identifier
from tests.shared import shared_data


def column(catalogue: Catalogue, name: str) -> pa.ChunkedArray:
    return pa.Table.from_batches(list(catalogue.batches)).column(name)


@pytest.mark.parametrize(
    ("name", "rows", "ra", "dec"),
    [
        ("2mass_psc_cone.vot", 683, "raj2000", "dej2000"),
        ("brightstars.fits", 3344, "ra", "dec"),
        ("fermi_extended_14yr.fits", 82, "raj2000", "dej2000"),
        ("gaia_dr3_bright_g8.6.parquet", 117945, "ra", "dec"),
        ("gaia_tutorial_results.fits", 4876, "ra", "dec"),
        ("hgps_catalog_v1.fits.gz", 78, "raj2000", "dej2000"),
        ("hipparcos2_I_311.fits", 117955, "raicrs", "deicrs"),
        ("openngc_NGC.csv.gz", 13969, "ra_deg", "dec_deg"),
        ("sdss_dr9_cone.vot.gz", 12405, "ra_icrs", "de_icrs"),
        ("tycho2_vt9.8.csv.gz", 231224, "ra", "dec"),
        ("uzc2000.fits", 19365, "ra", "dec"),
    ],
)
def test_every_shared_catalogue_has_all_its_rows_and_exactly_one_main_position(
    name: str, rows: int, ra: str, dec: str
) -> None:
    catalogue = read_catalogue(shared_data("catalogues", name))
    batches = list(catalogue.batches)
    assert sum(batch.num_rows for batch in batches) == catalogue.table.rows == rows
    assert (catalogue.ra, catalogue.dec) == (ra, dec)
    ucds = [each.ucd for each in catalogue.table.columns]
    assert ucds.count("pos.eq.ra;meta.main") == ucds.count("pos.eq.dec;meta.main") == 1
    assert ucds.count("meta.id;meta.main") <= 1
    lon = pa.Table.from_batches(batches).column(ra).drop_null().to_numpy()
    lat = pa.Table.from_batches(batches).column(dec).drop_null().to_numpy()
    assert ((lon >= 0) & (lon < 360) & (np.abs(lat) <= 90)).all()
    for each in catalogue.table.columns:
        assert batches[0].schema.field(each.name).type == arrow_type(each.datatype, each.arraysize)
        assert each.ucd is None or check_ucd(each.ucd.lower(), check_controlled_vocabulary=True)


def test_the_rows_of_a_fits_catalogue_are_those_that_astropy_reads() -> None:
    path = shared_data("catalogues", "hipparcos2_I_311.fits")
    catalogue = read_catalogue(path, chunk_rows=10_007)
    read = pa.Table.from_batches(list(catalogue.batches))
    with fits.open(path) as hdus:
        data = hdus[1].data
        for ours, theirs in zip(read.column_names, data.columns.names, strict=True):
            assert np.array_equal(read.column(ours).to_numpy(), data[theirs], equal_nan=True), theirs


def test_the_catalogue_among_several_tables_is_that_of_the_sources() -> None:
    catalogue = read_catalogue(shared_data("catalogues", "hgps_catalog_v1.fits.gz"))
    with fits.open(shared_data("catalogues", "hgps_catalog_v1.fits.gz")) as hdus:
        names = [str(name).strip() for name in hdus["HGPS_SOURCES"].data["Source_Name"]]
    assert column(catalogue, "source_name").to_pylist() == names
    assert catalogue.table.column("raj2000").description is not None


def test_a_votable_streamed_row_by_row_is_what_astropy_reads_whole() -> None:
    path = shared_data("catalogues", "sdss_dr9_cone.vot.gz")
    catalogue = read_catalogue(path, chunk_rows=1000)
    with gzip.open(path) as file:
        theirs = parse_single_table(file).array
    read = pa.Table.from_batches(list(catalogue.batches))
    for name in ("RA_ICRS", "gmag", "cl"):
        ours = read.column(name.lower())
        assert ours.null_count == int(np.ma.getmaskarray(theirs[name]).sum())
        assert np.array_equal(ours.drop_null().to_numpy(), theirs[name].compressed())


def test_sexagesimal_text_becomes_degrees_as_astropy_reads_it() -> None:
    catalogue = read_catalogue(shared_data("catalogues", "openngc_NGC.csv.gz"))
    read = pa.Table.from_batches(list(catalogue.batches)).to_pydict()
    rows = range(0, len(read["ra"]), 97)
    for row in rows:
        if read["ra"][row] is None:
            assert read["ra_deg"][row] is None
            continue
        assert read["ra_deg"][row] == pytest.approx(Angle(read["ra"][row], "hourangle").deg, abs=1e-9)
        assert read["dec_deg"][row] == pytest.approx(Angle(read["dec"][row], "deg").deg, abs=1e-9)
    assert catalogue.coverage.placed == catalogue.coverage.rows - sum(each is None for each in read["ra"])


def test_the_circle_of_a_field_holds_every_row_and_is_no_wider_than_it_must() -> None:
    catalogue = read_catalogue(shared_data("catalogues", "gaia_tutorial_results.fits"))
    circle = catalogue.coverage.circle
    assert circle is not None
    stars = SkyCoord(column(catalogue, "ra").to_numpy(), column(catalogue, "dec").to_numpy(), unit="deg")
    farthest = stars.separation(SkyCoord(circle.ra, circle.dec, unit="deg")).deg.max()
    assert farthest <= circle.radius <= farthest * 1.01


def test_a_catalogue_over_all_the_sky_claims_no_circle() -> None:
    coverage = read_catalogue(shared_data("catalogues", "hipparcos2_I_311.fits")).coverage
    assert coverage.whole_sky
    assert coverage.circle is None


def made_table(path: Path) -> Path:
    """A FITS table of every kind of column, written by astropy."""
    table = AstropyTable()
    table["RA"] = np.array([0.5, 359.9, 12.0])
    table["DEC"] = np.array([-90.0, 90.0, 0.25])
    table["Size"] = np.array([1.5, np.nan, -0.0])
    table["flag"] = np.array([True, False, True])
    table["matrix"] = np.arange(12, dtype=np.int16).reshape(3, 2, 2)
    table["name"] = ["alpha  ", "b", ""]
    table["u16"] = np.array([0, 65535, 7], np.uint16)
    table["counts"] = AstropyTable.MaskedColumn([1, 2, 3], mask=[False, True, False], dtype=np.int32)
    table["counts"].fill_value = -99
    table["z"] = np.array([1 + 2j, 3j, 4], np.complex64)
    hdu = fits.table_to_hdu(table)
    ragged = fits.Column("ragged", "PE()", array=np.array([[1.0], [2.0, 3.0], []], dtype=object))
    scaled = fits.Column("scaled", "I", array=np.array([0, 1, 4], np.int16))
    bits = fits.Column("bits", "11X", array=np.array([[True, False] * 5 + [True]] * 3))
    whole = fits.BinTableHDU.from_columns(hdu.columns + fits.ColDefs([ragged, scaled, bits]))
    whole.header["TNULL8"] = -99
    whole.header["TSCAL11"], whole.header["TZERO11"] = 0.5, 10.0
    whole.header["TCOMM3"] = "how large"
    whole.header["TUNIT3"] = "ANGSTROMS"
    whole.writeto(path)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_every_kind_of_fits_column_keeps_its_values(tmp_path: Path, packed: bool) -> None:
    path = made_table(tmp_path / "made.fits")
    if packed:
        path = tmp_path / "packed.fits.gz"
        path.write_bytes(gzip.compress((tmp_path / "made.fits").read_bytes()))
    catalogue = read_catalogue(path, chunk_rows=2)
    read = pa.Table.from_batches(list(catalogue.batches)).to_pydict()
    assert read["flag"] == [True, False, True]
    assert read["matrix"] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert read["name"] == ["alpha", "b", ""] or read["name"] == ["alpha", "b", None]
    assert read["u16"] == [0, 65535, 7]
    assert read["counts"] == [1, None, 3]
    assert read["ragged"] == [[1.0], [2.0, 3.0], []]
    assert read["scaled"] == [10.0, 10.5, 12.0]
    assert read["bits"][1] == [True, False] * 5 + [True]
    assert math.isnan(read["size_"][1])
    assert "z" not in read
    assert [finding.where for finding in catalogue.findings if finding.code == "column_not_published"] == ["z"]
    assert catalogue.table.column("matrix").arraysize == "2x2"
    size = catalogue.table.column("size_")
    assert (size.unit, size.description) == ("Angstrom", "how large (in the file: Size)")


def test_hours_and_old_equinoxes_become_icrs_degrees(tmp_path: Path) -> None:
    table = AstropyTable({"RA": [1.5, 23.99], "DEC": [10.0, -20.0]}, units={"RA": "h", "DEC": "deg"})
    hdu = fits.table_to_hdu(table)
    hdu.header["RADESYS"], hdu.header["EQUINOX"] = "FK4", 1950.0
    hdu.writeto(tmp_path / "old.fits")
    catalogue = read_catalogue(tmp_path / "old.fits")
    epoch = Time(1950, format="byear")
    sky = SkyCoord([22.5, 359.85], [10.0, -20.0], unit="deg", frame=FK4(equinox=epoch, obstime=epoch)).icrs
    assert column(catalogue, "ra_deg").to_pylist() == pytest.approx(sky.ra.deg.tolist(), abs=1e-9)
    assert column(catalogue, "dec_deg").to_pylist() == pytest.approx(sky.dec.deg.tolist(), abs=1e-9)
    assert catalogue.table.column("ra").ucd is None


def test_positions_out_of_range_are_brought_there_or_become_null_and_are_told(tmp_path: Path) -> None:
    (tmp_path / "wild.csv").write_text("id,ra,dec\n1,-10.5,3\n2,370,4\n3,20,-99\n4,,\n")
    catalogue = read_catalogue(tmp_path / "wild.csv")
    assert (catalogue.ra, catalogue.dec) == ("ra_deg", "dec_deg")
    assert column(catalogue, "ra_deg").to_pylist() == [349.5, 10.0, None, None]
    assert [finding.code for finding in catalogue.findings] == ["positions_out_of_range"]


def test_text_columns_get_the_narrowest_type_that_holds_all_their_cells(tmp_path: Path) -> None:
    lines = ["ra,dec,code,big,flag,mixed,empty,flux [Jy]"]
    lines += ["1,2,007,5000000000,true,1,,1e-3", "3,4.5,010,1,false,x,,nan", "5,6,011,,true,2,,"]
    (tmp_path / "t.csv").write_text("# a comment\n" + "\n".join(lines) + "\n")
    catalogue = read_catalogue(tmp_path / "t.csv", chunk_rows=2)
    types = {each.name: each.datatype for each in catalogue.table.columns}
    assert types == {"ra": "int", "dec": "double", "code": "char", "big": "long", "flag": "boolean", "mixed": "char",
                     "empty": "char", "flux": "double"}  # fmt: skip
    assert catalogue.table.column("flux").unit == "Jy"
    assert column(catalogue, "code").to_pylist() == ["007", "010", "011"]
    assert column(catalogue, "big").to_pylist() == [5000000000, 1, None]
    flux = column(catalogue, "flux").to_pylist()
    assert flux[0] == 1e-3
    assert math.isnan(flux[1])
    assert flux[2] is None


def test_ecsv_tells_units_and_descriptions(tmp_path: Path) -> None:
    table = AstropyTable({"ra": [1.0], "dec": [2.0], "pm": [3.5]}, units={"pm": "mas / yr"})
    table["pm"].description = "how fast"
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    pm = read_catalogue(tmp_path / "t.ecsv").table.column("pm")
    assert (pm.unit, pm.description) == ("mas.yr**-1", "how fast")


def test_a_binary_votable_reads_as_a_text_one(tmp_path: Path) -> None:
    table = AstropyTable({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "name": ["a", "bc"], "n": np.array([5, 6], np.int16)})
    read = []
    for form in ("tabledata", "binary", "binary2"):
        table.write(tmp_path / f"{form}.vot", format="votable", tabledata_format=form)
        read.append(pa.Table.from_batches(list(read_catalogue(tmp_path / f"{form}.vot").batches)).to_pydict())
    assert read[0] == read[1] == read[2] == {"ra": [1.0, 2.0], "dec": [3.0, 4.0], "name": ["a", "bc"], "n": [5, 6]}


@given(st.lists(st.text(max_size=80), max_size=12))
@settings(max_examples=300, deadline=None)
def test_any_names_become_distinct_identifiers_that_no_one_need_quote(names: list[str]) -> None:
    made = unique_identifiers(names)
    assert len(set(made)) == len(made) == len(names)
    for name in made:
        assert name.isascii()
        assert name.replace("_", "").isalnum()
        assert name[0].isalpha()
        assert name == name.lower()
        assert name.upper() not in RESERVED
        assert len(name) <= 63


def test_names_that_are_legal_stay_as_they_are_and_reserved_ones_are_marked() -> None:
    names = ["_RAJ2000", "RAJ2000", "B-V", "2MASS", "Size", "xmin", "dec", "position"]
    expected = ("raj2000_2", "raj2000", "b_v", "c_2mass", "size_", "xmin_", "dec", "position_")
    assert unique_identifiers(names) == expected
    assert table_identifier("tycho2_vt9.8.csv.gz") == "cat.tycho2_vt9_8"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("mas yr-1", "mas.yr**-1"),
        ("KM/S", "km.s**-1"),
        ("photon/cm**2/s", "photon.s**-1.cm**-2"),
        ("NONE", None),
        ("furlongs", None),
    ],
)
def test_units_are_written_as_vounits_or_not_at_all(written: str, meant: str | None) -> None:
    assert vounit(written) == meant


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (("catalogues", "hess_dl3_dr1", "hess_dl3_dr1_obs_id_023523.fits.gz"), "event"),
        (("catalogues", "hess_dl3_dr1", "obs-index.fits.gz"), "index"),
        (("catalogues", "lightcurve_tess_tic25155310.fits.gz",), "timeseries"),
        (("spectra", "alfalfa_hi_sp.fits"), "spectrum"),
        (("spectra", "sdss_ngc3073_dr18.fits"), "spectrum"),
        (("spectra", "interferometry", "AMBER_DelSco_2010-04-15.fits"), "visibility"),
        (("allsky", "wmap_V_7yr_nside32.fits"), "healpix"),
        (("allsky", "mocs", "P-SDSS9-r.fits"), "moc"),
        (("catalogues", "uzc2000.fits"), "catalogue"),
        (("malformed", "as_found", "longstrn_xte.fits"), "table"),
        (("malformed", "as_found", "zerowidth.fits"), "table"),
    ],
)  # fmt: skip
def test_a_table_is_recognised_for_what_it_is(parts: tuple[str, ...], kind: str) -> None:
    assert recognise(shared_data(*parts)) == kind


def test_arrays_in_a_heap_behind_a_gap_are_those_that_astropy_reads() -> None:
    path = shared_data("malformed", "as_found", "theap-gap.fits")
    ours = column(read_catalogue(path, chunk_rows=77), "arr").to_pylist()
    with fits.open(path) as hdus:
        assert ours == [np.asarray(cell).tolist() for cell in hdus[1].data["arr"]]


def test_a_table_cut_short_is_refused_with_the_row_where_it_ends(tmp_path: Path) -> None:
    whole = shared_data("catalogues", "uzc2000.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match=r"row|truncated|read"):
        list(read_catalogue(tmp_path / "cut.fits").batches)


def test_a_file_without_a_table_is_no_catalogue(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("# only a comment\n")
    with pytest.raises(NoTableError):
        read_catalogue(tmp_path / "empty.csv")
