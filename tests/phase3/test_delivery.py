"""What the files of a delivery say of each other: cubes and their images, products and precursors, tiles."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from astropy.io import fits

from phase3.check import Asked, Report, check_files, check_together, find_files
from phase3.rules.model import Rules
from tests.phase3.made import NOW_MJD, Made, catalogue_tile, cube, flux_map, image, metadata_file, pixels, visibility

Delivered = Callable[[], dict[str, set[tuple[str, str]]]]


@pytest.fixture
def delivered(tmp_path: Path, rules: Rules) -> Delivered:
    """Check all that lies in the folder: file name to rules and codes found."""

    def check() -> dict[str, set[tuple[str, str]]]:
        found = find_files([tmp_path])
        reports: list[Report] = check_together(check_files(found, Asked(NOW_MJD), rules), found.others, rules)
        return {Path(report.path).name: {(f.rule, f.code) for f in report.findings} for report in reports}

    return check


def ancillary(folder: Path, name: str, category: str, *shape: int, **more: str) -> Path:
    return Made([{"PRODCATG": category, **more}], [pixels(*shape)], name).write(folder)


def named(made: Made, name: str, **header: object) -> Made:
    made.name = name
    made.headers[0] |= header
    return made


def test_a_cube_with_its_white_light_image_is_whole(tmp_path: Path, delivered: Delivered) -> None:
    named(cube(), "cube.fits").write(tmp_path)
    ancillary(tmp_path, "white.fits", "ANCILLARY.IMAGE.WHITELIGHT", 16, 20)
    assert delivered() == {"cube.fits": set(), "white.fits": set()}


def test_a_white_light_image_of_another_size_is_told(tmp_path: Path, delivered: Delivered) -> None:
    named(cube(), "cube.fits").write(tmp_path)
    ancillary(tmp_path, "white.fits", "ANCILLARY.IMAGE.WHITELIGHT", 8, 10)
    assert delivered() == {"cube.fits": {("C02", "white_light_size")}, "white.fits": set()}


def test_a_cube_with_another_image_lacks_its_white_light(tmp_path: Path, delivered: Delivered) -> None:
    named(cube(), "cube.fits").write(tmp_path)
    ancillary(tmp_path, "white.fits", "ANCILLARY.IMAGE", 16, 20)
    assert delivered()["cube.fits"] == {("C02", "white_light")}


def test_what_is_associated_must_be_delivered_and_what_is_ancillary_associated(
    tmp_path: Path, delivered: Delivered
) -> None:
    named(cube(), "cube.fits").write(tmp_path)
    ancillary(tmp_path, "whyte.fits", "ANCILLARY.IMAGE.WHITELIGHT", 16, 20)
    (tmp_path / "notes.txt").write_text("notes")
    assert delivered() == {
        "cube.fits": {("B02", "association_missing")},
        "whyte.fits": {("B02", "ancillary_alone")},
        "notes.txt": {("B02", "ancillary_alone")},
    }


def test_an_ancillary_file_has_none_of_its_own(tmp_path: Path, delivered: Delivered) -> None:
    named(cube(), "cube.fits").write(tmp_path)
    ancillary(tmp_path, "white.fits", "ANCILLARY.IMAGE.WHITELIGHT", 16, 20, ASSON1="cube.fits")
    assert ("B02", "association_nested") in delivered()["white.fits"]


def test_a_science_file_is_no_ancillary_file(tmp_path: Path, delivered: Delivered) -> None:
    named(image(), "one.fits", ASSON1="two.fits").write(tmp_path)
    named(image(), "two.fits").write(tmp_path)
    assert delivered() == {"one.fits": {("B02", "association_not_ancillary")}, "two.fits": set()}


def test_a_map_of_flux_needs_one_of_its_noise(tmp_path: Path, delivered: Delivered) -> None:
    named(flux_map(), "map.fits").write(tmp_path)
    ancillary(tmp_path, "rms.fits", "ANCILLARY.SRCMASK", 16, 20)
    assert delivered()["map.fits"] == {("B02", "noise_map_missing")}
    ancillary(tmp_path, "rms.fits", "ANCILLARY.RMSMAP", 16, 20)
    assert delivered() == {"map.fits": set(), "rms.fits": set()}


def test_files_that_are_not_fits_are_known_by_their_md5(tmp_path: Path, delivered: Delivered) -> None:
    for name in ("vis2.pdf", "t3.pdf"):
        (tmp_path / name).write_bytes(name.encode())
    made = named(visibility(), "vis.fits", ASSOM1=hashlib.md5(b"vis2.pdf").hexdigest())
    made.headers[0]["ASSOM2"] = hashlib.md5(b"t3.pdf").hexdigest().upper()
    made.write(tmp_path)
    assert delivered() == {"vis.fits": set()}
    (tmp_path / "t3.pdf").write_bytes(b"changed")
    assert delivered() == {"vis.fits": {("B02", "association_md5")}}


def test_names_are_unique_whatever_the_folder(tmp_path: Path, delivered: Delivered) -> None:
    (tmp_path / "night").mkdir()
    named(image(), "one.fits").write(tmp_path)
    named(image(), "one.fits").write(tmp_path / "night")
    assert delivered() == {"one.fits": {("F01", "file_name_twice")}}


def test_precursors_are_found_and_agree(tmp_path: Path, delivered: Delivered) -> None:
    first = {"MJD-END": 58_000.15, "TEXPTIME": 600.0}
    second = {"MJD-OBS": 58_000.2, "TEXPTIME": 600.0}
    named(image(), "one.fits", **first).write(tmp_path)
    named(image(), "two.fits", **second).write(tmp_path)
    stack = named(image(), "stack.fits", PROV1="one.fits", PROV2="two.fits")
    stack.write(tmp_path)
    assert delivered()["stack.fits"] == set()
    stack.headers[0]["MJD-OBS"] = 58_000.1
    stack.headers[0]["OBID1"] = 7
    stack.write(tmp_path)
    assert delivered()["stack.fits"] == {("B01", "precursors_differ")}
    stack.headers[0]["PROV2"] = "three.fits"
    stack.write(tmp_path)
    assert delivered()["stack.fits"] == {("B01", "precursor_unknown")}
    stack.headers[0]["PROV2"] = "stack.fits"
    stack.write(tmp_path)
    assert ("B01", "precursor_refused") in delivered()["stack.fits"]


def _tiles(folder: Path) -> tuple[Made, Made, Made]:
    meta = named(metadata_file(), "meta.fits", SKYSQDEG=0.9)
    tiles = tuple(named(catalogue_tile(), f"tile{i}.fits", SKYSQDEG=0.45) for i in (1, 2))
    for made in (meta, *tiles):
        made.write(folder)
    return meta, *tiles


def test_a_catalogue_in_tiles_is_one(tmp_path: Path, delivered: Delivered) -> None:
    _tiles(tmp_path)
    assert delivered() == {"meta.fits": set(), "tile1.fits": set(), "tile2.fits": set()}


def test_tiles_that_differ_or_are_missing_are_told(tmp_path: Path, delivered: Delivered) -> None:
    meta, first, second = _tiles(tmp_path)
    first.headers[1]["TUNIT4"] = ""
    first.write(tmp_path)
    named(second, "tile2.fits", **{"MJD-END": 58_001.0}).write(tmp_path)
    found = delivered()
    assert found["tile1.fits"] == {("K05", "tile_columns")}
    assert found["meta.fits"] == {("K05", "tiles_differ")}
    (tmp_path / "tile2.fits").unlink()
    assert delivered()["meta.fits"] == {("K05", "tile_missing")}
    assert fits.getval(tmp_path / "meta.fits", "EXTNAME", 2) == "PHASE3FILELIST"
    assert meta.name == "meta.fits"
