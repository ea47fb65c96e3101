"""pyvo against the live demo: what an astronomer does in a notebook."""

import gzip
import hashlib
from datetime import datetime, timedelta
from io import BytesIO

import httpx
import numpy as np
import pytest
import pyvo
from astropy.io import fits

from tests.live import Live


@pytest.fixture(scope="module")
def tap(live: Live) -> pyvo.dal.TAPService:
    return pyvo.dal.TAPService(f"{live.url}/tap")


def test_the_demo_has_the_rows_it_promises(tap: pyvo.dal.TAPService) -> None:
    rows = tap.search("SELECT COUNT(*) AS n FROM ivoa.obscore")[0]["n"]
    images = tap.search(
        "SELECT COUNT(*) AS n FROM ivoa.obscore WHERE dataproduct_type = 'image' AND s_region IS NOT NULL"
    )[0]["n"]
    assert rows >= 25
    assert images >= 15


def test_a_cone_on_obscore_finds_what_a_loop_over_all_rows_finds(tap: pyvo.dal.TAPService) -> None:
    everything = tap.search("SELECT dp_id, s_ra, s_dec FROM ivoa.obscore WHERE s_ra IS NOT NULL").to_table()
    ra, dec = float(everything["s_ra"][0]), float(everything["s_dec"][0])
    radius = 20.0
    expected = {
        str(row["dp_id"])
        for row in everything
        if separation_deg(ra, dec, float(row["s_ra"]), float(row["s_dec"])) <= radius
    }
    for condition in (
        f"1 = CONTAINS(POINT(s_ra, s_dec), CIRCLE({ra}, {dec}, {radius}))",
        f"CONTAINS(POINT('ICRS', s_ra, s_dec), CIRCLE('ICRS', {ra}, {dec}, {radius})) = 1",
        f"DISTANCE(s_ra, s_dec, {ra}, {dec}) <= {radius}",
        f"{radius} >= DISTANCE(POINT({ra}, {dec}), POINT(s_ra, s_dec))",
    ):
        found = tap.search(f"SELECT dp_id FROM ivoa.obscore WHERE {condition}")
        assert {str(row["dp_id"]) for row in found} == expected, condition


def separation_deg(ra1: float, dec1: float, ra2: float, dec2: float) -> float:
    """Great-circle distance by vectors, independent of the archive."""
    a, b = (
        np.array([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)])
        for r, d in ((np.radians(ra1), np.radians(dec1)), (np.radians(ra2), np.radians(dec2)))
    )
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def test_footprints_contain_the_positions_of_their_images(tap: pyvo.dal.TAPService) -> None:
    counts = tap.search(
        "SELECT COUNT(*) AS n, SUM(CONTAINS(POINT(s_ra, s_dec), s_region)) AS inside FROM ivoa.obscore "
        "WHERE dataproduct_type = 'image' AND s_region IS NOT NULL"
    )[0]
    assert counts["n"] == counts["inside"] > 0


def test_an_async_job_runs_and_gives_the_rows_of_the_sync_query(tap: pyvo.dal.TAPService) -> None:
    query = "SELECT TOP 5 dp_id, s_ra FROM ivoa.obscore ORDER BY dp_id"
    job = tap.submit_job(query)
    job.run().wait(phases=["COMPLETED", "ERROR"], timeout=60)
    job.raise_if_error()
    assert job.phase == "COMPLETED"
    assert job.result_uri.endswith("/results/result")
    rows = [str(row["dp_id"]) for row in job.fetch_result()]
    url = job.url
    job.delete()
    assert rows == [str(row["dp_id"]) for row in tap.search(query)]
    assert httpx.get(url).status_code == 404


def test_a_job_is_quoted_by_the_planner_before_it_is_run(tap: pyvo.dal.TAPService) -> None:
    from_all = ", ".join(f"tap_schema.columns AS c{number}" for number in range(4))
    queries = ("SELECT TOP 1 table_name FROM tap_schema.tables", f"SELECT COUNT(*) FROM {from_all}", "SELECT nothing")
    jobs = [tap.submit_job(query) for query in queries]
    short, long, wrong = (httpx.get(f"{job.url}/quote").text for job in jobs)
    for job in jobs:
        job.delete()
    assert datetime.fromisoformat(long) - datetime.fromisoformat(short) > timedelta(minutes=5)
    assert wrong == ""


def test_a_failing_async_job_ends_in_error_with_the_reason(tap: pyvo.dal.TAPService) -> None:
    job = tap.submit_job("SELECT nothing_like_it FROM ivoa.obscore")
    job.run().wait(phases=["COMPLETED", "ERROR"], timeout=60)
    assert job.phase == "ERROR"
    with pytest.raises(pyvo.dal.DALQueryError, match="nothing_like_it"):
        job.raise_if_error()
    job.delete()


