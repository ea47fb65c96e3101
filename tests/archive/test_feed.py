"""The feed of changes over HTTP: whole, in order, replayable, and silent about what may not be known."""

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import text

from storage.feed import append_event
from tests.databases import Postgres
from tests.served import Served, served


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(postgres, tmp_path_factory.mktemp("feed")) as running:
        yield running


def pages(archive: Served, after: int, limit: int) -> list[dict[str, object]]:
    """All there is after an event, asked for page by page as a harvester does."""
    found: list[dict[str, object]] = []
    while True:
        page = httpx.get(f"{archive.url}/events", params={"after": after, "limit": limit}).raise_for_status().json()
        found += page["events"]
        if page["next_after"] == after:
            return found
        after = page["next_after"]


def test_a_harvester_sees_every_event_once_and_an_open_transactions_later(archive: Served) -> None:
    writer = archive.archive.engines.writer
    before = max([0, *(int(str(event["event_id"])) for event in pages(archive, 0, 100))])
    with writer.connect() as slow:
        append_event(slow, "archived", "slow.fits", 1)
        with writer.begin() as quick:
            append_event(quick, "archived", "quick.fits", 1)
        seen = pages(archive, before, 1)
        assert "slow.fits" not in [event["file_id"] for event in seen]
        last = max([before, *(int(str(event["event_id"])) for event in seen)])
        slow.commit()
    seen += pages(archive, last, 1)
    assert sorted(str(event["file_id"]) for event in seen) == ["quick.fits", "slow.fits"]
    ids = [int(str(event["event_id"])) for event in seen]
    assert ids == sorted(set(ids))


def test_a_file_whose_existence_is_protected_is_not_told_of_and_stops_no_harvester(archive: Served) -> None:
    writer = archive.archive.engines.writer
    with writer.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO arc.file (file_id, version, kind, calib_level, obs_collection, obs_id, obs_publisher_did,"
                " source, object_key, file_name, file_id_encoded, media_type, file_size, sha256, md5, rights)"
                " VALUES ('hidden.fits', 1, 'raw', 1, 'c', 'o', 'ivo://a/ID?hidden.fits', '/x', 'k1', 'hidden.fits',"
                " 'hidden.fits', 'application/fits', 1, repeat('0', 64), repeat('0', 32), 'secure')"
            )
        )
        for name in ("hidden.fits", "shown.fits"):
            append_event(connection, "archived", name, 1)
    told = [event["file_id"] for event in pages(archive, 0, 1)]
    assert "shown.fits" in told
    assert "hidden.fits" not in told


def test_nonsense_is_refused_with_a_reason(archive: Served) -> None:
    for params in ({"after": "soon"}, {"after": -1}, {"limit": 0}, {"after": 2**63}):
        answer = httpx.get(f"{archive.url}/events", params=params)
        assert answer.status_code == 400
        assert next(iter(params)) in answer.text
