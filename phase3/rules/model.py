"""The rules as values: keywords.yaml read, checked for mistakes, made frozen. What they mean for a file is not here.

A mistake in the rules is told with its place in the document, all of them at once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml

from archive.vo.errors import ConfigurationError
from ingest.findings import Level

SHIPPED = Path(__file__).parent / "keywords.yaml"
LEVELS = (
    "required", "conditional", "recommended", "optional", "forbidden", "reserved", "contact-archive",
)  # fmt: skip
PLACES = ("primary", "extension", "primary+extension", "all", "any")
TYPES = ("string", "real", "integer", "boolean", "any")
SEVERITIES = ("error", "warning", "info")
# The YAML reader written in C is ten times faster; a build of PyYAML may lack it.
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RulesError(ConfigurationError):
    """The document of rules has mistakes; the text says where each of them is."""


@dataclass(frozen=True, slots=True)
class Use:
    """What a category asks of a keyword. hdu: where it belongs (PLACES). condition: when, in words; a key of
    conditions.DEMANDS where level is "conditional"."""

    level: str
    hdu: str
    condition: str = ""
    footnotes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class KeywordRule:
    """A keyword of the standard; name may end in indices (CRVALi, CDi_j, FPRAia). unit: of its value, "" for none."""

    name: str
    type: str
    meaning: str
    unit: str
    allowed: str
    section: str
    confidence: str
    indexed: bool
    use: Mapping[str, Use]

    @property
    def pattern(self) -> re.Pattern[str]:
        """Matches the keyword as it stands in a header, with its indices."""
        stem = re.escape(self.name)
        if self.name.isupper() or "-" in self.name:
            return re.compile(stem + (r"\d+" if self.indexed else "") + r"\Z")
        return re.compile(stem.replace("ia", r"\d+[A-Z]").replace("i", r"\d+").replace("j", r"\d+") + r"\Z")

    @property
    def stem(self) -> str:
        """The name without its indices."""
        return re.sub(r"[a-z_]+\Z", "", self.name.replace("i_j", ""))

    @property
    def source(self) -> str:
        return f"SDP 8 §{self.section}" if self.section else "checks of the validator (2025-03-27)"


@dataclass(frozen=True, slots=True)
class Category:
    """A product category. id may carry a variant ("SCIENCE.IMAGE#MEF"), prodcatg is what PRODCATG says."""

    id: str
    prodcatg: str
    structure: str


@dataclass(frozen=True, slots=True)
class Ancillary:
    """A category of associated files. applies_to: ends of the categories it goes with, or "any"."""

    id: str
    meaning: str
    applies_to: tuple[str, ...]
    need: str


@dataclass(frozen=True, slots=True)
class CheckRule:
    """A cross-check. applies_to: ids of categories, or ("all",)."""

    id: str
    applies_to: tuple[str, ...]
    rule: str
    severity: Level
    source: str

    def applies(self, category: Category | None, prodcatg: str) -> bool:
        """True for the category, or for all its variants where the rule names none."""
        names = {prodcatg, category.id} if category else {prodcatg}
        return "all" in self.applies_to or bool(names & set(self.applies_to))


@dataclass(frozen=True)
class Rules:
    """The whole document. standard: its name and version."""

    standard: str
    categories: Mapping[str, Category]
    others: frozenset[str]
    keywords: Mapping[str, KeywordRule]
    ancillaries: Mapping[str, Ancillary]
    checks: Mapping[str, CheckRule]

    @cached_property
    def _patterns(self) -> tuple[tuple[re.Pattern[str], str], ...]:
        return tuple((rule.pattern, name) for name, rule in self.keywords.items() if name not in self._plain)

    @cached_property
    def _plain(self) -> frozenset[str]:
        return frozenset(
            name for name, rule in self.keywords.items() if not rule.indexed and (name.isupper() or "-" in name)
        )

    @cached_property
    def _by_category(self) -> Mapping[str, tuple[tuple[KeywordRule, Use], ...]]:
        return {
            category: tuple((rule, rule.use[category]) for rule in self.keywords.values() if category in rule.use)
            for category in self.categories
        }

    def of_category(self, category: str) -> tuple[tuple[KeywordRule, Use], ...]:
        """Every keyword the category says something about, with what it says."""
        return self._by_category[category]

    def generic(self, keyword: str) -> str | None:
        """The name in the rules of a keyword of a header: "TTYPE12" is "TTYPEi"; None if the rules do not know it."""
        return _generic(keyword, self._plain, self._patterns)

    def category_ids(self) -> tuple[str, ...]:
        """What PRODCATG may say of a science product, in order."""
        return tuple(dict.fromkeys([*(c.prodcatg for c in self.categories.values()), *sorted(self.others)]))


@lru_cache(maxsize=20_000)
def _generic(keyword: str, plain: frozenset[str], patterns: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    if keyword in plain:
        return keyword
    return next((name for pattern, name in patterns if pattern.match(keyword)), None)


@lru_cache(maxsize=4)
def load_rules(path: Path = SHIPPED) -> Rules:
    """The rules of a document. RulesError: it cannot be read, or has mistakes; all are told, each with its place."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RulesError(f"{path}: the rules cannot be read: {error}") from error
    mistakes = list(_mistakes(document))
    if mistakes:
        raise RulesError(f"{path}: {len(mistakes)} mistakes in the rules: " + "; ".join(mistakes))
    return _rules(document)


