"""What the tutorial and the how-to pages say is typed and compared, in an empty folder against a live archive."""

import os
from collections.abc import Iterator

import pytest

from tests.docs.pages import Reader
from tests.live import ROOT, free_port

DOCS = ROOT / "docs"
# In the order in which a reader would come to them: each goes on with the archive of those before.
PAGES = (
    ("tutorial/index.md", 22),
    ("how-to/mapping.md", 7),
    ("how-to/ingest.md", 10),
    ("how-to/rights.md", 17),
    ("how-to/own-tables.md", 10),
    ("how-to/hips.md", 5),
    ("how-to/phase3.md", 4),
)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """An empty folder, a home with the repository in it, and a free port for the one that the pages name."""
    home = tmp_path_factory.mktemp("home")
    (home / "uraniborg").symlink_to(ROOT)
    folder = home / "empty"
    folder.mkdir()
    port = str(free_port())
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
    env = {**kept, "HOME": str(home), "URANIBORG_SERVER__PORT": port, "COLUMNS": "120"}
    made = Reader(folder, env, {"127.0.0.1:8000": f"127.0.0.1:{port}"})
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(("page", "at_least"), PAGES, ids=[page for page, _ in PAGES])
def test_every_command_of_a_page_does_what_the_page_shows(
    page: str, at_least: int, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reader.folder)
    assert reader.follow(DOCS / page) >= at_least
