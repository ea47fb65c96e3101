"""The documentation is built as `make docs` builds it, with warnings as errors, and looked at as a browser would.

But for the pages of Python modules, which take a minute: of those each docstring is read here as Sphinx would read it.
"""

import ast
import importlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from sphinx.ext.napoleon import NumpyDocstring

from archive.settings import known_keys
from tests.live import ROOT
from tests.test_house import PACKAGES

DOCS = ROOT / "docs"
# What a browser fetches by itself, tag by tag; an <a> is followed only when it is clicked.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}


class Page(HTMLParser):
    """What a page links to, fetches, and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.add(given["href"])
        if tag in FETCHED and FETCHED[tag] in given and given.get("rel") not in ("next", "prev", "canonical"):
            self.fetched.add(given[FETCHED[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-D", "asked_modules=0",
         "-d", folder / "doctrees", DOCS, folder / "html"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    found = {path.relative_to(site).as_posix(): Page(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert len(found) > 40
    return found


def test_every_link_within_the_site_leads_somewhere(pages: dict[str, Page], site: Path) -> None:
    broken = []
    for name, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(f"site:/{name}", link)) if not urlsplit(link).scheme else urlsplit(link)
            if target.scheme != "site":
                continue
            path = unquote(target.path).lstrip("/")
            if path not in pages:
                broken += [] if (site / path).is_file() else [f"{name}: {link}"]
            elif target.fragment and unquote(target.fragment) not in pages[path].anchors:
                broken.append(f"{name}: {link}")
    assert not broken


def test_no_page_fetches_anything_from_another_host(pages: dict[str, Page], site: Path) -> None:
    elsewhere = {f"{name}: {url}" for name, page in pages.items() for url in page.fetched if urlsplit(url).netloc}
    assert not elsewhere
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", sheet.read_text("utf-8")), sheet


def test_the_reference_tells_what_the_code_has(site: Path) -> None:
    def text(name: str) -> str:
        return re.sub(r"<[^>]+>", "", (site / "reference" / f"{name}.html").read_text("utf-8"))

    settings, commands, requests = text("settings"), text("commands"), text("endpoints")
    assert not [key for key in known_keys() if key.rpartition(".")[2] not in settings]
    for command in ("uraniborg hips build", "uraniborg ingest watch", "uraniborg db init", "uraniborg grant add"):
        assert command in commands
    for request in (
        "GET /tap/sync",
        "POST /tap/async",
        "GET /files/{file_id}",
        "GET /sia2/query",
        "GET /hips/hipslist",
    ):
        assert request in requests
    assert "em_min" in text("tables")
    assert "QueryTimeoutError" in text("errors")


def test_every_docstring_can_be_read_into_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    read_as = importlib.import_module("asked_of_the_code").as_restructured_text
    settings = get_default_settings(Parser)
    settings.report_level = 5  # gathered here, not printed
    complaints: list[str] = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                lines = (ast.get_docstring(node) or "").splitlines()
                read_as(None, "", "", None, None, lines)
                document = new_document(str(path), settings)
                document.reporter.attach_observer(lambda found: complaints.append(found.astext()))
                Parser().parse("\n".join(NumpyDocstring(lines).lines()), document)
    assert not complaints, "\n".join(complaints)


def test_links_of_the_readme_lead_to_files_of_the_repository() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert len(links) > 5
    assert not [link for link in links if not (ROOT / link).exists()]
