"""deploy/nginx/uraniborg.conf, run by a real nginx on loopback ports, with a certificate, before a live archive."""

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pyvo
import requests

from ingest.opening import ingest_service
from ingest.service import offers
from tests.databases import Postgres
from tests.live import ROOT, free_port
from tests.served import served, wait_until

CONFIGURATION = ROOT / "deploy" / "nginx" / "uraniborg.conf"
PICTURE = ROOT / "demo" / "data" / "optical-infrared" / "m13_dss_rice.fits"
# One database is enough: nginx does not see it.
pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)


@dataclass(frozen=True)
class Behind:
    """An archive behind nginx. url: what users type; certificate: whom they trust; file_id: of its only file."""

    url: str
    plain_url: str
    certificate: Path
    file_id: str

    def get(self, path: str, **options: object) -> httpx.Response:
        return self.client().get(f"{self.url}{path}", **options)  # type: ignore[arg-type]

    def client(self) -> httpx.Client:
        return httpx.Client(verify=ssl.create_default_context(cafile=self.certificate), timeout=60)


@pytest.fixture(scope="module")
def behind(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    secure, plain = free_port(), free_port()
    url = f"https://127.0.0.1:{secure}"
    certificate, key = self_signed(folder)
    with served(postgres, folder, server__public_url=url) as archive:
        (offer,) = offers([PICTURE], collection="m13", root=None, default_collection="m13")
        report = ingest_service(archive.archive).take(offer)
        assert report.outcome == "accepted" and report.file_id is not None
        changes = {
            "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
            "listen 80;": f"listen 127.0.0.1:{plain};",
            "server 127.0.0.1:8000;": f"server {archive.url.removeprefix('http://')};",
            "/etc/ssl/uraniborg/fullchain.pem": str(certificate),
            "/etc/ssl/uraniborg/privkey.pem": str(key),
        }
        with nginx(folder, changes):
            yield Behind(url, f"http://127.0.0.1:{plain}", certificate, report.file_id)


def self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


class nginx:  # noqa: N801 - a context manager, read like a function
    """The shipped configuration with these texts changed, by a real nginx in the foreground."""

    def __init__(self, folder: Path, changes: dict[str, str]) -> None:
        text = CONFIGURATION.read_text(encoding="utf-8")
        for said, instead in changes.items():
            assert said in text, f"{CONFIGURATION} no longer has `{said}`"
            text = text.replace(said, instead)
        (folder / "site.conf").write_text(text)
        temporary = "\n".join(
            f"    {kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self._main = folder / "nginx.conf"
        self._main.write_text(
            f"daemon off;\npid {folder}/nginx.pid;\nevents {{}}\n"
            f"http {{\n    access_log off;\n{temporary}\n    include {folder}/site.conf;\n}}\n"
        )
        self._log = folder / "nginx.log"
        self._command = ["nginx", "-c", str(self._main), "-e", str(self._log), "-p", str(folder)]

    def __enter__(self) -> None:
        checked = subprocess.run([*self._command, "-t"], capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in checked.stderr.replace('the "user" directive', ""), checked.stderr
        self._process = subprocess.Popen(self._command)
        # The check has left an empty one; the number is written when the ports are open.
        wait_until(lambda: (self._main.parent / "nginx.pid").read_text().strip() != "")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def test_every_url_that_the_archive_tells_is_the_one_users_type(behind: Behind) -> None:
    document = behind.get("/capabilities").raise_for_status().text
    assert f">{behind.url}/tap<" in document
    assert "http://127.0.0.1" not in document
    job = behind.client().post(
        f"{behind.url}/tap/async", data={"LANG": "ADQL", "QUERY": "SELECT dp_id FROM ivoa.obscore"}
    )
    assert job.headers["location"].startswith(f"{behind.url}/tap/async/")


def test_pyvo_asks_and_follows_a_row_to_its_file_through_tls(behind: Behind) -> None:
    session = requests.Session()
    session.trust_env = False  # else a bundle that the environment names would count instead
    session.verify = str(behind.certificate)
    tap = pyvo.dal.TAPService(f"{behind.url}/tap", session=session)
    (row,) = tap.search("SELECT * FROM ivoa.obscore")
    assert row["access_url"].startswith(behind.url)
    (this,) = row.getdatalink().bysemantics("#this", include_narrower=False)
    answer = session.get(this["access_url"])
    assert answer.content == PICTURE.read_bytes()


def test_a_part_of_a_file_and_its_head_pass(behind: Behind) -> None:
    path = f"/files/{behind.file_id}"
    part = behind.get(path, headers={"Range": "bytes=2880-5759"})
    assert (part.status_code, part.content) == (206, PICTURE.read_bytes()[2880:5760])
    head = behind.client().head(f"{behind.url}{path}")
    assert int(head.headers["content-length"]) == PICTURE.stat().st_size


def test_an_upload_and_a_query_longer_than_nginx_takes_by_default_pass(behind: Behind) -> None:
    rows = "".join(f"<TR><TD>{number}</TD></TR>" for number in range(100_000))
    votable = (
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        f'<FIELD name="n" datatype="int"/><DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>'
    )
    assert len(votable) > 2**20  # nginx's own limit is 1 MiB
    form = {"LANG": "ADQL", "FORMAT": "csv", "QUERY": "SELECT COUNT(*) AS n FROM TAP_UPLOAD.mine"}
    answer = behind.client().post(
        f"{behind.url}/tap/sync", data={**form, "UPLOAD": "mine,param:mine"}, files={"mine": votable}
    )
    assert answer.text.split() == ["n", "100000"]
    wide = "SELECT COUNT(*) AS n FROM ivoa.obscore WHERE dp_id IN (" + ",".join(["'nothing'"] * 4000) + ")"
    answer = behind.get("/tap/sync", params={**form, "QUERY": wide})
    assert answer.text.split() == ["n", "0"]


def test_rows_arrive_while_the_query_still_runs(behind: Behind) -> None:
    """Nothing is gathered on the way: a client sees the first rows of a result that it will never read to its end."""
    query = "SELECT a.column_name FROM tap_schema.columns AS a, tap_schema.columns AS b, tap_schema.columns AS c"
    form = {"LANG": "ADQL", "FORMAT": "csv", "MAXREC": "20000000", "QUERY": query}
    with behind.client().stream("POST", f"{behind.url}/tap/sync", data=form) as answer:
        first = next(answer.iter_bytes())
    assert first.startswith(b"column_name")
    assert not [path for path in behind.certificate.parent.joinpath("proxy").rglob("*") if path.is_file()]


def test_who_comes_through_the_proxy_is_no_insider(behind: Behind) -> None:
    assert behind.get("/metrics").status_code == 403
    health = behind.get("/health")
    assert health.status_code == 200
    assert "PostgreSQL" not in health.text


def test_http_is_sent_on_to_https(behind: Behind) -> None:
    answer = httpx.get(f"{behind.plain_url}/tap?LANG=ADQL", headers={"Host": "archive.example"})
    assert (answer.status_code, answer.headers["location"]) == (301, "https://archive.example/tap?LANG=ADQL")
