"""What would be recorded about a file, and why: facts, gathered in order of trust, and the description they become.

A describer adds facts; the first fact about a field stays. No FITS is read here and nothing is stored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from archive.holdings.model import DataProduct
from archive.vo.errors import UsageError
from ingest.findings import Finding, errors

FIELDS = frozenset(entry.name for entry in fields(DataProduct))


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of a DataProduct: what is recorded, from where, and by which rule.

    field: ObsCore's name. value: in the model's units. source: "[1] MJD-OBS", "WCS of [1]", "mapping muse.toml".
    why: the rule, as a short sentence.
    """

    field: str
    value: Any
    source: str
    why: str = ""


class RefusedError(UsageError):
    """The file cannot be described; findings say what is wrong, where, and what would mend it."""

    def __init__(self, path: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(f"{path} cannot be taken in: " + "; ".join(map(str, errors(findings) or findings)))
        self.findings = findings


class Facts:
    """Facts about one file while it is being described. What was said first stays: ask whom you trust most first."""

    def __init__(self) -> None:
        self._facts: dict[str, Fact] = {}
        self.findings: list[Finding] = []
        self.catalogue: Any = None
        self.media_type = "application/fits"

    def add(self, name: str, value: Any, source: str, why: str = "") -> bool:
        """Record a fact, unless the value is None or empty text or the field is known already; True if it was recorded.

        ValueError: the model has no such field.
        """
        if name not in FIELDS:
            raise ValueError(f"DataProduct has no field {name!r}")
        if value is None or value == "" or name in self._facts:
            return False
        self._facts[name] = Fact(name, value, source, why)
        return True

    def withdraw(self, name: str) -> None:
        """Forget a fact that turned out to contradict a more trusted one."""
        self._facts.pop(name, None)

    def found(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def get(self, name: str, default: Any = None) -> Any:
        """The value recorded for a field, or the default."""
        fact = self._facts.get(name)
        return default if fact is None else fact.value

    def __contains__(self, name: str) -> bool:
        return name in self._facts

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts.values())

    def values(self) -> dict[str, Any]:
        """Field to value, as the DataProduct takes them."""
        return {name: fact.value for name, fact in self._facts.items()}


@dataclass(frozen=True, slots=True)
class Description:
    """A file as it would be recorded: the product, each field's source and reason, and what was found odd.

    catalogue: for tables that become published TAP tables, what the catalogue describer knows (its own value);
    None for everything else.
    """

    product: DataProduct
    facts: tuple[Fact, ...]
    findings: tuple[Finding, ...] = ()
    catalogue: Any = None
    media_type: str = "application/fits"
    extra: dict[str, Any] = field(default_factory=dict)
