"""/health: what a machine that restarts or feeds the archive needs to know, and what strangers are not told."""

from collections.abc import Iterator

import httpx
import pytest

from archive.access import service as access
from tests.databases import Postgres
from tests.served import Served, served, wait_until

FROM_AFAR = {"X-Forwarded-For": "198.51.100.1"}


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(postgres, tmp_path_factory.mktemp("health"), database__pool_timeout_s=2.0) as made:
        yield made


def test_an_archive_that_works_is_ready_and_tells_insiders_what_it_looked_at(archive: Served) -> None:
    answer = httpx.get(f"{archive.url}/health")
    told = answer.json()
    assert (answer.status_code, told["status"], told["ready"]) == (200, "ready", True)
    assert answer.headers["cache-control"] == "no-store"
    found = {check["name"]: check for check in told["checks"]}
    assert set(found) == {"database", "volume posix"}
    (version,) = archive.ask("SHOW server_version")[0]
    assert version in found["database"]["found"]


def test_who_comes_from_afar_hears_whether_and_not_what(archive: Served) -> None:
    told = httpx.get(f"{archive.url}/health", headers=FROM_AFAR).json()
    assert told == {"status": "ready", "live": True, "ready": True}
    writer = archive.archive.engines.writer
    access.add_user(writer, "tycho")
    stranger = access.create_token(writer, "tycho", expires_days=1, label="t").text
    operator = archive.archive.operator_token_path.read_text().strip()
    seen = {
        name: "checks"
        in httpx.get(f"{archive.url}/health", headers=FROM_AFAR | {"Authorization": f"Bearer {t}"}).json()
        for name, t in (("stranger", stranger), ("operator", operator))
    }
    assert seen == {"stranger": False, "operator": True}


def test_without_its_store_it_is_alive_and_not_ready(archive: Served) -> None:
    store = archive.archive.settings.store_path
    store.rename(store.with_name("unplugged"))
    answer = httpx.get(f"{archive.url}/health")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert [check["name"] for check in answer.json()["checks"] if not check["ok"]] == ["volume posix"]
    assert httpx.get(f"{archive.url}/health/live").status_code == 200
    store.with_name("unplugged").rename(store)
    wait_until(lambda: httpx.get(f"{archive.url}/health").status_code == 200)


def test_without_its_database_it_is_alive_and_not_ready_whoever_asks(archive: Served) -> None:
    operator = archive.archive.operator_token_path.read_text().strip()
    archive.change("ALTER TABLE arc.file RENAME TO gone")
    for headers in ({}, FROM_AFAR, {"Authorization": f"Bearer {operator}"}):
        answer = httpx.get(f"{archive.url}/health", headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert httpx.get(f"{archive.url}/health/live").json() == {"status": "alive"}
    archive.change("ALTER TABLE arc.gone RENAME TO file")
    assert httpx.get(f"{archive.url}/health").status_code == 200


def test_a_database_of_another_release_is_not_ready(archive: Served) -> None:
    ((now,),) = archive.ask("SELECT version_num FROM public.alembic_version")
    archive.change("UPDATE public.alembic_version SET version_num = '0000'")
    answer = httpx.get(f"{archive.url}/health")
    archive.change(f"UPDATE public.alembic_version SET version_num = '{now}'")
    assert answer.status_code == 503
    assert "uraniborg db migrate" in answer.text
