"""HiPS as clients get them: HipsLint of CDS over a served archive, rights, validators, what is not there."""

import re
from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import httpx
import numpy as np
import pytest
from astropy.io import fits
from mocpy import MOC

from archive.vo.errors import NotFoundError, UsageError
from hips import properties
from hips.properties import About
from hips.service import HipsService, gathered_holdings, propose
from hips.shelf import Shelf
from ingest.commands import ingest_service
from ingest.service import offers
from tests.databases import DATABASES
from tests.hips.lint import hipslint
from tests.hips.skies import stars, tan_header
from tests.served import Served, served

SIDE, SCALE = 256, 20 / 3600


def take_in(archive: Served, folder: Path, name: str, ra: float, release_date: str | None = None) -> str:
    header = tan_header(ra, 5.0, SCALE, SIDE)
    header.update({"DATE-OBS": "2021-03-04T05:06:07", "EXPTIME": 30.0, "OBJECT": name, "FILTER": "R"})
    if release_date:
        header["RELEASE"] = release_date
    path = folder / f"{name}.fits"
    fits.writeto(path, stars(header, SIDE, np.array([ra]), np.array([5.0])), header)
    [report] = [
        ingest_service(archive.archive).take(each)
        for each in offers([path], collection="survey", root=None, default_collection="x")
    ]
    assert report.outcome == "accepted", report
    if release_date:
        which = f"WHERE file_id = '{report.file_id}'"
        archive.change(f"UPDATE arc.file SET rights = 'proprietary', release_date = '{release_date}' {which}")
    return str(report.file_id)


def publish(archive: Served, name: str, *names: str, again: bool = False) -> None:
    opened = archive.archive
    gathered = gathered_holdings(opened.engines.writer, opened.store, names)
    shelf = Shelf(opened.settings.hips_path)
    about = About("A survey", copyright="Nobody's", licence="CC0")
    HipsService(shelf, authority="made.example").build(
        propose(name, gathered, about), threads=2, memory_bytes=1 << 28, advance=lambda *_: None, again=again
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hips")
    with DATABASES["embedded"]() as postgres, served(postgres, folder) as running:
        take_in(running, folder, "open", 150.0)
        take_in(running, folder, "closed", 200.0, release_date="2999-01-01")
        publish(running, "survey", "survey")
        yield running


def test_hipslint_finds_no_fault(archive: Served) -> None:
    """What it says of the list as a whole is tests/protocols/test_hips.py's."""
    told = hipslint(f"{archive.url}/hips/hipslist")
    assert not told.errors, told.text
    assert all("recommended keyword missing [em_m" in line for line in told.warnings), told.text
    [(did, verdict)] = told.verdicts.items()
    assert did == "made.example/hips/survey" and re.match(r"(fully )?IVOA HiPS 1\.0 compatible", verdict), told.text


def test_what_not_everyone_may_have_enters_no_tile(archive: Served) -> None:
    moc = MOC.from_fits(f"{archive.url}/hips/survey/Moc.fits")
    assert moc.contains_lonlat([150, 200] * u.deg, [5, 5] * u.deg).tolist() == [True, False]


def test_properties_and_list_agree_and_know_the_public_address(archive: Served) -> None:
    told = properties.parsed(httpx.get(f"{archive.url}/hips/survey/properties").text)
    assert told["hips_service_url"] == f"{archive.url}/hips/survey"
    assert told["creator_did"] == "ivo://made.example/hips/survey"
    assert float(told["t_min"]) == pytest.approx(59277.2126, abs=1e-3)
    records = httpx.get(f"{archive.url}/hips/hipslist").text.split("\n\n")
    [listed] = [properties.parsed(record) for record in records]
    assert set(properties.LISTED) <= set(listed)
    assert all(told[key] == value for key, value in listed.items())
    stored = Path(archive.archive.settings.hips_path, "survey", "current", "properties").read_text()
    assert "hips_service_url" not in stored


def test_what_is_not_there_is_said_so_at_once(archive: Served) -> None:
    for path in ("survey/Norder3/Dir0/Npix1.fits", "survey/Norder3/Dir0/Npix99999.fits", "nothing/properties",
                 "survey/plan.json", "survey/tiles.done", "..%2f..%2foperator.token", "survey/..%2f.lock",
                 "%00/properties", ".lock", "current"):  # fmt: skip
        answer = httpx.get(f"{archive.url}/hips/{path}")
        assert answer.status_code == 404, path
        assert "html" not in answer.headers["content-type"]


def test_files_have_types_validators_and_are_open_to_pages_of_others(archive: Served) -> None:
    root = f"{archive.url}/hips/survey"
    folder = archive.archive.settings.hips_path / "survey" / "current"
    tile = next(folder.glob("Norder3/Dir*/Npix*.png")).relative_to(folder)
    kinds = {
        str(tile): "image/png", str(tile.with_suffix(".fits")): "application/fits", "preview.jpg": "image/jpeg",
        "Moc.fits": "application/fits", "Norder3/Allsky.png": "image/png",
    }  # fmt: skip
    for path, kind in kinds.items():
        answer = httpx.get(f"{root}/{path}")
        assert answer.headers["content-type"] == kind and answer.content == (folder / path).read_bytes()
        assert answer.headers["access-control-allow-origin"] == "*" and "cache-control" in answer.headers
        again = httpx.get(f"{root}/{path}", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304 and not again.content
        assert httpx.head(f"{root}/{path}").headers["content-length"] == str(len(answer.content))
    for address in (root, f"{root}/", f"{root}/index.html"):
        page = httpx.get(address)
        assert page.headers["content-type"].startswith("text/html")
        assert f'<base href="{root}/">' in page.text
    assert "hipslist-1.0" in httpx.get(f"{archive.url}/hips/capabilities").text


def test_collections_that_hold_nothing_to_show_are_told_apart(archive: Served) -> None:
    opened = archive.archive
    closed = archive.ask("SELECT file_id FROM arc.file WHERE rights = 'proprietary'")[0][0]
    with pytest.raises(NotFoundError, match="nothing of that name"):
        gathered_holdings(opened.engines.writer, opened.store, ["nowhere"])
    with pytest.raises(UsageError, match="none of the images is public"):
        gathered_holdings(opened.engines.writer, opened.store, [closed])
    assert gathered_holdings(opened.engines.writer, opened.store, ["survey"]).withheld == 1


def test_a_build_that_is_published_anew_takes_over_and_one_withdrawn_is_gone(archive: Served) -> None:
    publish(archive, "other", "survey")
    first = httpx.get(f"{archive.url}/hips/other/Moc.fits").headers["etag"]
    publish(archive, "other", "survey", again=True)
    assert httpx.get(f"{archive.url}/hips/other/Moc.fits").headers["etag"] == first  # the same plan, the same bytes
    Shelf(archive.archive.settings.hips_path).withdraw("other")
    assert httpx.get(f"{archive.url}/hips/other/Moc.fits").status_code == 404
