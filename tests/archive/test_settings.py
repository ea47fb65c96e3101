"""Settings: where each value comes from, what is refused and how it is told, and that every knob turns something."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from archive.app.opened import volume_names
from archive.app.settings_command import settings_page
from archive.settings import PREFIX, Loaded, Settings, known_keys
from archive.vo.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_later_sources_win_and_each_value_knows_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "uraniborg.toml").write_text(
        'title = "From the file"\n[server]\nport = 1001\nhost = "file.example"\nweb_workers = 3\n'
    )
    monkeypatch.setenv("URANIBORG_SERVER__PORT", "1002")
    monkeypatch.setenv("URANIBORG_SERVER__HOST", "environment.example")
    loaded = Loaded.load(tmp_path, {"server.port": 1003, "server.host": None})
    server = loaded.settings.server
    assert (server.port, server.host, server.web_workers, server.job_workers) == (1003, "environment.example", 3, 1)
    rows = {key: origin for key, _, origin, _ in loaded.rows()}
    assert rows["server.port"] == "command line"
    assert rows["server.host"] == "URANIBORG_SERVER__HOST"
    assert rows["server.web_workers"] == str(tmp_path / "uraniborg.toml")
    assert rows["server.job_workers"] == "default"
    assert rows["data_dir"] == "--data-dir"


def test_the_data_folder_of_the_command_line_wins_over_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URANIBORG_DATA_DIR", str(tmp_path / "environment"))
    assert Loaded.load().settings.data_dir == tmp_path / "environment"
    assert Loaded.load().origins["data_dir"] == "URANIBORG_DATA_DIR"
    loaded = Loaded.load(tmp_path / "option")
    assert (loaded.settings.data_dir, loaded.origins["data_dir"]) == (tmp_path / "option", "--data-dir")


def test_a_file_may_lie_elsewhere_and_must_then_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text('data_dir = "far/away"\n')
    monkeypatch.setenv("URANIBORG_CONFIG", str(tmp_path / "mine.toml"))
    assert Loaded.load().settings.data_dir == tmp_path / "far/away"
    monkeypatch.setenv("URANIBORG_CONFIG", str(tmp_path / "nowhere.toml"))
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        Loaded.load()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[server]\nprot = 1", ["uraniborg.toml", "server.prot", "server.port"]),
        ("[sever]\nport = 1", ["uraniborg.toml", "sever.port", "server.port"]),
        ("server = 5", ["uraniborg.toml", "server"]),
        ("[server]\nport = 70000", ["uraniborg.toml", "server.port", "70000", "65535"]),
        ('[server]\nport = "eighty"', ["uraniborg.toml", "server.port", "eighty", "integer"]),
        ('[server]\npublic_url = "archive.example"', ["server.public_url", "https://archive.example"]),
        ("[server]\nrestart_min_s = 60.0", ["uraniborg.toml: server:", "restart_min_s", "restart_max_s"]),
        ("[tap]\ndefault_maxrec = 30000000", ["tap", "default_maxrec", "hard_maxrec"]),
        ("[jobs]\nretention_d = 100.0", ["jobs", "retention_d", "retention_max_d"]),
        ('[database]\nowner_url = "postgresql://o@h/d"', ["database", "writer_url", "reader_url"]),
        ('[database]\nreader_url = "postgresql://r@h/d"', ["database", "owner_url"]),
        ("[server\nport = 1", ["uraniborg.toml", "not TOML", "line 1"]),
        ("title = 'caf\xe9'", ["uraniborg.toml", "not TOML"]),
    ],
)
def test_what_is_wrong_is_told_with_its_place_its_key_and_what_is_expected(
    tmp_path: Path, content: str, told: list[str]
) -> None:
    (tmp_path / "uraniborg.toml").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError) as wrong:
        Loaded.load(tmp_path)
    for word in told:
        assert word in str(wrong.value)


def test_a_file_that_cannot_be_read_is_told_not_tripped_over(tmp_path: Path) -> None:
    (tmp_path / "uraniborg.toml").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Loaded.load(tmp_path)


def test_secrets_are_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "postgresql://owner:hunter2@host/archive"
    for role in ("OWNER", "WRITER", "READER"):
        monkeypatch.setenv(f"URANIBORG_DATABASE__{role}_URL", secret)
    monkeypatch.setenv("URANIBORG_STORE__S3_SECRET_KEY", "hunter2")
    loaded = Loaded.load(tmp_path)
    assert "hunter2" not in f"{list(loaded.rows())} {loaded} {loaded.settings!r}"
    assert loaded.settings.database.owner_url == SecretStr(secret)
    (tmp_path / "uraniborg.toml").write_text("[store]\ns3_secret_key = 12345678\n")
    monkeypatch.delenv("URANIBORG_STORE__S3_SECRET_KEY")
    with pytest.raises(ConfigurationError) as wrong:
        Loaded.load(tmp_path)
    assert "12345678" not in str(wrong.value)


def test_lists_come_from_toml_as_lists_and_from_the_environment_with_commas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("URANIBORG_SERVER__TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2")
    (tmp_path / "uraniborg.toml").write_text('[tap]\nupload_allowed_hosts = ["inside.example"]\n')
    settings = Loaded.load(tmp_path).settings
    assert settings.server.trusted_proxies == ["10.0.0.1", "10.0.0.2"]
    assert settings.tap.upload_allowed_hosts == ["inside.example"]


def test_a_store_has_volumes_beside_its_first_one_and_mistakes_in_them_are_told_without_secrets(tmp_path: Path) -> None:
    file = tmp_path / "uraniborg.toml"
    first = '[store]\ncopies = 2\n[[store.volumes]]\nname = "tower"\nkind = "s3"\ns3_access_key = "me"\n'
    file.write_text(first + 's3_secret_key = "hunter2"\nsite = "hven"\n')
    loaded = Loaded.load(tmp_path)
    assert volume_names(loaded.settings) == ["posix", "tower"]
    assert "hunter2" not in f"{list(loaded.rows())} {loaded.settings!r}"
    for wrong, told in (
        (first + 's3_secret_key = "hunter2"\nsite = 7\n', r"store.volumes\[0\]\[site\]"),
        (first, "s3_secret_key must be set"),
        ("[store]\ncopies = 2\n", "2 copies want as many volumes"),
        ('[store]\n[[store.volumes]]\nname = "posix"\npath = "/x"\n', "names of their own"),
        ('[store]\n[[store.volumes]]\nname = "tower"\n', "tower needs a path"),
    ):
        file.write_text(wrong)
        with pytest.raises(ConfigurationError, match=told) as problem:
            Loaded.load(tmp_path)
        assert "hunter2" not in str(problem.value)


@pytest.mark.parametrize(
    ("options", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"server.host": "::1", "server.port": 81}, "http://[::1]:81"),
        ({"server.public_url": "https://archive.example/"}, "https://archive.example"),
        ({"server.public_url": "https://archive.example/tycho/"}, "https://archive.example/tycho"),
    ],
)
def test_the_public_url_is_the_one_set_or_else_where_the_server_listens(
    tmp_path: Path, options: dict[str, Any], url: str
) -> None:
    assert Loaded.load(tmp_path, options).settings.public_url == url


def test_every_knob_has_a_meaning_a_unit_where_it_is_a_quantity_and_a_default_that_is_valid() -> None:
    Settings()
    units = ("_s", "_h", "_d", "_mib", "_kib", "_gib", "_deg")
    unitless = {
        "port", "web_workers", "job_workers", "workers", "threads", "pool_size", "max_connections", "default_maxrec",
        "hard_maxrec", "batch_rows", "upload_max_rows", "max_depth", "queue_max", "concurrency", "max_ids",
        "max_events", "page_rows", "facet_rows", "names", "coverage_order", "coverage_footprints",
        "max_tables", "max_rows", "loads", "copies", "sites", "scrub_max_load", "cache_keep_copies", "site_retried_events",
    }  # fmt: skip
    for key, field in known_keys().items():
        assert field.description, key
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            name = key.rpartition(".")[2]
            assert name.endswith(units) or name in unitless, key


def test_every_knob_turns_something() -> None:
    """Each key is read somewhere outside the settings' own module."""
    sources = [ROOT / "uraniborg.py"]
    for room in ("archive", "tap", "datalink", "hips", "ingest", "storage", "phase3"):
        sources += (ROOT / room).rglob("*.py")
    read = {
        node.attr
        for source in sources
        if source != ROOT / "archive/settings.py"
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    by_another_name = {"server.public_url": "public_url", "store.path": "store_path"}
    unread = [key for key in known_keys() if by_another_name.get(key, key.rpartition(".")[2]) not in read]
    assert not unread


def test_the_page_of_settings_tells_every_key_under_its_section() -> None:
    written = settings_page()
    for key in known_keys():
        section, _, name = key.rpartition(".")
        _, heading, rest = written.partition(f"## [{section}]" if section else "## The archive")
        assert heading and f"| `{name}` |" in rest.partition("\n## ")[0]


def test_the_command_shows_what_is_in_force_and_a_mistake_without_a_traceback(tmp_path: Path) -> None:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "uraniborg", "settings", "--data-dir", str(tmp_path), *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    shown = json.loads(run("--json").stdout)
    assert shown["data_dir"] == {"value": str(tmp_path), "origin": "--data-dir"}
    (tmp_path / "uraniborg.toml").write_text("[server]\nprot = 1\n")
    wrong = run()
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("uraniborg: ")
    assert "did you mean server.port?" in wrong.stderr
