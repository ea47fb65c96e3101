"""HipsLint, CDS's checker of HiPS 1.0, out of Debian's package aladin (12.001)."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ALADIN = Path("/usr/share/java/aladin.jar")


@dataclass(frozen=True, slots=True)
class Lint:
    """What it printed. verdicts: of each HiPS, by creator_did without "ivo://"; last: its last line, on the list."""

    text: str
    verdicts: dict[str, str]
    last: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.text.splitlines() if "ERROR" in line]

    @property
    def warnings(self) -> list[str]:
        return [line for line in self.text.splitlines() if "*WARN*" in line]


def hipslint(hipslist: str) -> Lint:
    """Every HiPS of a list and the list itself, random tiles too."""
    assert ALADIN.exists(), "install Debian's package aladin (tests/system-packages.sh)"
    done = subprocess.run(
        ["java", "-Djava.awt.headless=true", "-cp", str(ALADIN), "cds.allsky.HipsLint", hipslist],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    verdicts = dict(re.findall(r"HiPS (\S+) is (.*HiPS 1\.0 compatible.*)", text))
    return Lint(text, verdicts, text.strip().splitlines()[-1])
