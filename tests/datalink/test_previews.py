"""Pictures as links and as bytes: who may have the file may see it, and nobody else."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from astropy.io.votable import parse
from PIL import Image
from sqlalchemy import Engine

from archive.access import service as access
from archive.access.rights import Grant
from archive.holdings import previews
from archive.holdings.previews import Preview
from archive.holdings.queries import publisher_did
from storage import catalogue
from storage.service import ObjectStore
from tests.databases import Postgres
from tests.made.holdings import AUTHORITY, hold
from tests.protocols.test_stilts import link_complaints, stilts
from tests.served import Served, served

TOMORROW = datetime.now(UTC) + timedelta(days=1)
NAMES = {
    "d/open.fits": {}, "d/a b+c&d?e#f%g//é.fits": {}, "d/plain.fits": {},
    "d/closed.fits": {"rights": "proprietary", "release_date": TOMORROW},
    "d/secret.fits": {"rights": "secure", "release_date": TOMORROW},
}  # fmt: skip


def png(shade: int, size: tuple[int, int]) -> bytes:
    made = io.BytesIO()
    Image.new("L", size, shade).save(made, "PNG")
    return made.getvalue()


def draw(writer: Engine, store: ObjectStore, name: str, version: int, shade: int) -> None:
    with writer.begin() as connection:
        rows = []
        for role, size in (("preview", (60, 40)), ("thumbnail", (30, 20))):
            kept = store.store(io.BytesIO(png(shade, size)))
            catalogue.add_object(connection, kept)
            rows.append(
                Preview(name, version, role, kept.key, "image/png", kept.size_bytes, *size, kept.sha256, kept.md5,
                        datetime.now(UTC))  # type: ignore[arg-type]
            )  # fmt: skip
        previews.replace(connection, name, version, rows)


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Files with pictures, d/plain.fits without; kepler has no rights, tycho a grant on all."""
    with served(postgres, tmp_path_factory.mktemp("pictures")) as made:
        writer = made.archive.engines.writer
        for shade, (name, changes) in enumerate(NAMES.items()):
            with writer.begin() as connection:
                hold(connection, name, name.encode(), **changes)
            if name != "d/plain.fits":
                draw(writer, made.archive.store, name, 1, shade)
        access.add_user(writer, "kepler")
        access.add_user(writer, "tycho")
        access.add_grant(writer, Grant("user:tycho", "all", "", "data", None, None), granted_by="test")
        yield made


@pytest.fixture(scope="module")
def tokens(archive: Served) -> dict[str, dict[str, str]]:
    writer = archive.archive.engines.writer
    made = {name: access.create_token(writer, name).text for name in ("kepler", "tycho")}
    return {"nobody": {}} | {name: {"Authorization": f"Bearer {token}"} for name, token in made.items()}


@pytest.mark.parametrize("name", ["d/open.fits", "d/a b+c&d?e#f%g//é.fits"])
def test_links_lead_to_preview_and_thumbnail(archive: Served, name: str) -> None:
    answer = httpx.get(f"{archive.url}/datalink/links", params={"ID": publisher_did(AUTHORITY, name)})
    rows = next(iter(parse(io.BytesIO(answer.content)).iter_tables())).to_table(use_names_over_ids=True)
    assert list(rows["semantics"]) == ["#this", "#preview", "#thumbnail"]
    assert list(rows["local_semantics"])[1:] == ["#preview", "#thumbnail"]
    for row, size in zip(rows[1:], ((60, 40), (30, 20)), strict=True):
        got = httpx.get(row["access_url"])
        assert got.status_code == 200
        assert row["content_type"] == got.headers["content-type"] == "image/png"
        assert row["content_length"] == len(got.content) == int(got.headers["content-length"])
        assert Image.open(io.BytesIO(got.content)).size == size
        assert got.headers["content-disposition"].startswith("inline;")
        head = httpx.head(row["access_url"])
        assert (head.status_code, head.headers["content-length"]) == (200, got.headers["content-length"])


def test_datalinklint_finds_no_error_in_links_to_pictures(archive: Served) -> None:
    url = httpx.URL(f"{archive.url}/datalink/links", params={"ID": publisher_did(AUTHORITY, "d/open.fits")})
    report = stilts("datalinklint", f"votable={url}")
    assert "rows checked: 3" in report
    assert "thumbnail" in report and not link_complaints(report), report


def test_a_file_without_pictures_has_its_one_link_and_no_picture(archive: Served) -> None:
    answer = httpx.get(f"{archive.url}/datalink/links", params={"ID": publisher_did(AUTHORITY, "d/plain.fits")})
    assert answer.text.count("<TR>") == 1
    got = httpx.get(f"{archive.url}/previews/d/plain.fits")
    assert got.status_code == 404
    assert "/files/d/plain.fits" in got.text


@pytest.mark.parametrize(
    ("name", "who", "status"),
    [
        ("d/open.fits", "nobody", 200),
        ("d/closed.fits", "nobody", 401), ("d/closed.fits", "kepler", 403), ("d/closed.fits", "tycho", 200),
        ("d/secret.fits", "nobody", 404), ("d/secret.fits", "kepler", 404), ("d/secret.fits", "tycho", 200),
        ("d/nothing.fits", "tycho", 404),
    ],
)  # fmt: skip
def test_a_picture_follows_the_rights_of_its_file(
    archive: Served, tokens: dict[str, dict[str, str]], name: str, who: str, status: int
) -> None:
    for kind in ("previews", "thumbnails", "files"):
        got = httpx.head(f"{archive.url}/{kind}/{name}", headers=tokens[who])
        assert got.status_code == status, kind
    got = httpx.get(f"{archive.url}/thumbnails/{name}", headers=tokens[who])
    assert got.status_code == status
    if status == 200:
        assert got.headers["cache-control"].startswith("public" if name == "d/open.fits" else "private")
        assert "Authorization" in got.headers["vary"]
    did = publisher_did(AUTHORITY, name)
    links = httpx.get(f"{archive.url}/datalink/links", params={"ID": did}, headers=tokens[who])
    assert ("/thumbnails/" in links.text) is (status != 404)


def test_a_picture_that_one_has_is_not_sent_again(archive: Served) -> None:
    url = f"{archive.url}/previews/d/open.fits"
    first = httpx.get(url)
    again = httpx.get(url, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == first.headers["cache-control"]
    assert httpx.get(url, headers={"Range": "bytes=0-7"}).content == b"\x89PNG\r\n\x1a\n"


def test_each_version_has_its_own_picture_and_it_goes_with_its_file(archive: Served) -> None:
    writer, name = archive.archive.engines.writer, "d/twice.fits"
    for version in (1, 2):
        with writer.begin() as connection:
            hold(connection, name, f"content {version}".encode())
        draw(writer, archive.archive.store, name, version, 50 * version)
    url = f"{archive.url}/previews/{name}"
    shades = [Image.open(io.BytesIO(httpx.get(url, params=p).content)).getpixel((0, 0))
              for p in ({"version": 1}, {"version": 2}, {})]  # fmt: skip
    assert shades == [50, 100, 100]
    archive.change(f"DELETE FROM arc.file WHERE file_id = '{name}'")
    assert archive.ask(f"SELECT count(*) FROM arc.preview WHERE file_id = '{name}'") == [(0,)]
    assert httpx.get(url).status_code == 404


def test_pictures_are_not_in_the_schemas_that_queries_see(archive: Served) -> None:
    assert "preview" not in archive.query("SELECT table_name FROM TAP_SCHEMA.tables").text
    assert archive.query("SELECT * FROM arc.preview").status_code == 400
