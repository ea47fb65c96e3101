"""What was found wrong, odd or worth saying about a file: one value, used by checks, by describing and by the report.

A finding of level error means that the bytes cannot be trusted or that the file cannot be described: it is quarantined.
A warning or an info never stops a file; it is kept beside it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in one file.

    code: a stable word for programs ("checksum_wrong"). where: HDU, keyword or card, as a person would look for it.
    what: what is the case. mend: what would mend it, empty where nothing needs mending.
    """

    level: Level
    code: str
    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        mend = f" To mend: {self.mend}" if self.mend else ""
        return f"{self.level}: {self.where}: {self.what}{mend} [{self.code}]"


def errors(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Those that send a file to quarantine."""
    return tuple(finding for finding in findings if finding.level == "error")