def test_tables_are_described_with_units_and_ucds(tap: pyvo.dal.TAPService) -> None:
    tables = tap.tables
    assert {"ivoa.obscore", "tap_schema.columns", "arc.file"} <= set(tables.keys())
    columns = {column.name: column for column in tables["ivoa.obscore"].columns}
    assert columns["em_min"].unit == "m"
    assert columns["s_ra"].ucd == "pos.eq.ra"
    assert len(tap.examples) >= 3


def test_every_example_runs(tap: pyvo.dal.TAPService) -> None:
    for example in tap.examples:
        example.execute()


def test_data_links_lead_to_the_bytes_of_this(tap: pyvo.dal.TAPService) -> None:
    found = tap.search("SELECT TOP 3 * FROM ivoa.obscore WHERE dataproduct_type = 'image' ORDER BY access_estsize")
    seen = 0
    for links in found.iter_datalinks():
        this = next(iter(links.bysemantics("#this", include_narrower=False)))
        body = httpx.get(this["access_url"])
        assert body.status_code == 200
        assert len(body.content) == this["content_length"]
        assert body.headers["etag"].strip('"') == hashlib.sha256(body.content).hexdigest()
        seen += 1
    assert seen == 3


def test_a_result_with_publisher_dids_leads_to_datalink_under_whatever_name_they_have(
    tap: pyvo.dal.TAPService,
) -> None:
    """TAP-26, DataLink 1.1 §4: no access_url was selected; the service descriptor says where to ask."""
    for select in ("obs_publisher_did", "obs_id, obs_publisher_did AS did"):
        found = tap.search(f"SELECT TOP 2 {select} FROM ivoa.obscore")
        links = list(found.iter_datalinks())
        assert len(links) == 2
        assert all("#this" in [link.semantics for link in each] for each in links)
    assert not list(tap.search("SELECT TOP 1 obs_id FROM ivoa.obscore").iter_datalinks())


def test_this_is_a_fits_file_that_astropy_opens(tap: pyvo.dal.TAPService) -> None:
    """By the link itself: pyvo's getdataset() first fetches the vocabulary of semantics from ivoa.net."""
    record = tap.search("SELECT TOP 1 * FROM ivoa.obscore WHERE dataproduct_type = 'spectrum'")[0]
    this = next(iter(record.getdatalink().bysemantics("#this", include_narrower=False)))
    body = httpx.get(this["access_url"]).content
    with fits.open(BytesIO(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)) as hdus:
        assert sum(len(hdu.header) for hdu in hdus) > 20


def test_an_uploaded_table_joins_with_the_holdings(tap: pyvo.dal.TAPService) -> None:
    mine = tap.search("SELECT TOP 10 dp_id AS name, s_ra AS ra, s_dec AS dec FROM ivoa.obscore WHERE s_ra IS NOT NULL")
    found = tap.run_sync(
        "SELECT u.name, o.dp_id FROM TAP_UPLOAD.mine AS u JOIN ivoa.obscore AS o "
        "ON 1 = CONTAINS(POINT(o.s_ra, o.s_dec), CIRCLE(u.ra, u.dec, 0.0001))",
        uploads={"mine": mine.to_table()},
    )
    assert {str(row["name"]) for row in mine} <= {str(row["dp_id"]) for row in found}


def test_rows_that_were_cut_are_told_and_rows_that_were_not_are_not(tap: pyvo.dal.TAPService) -> None:
    total = int(tap.search("SELECT COUNT(*) AS n FROM ivoa.obscore")[0]["n"])
    for maxrec, cut in ((total - 1, True), (total, False), (total + 1, False)):
        found = tap.search("SELECT dp_id FROM ivoa.obscore", maxrec=maxrec)
        assert len(found) == min(maxrec, total)
        assert found.query_status == ("OVERFLOW" if cut else "OK"), maxrec


def test_a_mistake_reaches_the_user_with_its_place_and_a_suggestion(tap: pyvo.dal.TAPService) -> None:
    with pytest.raises(pyvo.dal.DALQueryError, match="line 1, column 10"):
        tap.search("SELECT * FORM ivoa.obscore")
    with pytest.raises(pyvo.dal.DALQueryError, match="target_name"):
        tap.search("SELECT target_nam FROM ivoa.obscore")
    with pytest.raises(pyvo.dal.DALQueryError, match=r"ivoa\.obscore"):
        tap.search("SELECT * FROM ivoa.obscor")