def _mistakes(document: Any) -> Iterator[str]:
    """Each mistake as "place: what is wrong"."""
    if not isinstance(document, dict):
        yield "the document: not a mapping"
        return
    kinds = {
        "meta": dict, "categories": list, "other_categories": list, "keywords": dict, "conditions": dict,
        "ancillary_categories": list, "checks": list,
    }  # fmt: skip
    wrong = [f"{key}: missing, or not a {kind.__name__}" for key, kind in kinds.items()
             if not isinstance(document.get(key), kind)]  # fmt: skip
    yield from wrong
    if wrong:
        return
    if not isinstance(document["meta"].get("standard"), str):
        yield "meta.standard: missing"
    for key in ("categories", "other_categories", "ancillary_categories", "checks"):
        yield from _list_mistakes(key, document[key])
    categories = {entry.get("id") for entry in document["categories"] if isinstance(entry, dict)}
    for name, entry in document["keywords"].items():
        yield from _keyword_mistakes(f"keywords.{name}", entry, categories, set(document["conditions"]))
    known = {*categories, "all"}
    for entry in (each for each in document["checks"] if isinstance(each, dict)):
        place = f"checks.{entry.get('id')}"
        yield from _choice(f"{place}.severity", entry.get("severity"), SEVERITIES)
        for category in _words(entry.get("applies_to")):
            yield from _choice(f"{place}.applies_to", category, known)


def _list_mistakes(key: str, entries: list[Any]) -> Iterator[str]:
    seen: set[Any] = set()
    for number, entry in enumerate(entries):
        name = entry.get("id") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            yield f"{key}[{number}]: has no id"
        elif name in seen:
            yield f"{key}.{name}: twice"
        seen.add(name)


def _keyword_mistakes(place: str, entry: Any, categories: set[Any], footnotes: set[Any]) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{place}: not a mapping"
        return
    yield from _choice(f"{place}.type", entry.get("type"), TYPES)
    if not isinstance(entry.get("meaning"), str):
        yield f"{place}.meaning: missing"
    if not isinstance(entry.get("use"), dict) or not entry["use"]:
        yield f"{place}.use: missing, or not a mapping of categories"
        return
    for category, use in entry["use"].items():
        yield from _choice(f"{place}.use", category, categories)
        if not isinstance(use, dict):
            yield f"{place}.use.{category}: not a mapping"
            continue
        yield from _choice(f"{place}.use.{category}.level", use.get("level"), LEVELS)
        yield from _choice(f"{place}.use.{category}.hdu", use.get("hdu"), PLACES)
        if use.get("level") == "conditional" and not use.get("condition"):
            yield f"{place}.use.{category}.condition: missing for a conditional keyword"
        for footnote in use.get("footnote") or ():
            yield from _choice(f"{place}.use.{category}.footnote", footnote, footnotes)


def _choice(place: str, value: Any, choices: Iterable[Any]) -> Iterator[str]:
    if value not in choices:
        yield f"{place}: {value!r} is not one of {', '.join(sorted(map(str, choices)))}"


def _words(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _rules(document: dict[str, Any]) -> Rules:
    """The document, found free of mistakes, as values."""
    return Rules(
        standard=document["meta"]["standard"],
        categories={
            entry["id"]: Category(entry["id"], entry.get("prodcatg", entry["id"]), entry.get("structure", ""))
            for entry in document["categories"]
        },
        others=frozenset(entry["id"] for entry in document["other_categories"]),
        keywords={name: _keyword(name, entry) for name, entry in document["keywords"].items()},
        ancillaries={
            entry["id"]: Ancillary(
                entry["id"], entry.get("meaning", ""), _words(entry.get("applies_to", "any")), entry.get("need", "")
            )
            for entry in document["ancillary_categories"]
        },
        checks={
            entry["id"]: CheckRule(
                entry["id"], _words(entry["applies_to"]), entry["rule"], entry["severity"], entry["source"]
            )
            for entry in document["checks"]
        },
    )


def _keyword(name: str, entry: dict[str, Any]) -> KeywordRule:
    uses = {
        category: Use(use["level"], use["hdu"], use.get("condition") or "", tuple(use.get("footnote") or ()))
        for category, use in entry["use"].items()
    }
    return KeywordRule(
        name, entry["type"], entry["meaning"], str(entry.get("unit") or ""), str(entry.get("allowed") or ""),
        str(entry.get("section") or ""), entry.get("confidence", ""), bool(entry.get("indexed")), uses,
    )  # fmt: skip
