"""What hangs on a data set, for whom: rows of {links} (DataLink 1.1), files and headers, on both databases."""

import base64
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from astropy.io.votable import parse
from astropy.table import Table

from archive.access import service as access
from archive.access.rights import Grant
from archive.holdings.queries import publisher_did
from datalink.links import Link
from storage import catalogue
from tests.databases import Postgres
from tests.made.holdings import AUTHORITY, hold
from tests.served import Served, served

LINKS = "application/x-votable+xml;content=datalink"
TOMORROW = datetime.now(UTC) + timedelta(days=1)
NAMES = {
    "d/open.fits": {}, "d/a b+c&d?e#f%g/é.fits": {},
    "d/closed.fits": {"rights": "proprietary", "release_date": TOMORROW},
    "d/never.fits": {"rights": "proprietary"}, "d/secret.fits": {"rights": "secure", "release_date": TOMORROW},
}  # fmt: skip


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Files whose bytes are their names, and the users kepler (no rights) and tycho (a grant on all)."""
    with served(postgres, tmp_path_factory.mktemp("links"), datalink__max_ids=5) as made:
        writer = made.archive.engines.writer
        for name, changes in NAMES.items():
            stored = made.archive.store.store(io.BytesIO(name.encode()))
            header = [{"index": 0, "name": "PRIMARY", "cards": [["SIMPLE", True, "is FITS"], ["OBJECT", "O'Neil", ""]]}]
            with writer.begin() as connection:
                catalogue.add_object(connection, stored)
                hold(connection, name, name.encode(), key=stored.key, header=header, **changes)
        access.add_user(writer, "kepler")
        access.add_user(writer, "tycho")
        access.add_grant(writer, Grant("user:tycho", "all", "", "data", None, None), granted_by="test")
        yield made


@pytest.fixture(scope="module")
def tokens(archive: Served) -> dict[str, dict[str, str]]:
    """Headers of each user; of nobody: none."""
    writer = archive.archive.engines.writer
    made = {name: access.create_token(writer, name).text for name in ("kepler", "tycho")}
    return {"nobody": {}} | {name: {"Authorization": f"Bearer {token}"} for name, token in made.items()}


def did(name: str) -> str:
    return publisher_did(AUTHORITY, name)


def links(archive: Served, *ids: str, **more: Any) -> tuple[httpx.Response, Table]:
    params = [("ID", each) for each in ids]
    answer = httpx.post(f"{archive.url}/datalink/links", data={"ID": ids}, **more) if ids else httpx.get(
        f"{archive.url}/datalink/links", params=params, **more)  # fmt: skip
    assert answer.status_code == 200, answer.text
    table = next(iter(parse(io.BytesIO(answer.content)).iter_tables()))
    return answer, table.to_table(use_names_over_ids=True)


def test_this_leads_to_the_bytes_whatever_the_file_is_called(archive: Served) -> None:
    names = ["d/open.fits", "d/a b+c&d?e#f%g/é.fits"]
    answer, rows = links(archive, *map(did, names))
    assert answer.headers["content-type"] == LINKS
    assert list(rows["ID"]) == [did(name) for name in names]
    for row, name in zip(rows, names, strict=True):
        assert row["semantics"] == "#this"
        got = httpx.get(row["access_url"])
        assert got.content.decode() == name
        assert row["content_length"] == len(name.encode())
        assert row["content_type"] == got.headers["content-type"]
        assert unquote(got.headers["content-disposition"].partition("filename*=UTF-8''")[2]) == name.rpartition("/")[2]


def test_rows_come_in_the_order_asked_and_an_unknown_id_is_a_row_that_says_so(archive: Served) -> None:
    asked = [did("d/open.fits"), "ivo://x/ID?nothing", did("d/open.fits"), "a\0b"]
    _, rows = links(archive, *asked[:3])
    assert list(rows["ID"]) == asked[:3]
    assert rows["error_message"][1].startswith("NotFoundFault")
    assert [bool(url) for url in rows["access_url"]] == [True, False, True]
    _, rows = links(archive, asked[3])
    assert rows["error_message"][0].startswith("NotFoundFault")


def test_more_ids_than_allowed_are_cut_and_the_cut_is_told(archive: Served) -> None:
    for count, is_cut in ((5, False), (6, True)):
        answer, rows = links(archive, *[did("d/open.fits")] * count)
        assert len(rows) == 5
        assert ('value="OVERFLOW"' in answer.text) is is_cut


def test_no_id_gives_no_row(archive: Served) -> None:
    assert len(links(archive)[1]) == 0


@pytest.mark.parametrize(
    ("name", "who", "status", "auth", "authorized"),
    [
        ("d/open.fits", "nobody", 200, "false", True),
        ("d/closed.fits", "nobody", 401, "true", False),
        ("d/closed.fits", "kepler", 403, "true", False),
        ("d/closed.fits", "tycho", 200, "true", True),
        ("d/never.fits", "nobody", 401, "true", False),
        ("d/never.fits", "tycho", 200, "true", True),
        ("d/secret.fits", "nobody", 404, None, None),
        ("d/secret.fits", "kepler", 404, None, None),
        ("d/secret.fits", "tycho", 200, "true", True),
    ],
)
def test_links_and_files_agree_on_who_may_have_what(
    archive: Served,
    tokens: dict[str, dict[str, str]],
    name: str,
    who: str,
    status: int,
    auth: str | None,
    authorized: bool,
) -> None:
    got = httpx.get(f"{archive.url}/files/{name}", headers=tokens[who])
    assert got.status_code == status
    row = links(archive, did(name), headers=tokens[who])[1][0]
    if auth is None:
        assert row["error_message"] == f"NotFoundFault: {did(name)}"
        assert httpx.get(f"{archive.url}/headers/{name}", headers=tokens[who]).status_code == 404
    else:
        assert (row["link_auth"], bool(row["link_authorized"])) == (auth, authorized)
        assert httpx.get(f"{archive.url}/headers/{name}", headers=tokens[who]).status_code == 200
    if status in (401, 403) and name == "d/closed.fits":
        assert f"{TOMORROW:%Y-%m-%d}" in got.text
        assert f"{TOMORROW:%Y-%m-%d}" in row["description"]


@pytest.mark.parametrize(
    ("asked", "content_type"),
    [
        (None, LINKS), ("votable", LINKS), ("application/x-votable+xml", "application/x-votable+xml"),
        ("application/x-votable+xml; content=datalink", LINKS), ("text/xml", "text/xml"), ("votable/td", LINKS),
    ],
)  # fmt: skip
def test_links_are_labelled_as_asked_and_come_as_tabledata(
    archive: Served, asked: str | None, content_type: str
) -> None:
    params = {"ID": did("d/open.fits")} | ({"RESPONSEFORMAT": asked} if asked else {})
    answer = httpx.get(f"{archive.url}/datalink/links", params=params)
    assert answer.headers["content-type"] == content_type
    assert "<TABLEDATA>" in answer.text


@pytest.mark.parametrize("asked", ["csv", "votable/b2", "application/x-votable+xml;serialization=binary2", "papyrus"])
def test_a_form_that_links_do_not_have_is_refused(archive: Served, asked: str) -> None:
    answer = httpx.get(f"{archive.url}/datalink/links", params={"ID": "x", "RESPONSEFORMAT": asked})
    assert answer.status_code == 400
    assert 'value="ERROR"' in answer.text


def test_headers_are_cards_as_text_and_as_json(archive: Served) -> None:
    url = f"{archive.url}/headers/d/open.fits"
    text = httpx.get(url)
    assert "SIMPLE   = T / is FITS\nOBJECT   = 'O''Neil'\nEND\n" in text.text
    for told in (httpx.get(url, params={"format": "json"}), httpx.get(url, headers={"Accept": "application/json"})):
        assert told.json()["hdus"][0]["cards"][0] == ["SIMPLE", True, "is FITS"]
    assert httpx.head(url).status_code == 200
    assert httpx.get(url, params={"format": "xml"}).status_code == 400


def test_a_head_of_a_part_is_a_head_of_the_whole(archive: Served) -> None:
    url = f"{archive.url}/files/d/open.fits"
    assert httpx.get(url, headers={"Range": "bytes=2-5"}).content == b"d/open.fits"[2:6]
    head = httpx.head(url, headers={"Range": "bytes=2-5"})
    assert (head.status_code, head.headers["content-length"]) == (200, str(len("d/open.fits")))
    assert httpx.get(url, headers={"If-Match": '"another"'}).status_code == 412


@pytest.mark.parametrize(
    "given", [{}, {"access_url": "u", "service_def": "s"}, {"access_url": "u", "error_message": "e"}]
)
def test_a_link_has_exactly_one_of_url_service_and_error(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Link("ivo://x", "#this", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_the_stores_own_face_gives_files_to_those_alone_who_may_have_them(
    archive: Served, tokens: dict[str, dict[str, str]]
) -> None:
    """/files is the oracle: what it says to whom, for which file, /store/v1 says too."""
    store = f"{archive.url}/store/v1"
    objects, token = archive.archive.objects, archive.archive.operator_token_path.read_text().strip()
    operator = {"Authorization": f"Bearer {token}"}
    for name in NAMES:
        objects.put(name, io.BytesIO(name.encode()))
    objects.put("mine/notes.txt", io.BytesIO(b"a curator's"))
    for user, headers in {**tokens, "operator": operator, "stranger": {"Authorization": "Bearer ub_x"}}.items():
        for name in (*NAMES, "d/none.fits"):
            path = quote(name, safe="")
            wanted = httpx.get(f"{archive.url}/files/{path}", headers=headers)
            for method, place in (("GET", "objects"), ("HEAD", "objects"), ("GET", "copies"), ("GET", "versions")):
                got = httpx.request(method, f"{store}/{place}/{path}", headers=headers)
                assert got.status_code == wanted.status_code, (user, name, method, place, got.text)
                assert got.status_code != 401 or len(got.headers.get_list("www-authenticate")) == 2
            if wanted.status_code == 200:
                assert httpx.get(f"{store}/objects/{path}", headers=headers).content == name.encode()
        may = user == "operator"
        others = 401 if user in ("nobody", "stranger") else 403
        for place in ("objects", "events", "volumes", "containers"):
            assert httpx.get(f"{store}/{place}", headers=headers).status_code == (200 if may else others), (user, place)
        written = httpx.put(f"{store}/objects/new/{user}", content=b"x", headers=headers)
        assert written.status_code == (201 if may else others)
        for method in ("PUT", "DELETE"):  # which is for ingest and withdrawal, whoever asks
            changed = httpx.request(method, f"{store}/objects/d/open.fits", content=b"x", headers=headers)
            assert changed.status_code == (403 if may else others), (user, method)
    secret, none = (httpx.get(f"{store}/objects/d/{name}.fits").json() for name in ("secret", "none"))
    assert secret["detail"].replace("secret", "none") == none["detail"], "a secure file is as one that is not there"
    assert httpx.get(f"{store}/objects/mine/notes.txt").status_code == 404
    assert httpx.get(f"{store}/objects/mine/notes.txt", headers=operator).content == b"a curator's"


def test_a_grant_to_curate_lets_write_what_the_archive_does_not_hold(
    archive: Served, tokens: dict[str, dict[str, str]]
) -> None:
    store, kepler = f"{archive.url}/store/v1", tokens["kepler"]
    assert httpx.put(f"{store}/objects/k/x", content=b"x", headers=kepler).status_code == 403
    access.add_grant(archive.archive.engines.writer, Grant("user:kepler", "all", "", "curate"), granted_by="tests")
    assert httpx.put(f"{store}/objects/k/x", content=b"x", headers=kepler).status_code == 201
    assert httpx.put(f"{store}/objects/d/closed.fits", content=b"x", headers=kepler).status_code == 403
    tus = {**kepler, "Tus-Resumable": "1.0.0", "Upload-Length": "1"}
    metadata = {"Upload-Metadata": f"file_id {base64.b64encode(b'd/closed.fits').decode()}"}
    assert httpx.post(f"{store}/uploads", headers={**tus, **metadata}).status_code == 403
    assert "creation" in httpx.options(f"{store}/uploads").headers["tus-extension"]
    assert (
        "PATCH"
        in httpx.options(
            f"{store}/uploads",
            headers={"Access-Control-Request-Method": "PATCH", "Origin": "https://elsewhere.example"},
        ).headers["access-control-allow-methods"]
    )
    assert "/store/v1/objects/{file_id}" in httpx.get(f"{archive.url}/openapi.json").json()["paths"]
