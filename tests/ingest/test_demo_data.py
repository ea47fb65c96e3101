"""The demo sky: what its page says of its files is true, and all of them can be described."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest
from astropy.io import fits

from archive.vo.regions import Circle, Polygon
from ingest.describe import Description
from tests.ingest.described import described

DEMO = Path(__file__).resolve().parents[2] / "demo"
FILES = sorted(path for path in (DEMO / "data").rglob("*") if path.is_file() and path.name != "README.md")
ENTRY = re.compile(r"^### (?P<name>.+)\n(?P<body>(?:- .*\n?)+)", re.MULTILINE)


@pytest.fixture(scope="module")
def all_described() -> dict[str, Description]:
    return {path.name: described(path, path.parent.name) for path in FILES}


def test_the_demo_is_thirty_to_forty_files_of_twenty_five_megabytes_at_most() -> None:
    assert 30 <= len(FILES) <= 40
    assert sum(path.stat().st_size for path in FILES) < 25_000_000
    assert all(path.stat().st_size < 5_000_000 for path in FILES)


def test_the_page_tells_origin_terms_size_and_checksum_of_every_file() -> None:
    page = (DEMO / "data" / "README.md").read_text(encoding="utf-8")
    told = {match["name"]: match["body"] for match in ENTRY.finditer(page)}
    assert sorted(told) == sorted(path.name for path in FILES)
    for path in FILES:
        body = told[path.name]
        assert "- Origin: " in body
        terms = re.search(r"- Terms: (.+)", body)
        assert terms is not None
        assert re.search(r"BSD|MIT|GPL|CC0|CC[ -]BY|AFL|Apache|public domain", terms[1]), (path.name, terms[1])
        content = path.read_bytes()
        assert f"- Size {len(content)} bytes, sha256 `{hashlib.sha256(content).hexdigest()}`" in body


def test_every_folder_is_a_collection_with_title_and_description() -> None:
    collections = tomllib.loads((DEMO / "collections.toml").read_text(encoding="utf-8"))
    assert {name: DEMO / entry["folder"] for name, entry in collections.items()} == {
        path.name: path for path in (DEMO / "data").iterdir() if path.is_dir()
    }
    assert all(entry["title"] and entry["description"] for entry in collections.values())


def test_every_file_is_described_and_none_has_an_error(all_described: dict[str, Description]) -> None:
    for name, description in all_described.items():
        assert [finding for finding in description.findings if finding.level == "error"] == [], name
    ids = [description.product.file_id for description in all_described.values()]
    assert len(set(ids)) == len(ids)


def test_the_demo_fills_obscore_with_many_kinds(all_described: dict[str, Description]) -> None:
    products = [description.product for description in all_described.values()]
    rows = [
        each for each in products
        if each.kind in ("raw", "product", "catalogue") and (each.dp_cat or "SCIENCE") == "SCIENCE"
    ]  # fmt: skip
    assert len(rows) >= 25
    images = [each for each in rows if each.dataproduct_type == "image"]
    assert sum(isinstance(each.s_region, Circle | Polygon) for each in images) >= 15
    assert {"image", "cube", "spectrum", "visibility", "measurements"} <= {each.dataproduct_type for each in rows}
    tables = [each.catalogue.table for each in all_described.values() if each.catalogue is not None]
    assert max(table.rows for table in tables) > 100_000
    assert len({table.name for table in tables}) == len(tables)


def test_the_demo_shows_many_projections_and_a_tile_compressed_mosaic() -> None:
    projections, compressed = set(), 0
    for path in FILES:
        if ".fits" not in path.name:
            continue
        with fits.open(path, disable_image_compression=True) as hdus:
            for hdu in hdus:
                compressed += bool(hdu.header.get("ZIMAGE"))
                ctype = str(hdu.header.get("CTYPE1", ""))
                if "-" in ctype and len(ctype) >= 8:
                    # GLS is the old name of SFL (FITS 4.0 §8.3.2).
                    projections.add(
                        ctype[5:8].strip("-").replace("GLS", "SFL") + ("-SIP" if ctype.endswith("SIP") else "")
                    )
    assert {"TAN", "TAN-SIP", "SIN", "AZP", "ZPN", "CAR", "SFL", "AIT"} <= projections
    assert compressed >= 4
