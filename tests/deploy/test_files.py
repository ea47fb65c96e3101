"""What lies in deploy/ is read by the parsers of those who will: no engine and no init is here to run it."""

import re
import subprocess
import tomllib
from pathlib import Path

import click
import compose_spec
import pytest
import yaml
from dockerfile_parse import DockerfileParser

import uraniborg
from archive.settings import Settings
from tests.live import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
CONTAINERFILES = (DEPLOY / "Containerfile", DEPLOY / "postgres" / "Containerfile")
INSTRUCTIONS = {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL",
                "ENTRYPOINT", "CMD"}  # fmt: skip


def test_the_example_of_settings_is_one_the_archive_takes() -> None:
    given = tomllib.loads((DEPLOY / "settings.example").read_text(encoding="utf-8"))
    settings = Settings(**given)
    assert settings.public_url == "https://archive.hven.example"
    assert settings.store.kind == "s3" and not settings.embedded


def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    copies = []
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert "/opt/uraniborg/bin/uraniborg" in text
        copies.append(tmp_path / unit.name.replace("@.", "@1."))
        copies[-1].write_text(text.replace("/opt/uraniborg/bin/uraniborg", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *copies], capture_output=True, text=True)
    # An unknown or unreadable line is ignored with a word, and the exit status stays 0.
    ours = [line for line in done.stderr.splitlines() if any(copy.name in line for copy in copies)]
    assert done.returncode == 0 and not ours, done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_there_is(unit: Path) -> None:
    (words,) = re.findall(r"^ExecStart=/opt/uraniborg/bin/uraniborg (.*)$", unit.read_text(), re.MULTILINE)
    assert_known(words.split())


def test_the_compose_file_is_one_by_the_specification_and_its_parts_are_there() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    parsed = compose_spec.PyOptions(apply_merge=True).from_yaml(text)
    parsed.validate()
    parsed.to_spec()
    document = yaml.safe_load(text)
    services = document["services"]
    for name, service in services.items():
        for needed in service.get("depends_on", ()):
            assert needed in services, f"{name} waits for {needed}, which is nowhere"
        named = {volume.partition(":")[0] for volume in service["volumes"] if volume[0] not in "./"}
        assert named <= document["volumes"].keys()
        assert {*service.get("secrets", ())} <= document["secrets"].keys()
        build = service.get("build")
        if build:
            assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
        if service["image"] == "uraniborg":
            assert_known(service["command"])


def assert_known(words: list[str]) -> None:
    """The command is one of ours, and so are its options: click raises for others."""
    command: click.Command | None = uraniborg.commands
    while isinstance(command, click.Group):
        name, *words = words
        command = command.get_command(click.Context(command), name)
    assert command is not None, f"there is no command {name}"
    command.make_parser(click.Context(command)).parse_args(words)


def instructions(path: Path) -> list[dict[str, str]]:
    with path.open("rb") as file:
        return [one for one in DockerfileParser(fileobj=file).structure if one["instruction"] != "COMMENT"]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=["archive", "postgres"])
def test_a_containerfile_has_instructions_only_and_copies_what_is_there(path: Path) -> None:
    structure = instructions(path)
    assert {one["instruction"] for one in structure} <= INSTRUCTIONS
    assert structure[0]["instruction"] == "FROM"
    for one in structure:
        words = one["value"].split()
        if one["instruction"] == "COPY" and not words[0].startswith("--from"):
            for source in words[:-1]:
                assert (ROOT / source).exists(), f"{path}: {source} is not there"
        if one["instruction"] == "RUN":
            script = one["value"]
            assert subprocess.run(["sh", "-n", "-c", script], capture_output=True).returncode == 0, script


def test_the_image_of_the_archive_holds_every_package() -> None:
    """A room that is added to pyproject.toml and not copied would be missing only when it is first asked for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {one["value"].split()[0] for one in instructions(CONTAINERFILES[0]) if one["instruction"] == "COPY"}
    assert packages <= copied
