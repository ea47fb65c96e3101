"""The archive as a user of astroquery.utils.tap (TapPlus), the TAP client below the ESA modules, meets it."""

from pathlib import Path

import httpx
import numpy as np
import pytest
from astropy.table import Table
from astroquery.utils.tap import TapPlus

from tests.live import Live

QUERY = "SELECT dp_id, s_ra, s_dec FROM ivoa.obscore ORDER BY dp_id"


@pytest.fixture(scope="module")
def tap(live: Live) -> TapPlus:
    """It sends no User-Agent and no Accept, and cuts redirects at the word "async"."""
    return TapPlus(url=f"{live.url}/tap")


def test_tables_come_with_their_columns(tap: TapPlus) -> None:
    tables = {table.get_qualified_name().removeprefix("ivoa."): table for table in tap.load_tables()}
    obscore = next(table for name, table in tables.items() if name.endswith("obscore"))
    columns = {column.name: column for column in obscore.columns}
    assert columns["s_ra"].unit == "deg"
    assert columns["s_ra"].ucd == "pos.eq.ra"
    assert all(table.columns for table in tables.values())


def test_a_job_of_either_kind_gives_the_same_rows(tap: TapPlus, live: Live) -> None:
    sync = tap.launch_job(QUERY).get_results()
    job = tap.launch_job_async(QUERY)
    rows = job.get_results()
    assert job.get_phase() == "COMPLETED"
    assert len(rows) == len(sync) > 10
    assert list(rows["dp_id"]) == list(sync["dp_id"])
    np.testing.assert_array_equal(rows["s_ra"], sync["s_ra"])
    assert [each.jobid for each in tap.list_async_jobs()] == []  # anonymous jobs are for who knows their address
    assert httpx.delete(f"{live.url}/tap/async/{job.jobid}").status_code == 303


@pytest.mark.parametrize("launch", ["launch_job", "launch_job_async"])
def test_an_uploaded_table_is_matched_with_the_sky(tap: TapPlus, tmp_path: Path, launch: str) -> None:
    held = tap.launch_job("SELECT TOP 5 dp_id, s_ra, s_dec FROM ivoa.obscore WHERE s_ra IS NOT NULL").get_results()
    file = tmp_path / "mine.vot"
    Table({"id": np.arange(len(held)), "ra": held["s_ra"], "dec": held["s_dec"]}).write(file, format="votable")
    query = """SELECT m.id, o.dp_id FROM tap_upload.mine AS m
        JOIN ivoa.obscore AS o ON DISTANCE(m.ra, m.dec, o.s_ra, o.s_dec) < 0.0003"""
    found = getattr(tap, launch)(query, upload_resource=str(file), upload_table_name="mine").get_results()
    assert set(zip(np.arange(len(held)), held["dp_id"], strict=True)) <= set(
        zip(found["id"], found["dp_id"], strict=True)
    )


def test_a_mistake_is_told_with_its_place(tap: TapPlus) -> None:
    with pytest.raises(Exception, match="line 1, column"):
        tap.launch_job("SELECT nothing_like_it FROM ivoa.obscore")
