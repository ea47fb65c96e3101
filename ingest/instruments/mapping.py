"""Mapping files: how an operator says what an instrument's keywords mean. Format: README.md beside this file.

A mapping is a value: loaded once, given to ingest.describe, asked for the facts of one file. Errors in a file are told
with file, key and what was expected, before anything is ingested.
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import astropy.units as u

from archive.vo.errors import ConfigurationError
from ingest.describe.facts import FIELDS, Fact
from ingest.describe.header import FitsFile
from ingest.describe.keywords import Keywords
from ingest.instruments.bands import Band, BandTable, read_bands

UNITS = {
    "s_ra": u.deg, "s_dec": u.deg, "s_fov": u.deg, "s_resolution": u.arcsec, "s_pixel_scale": u.arcsec, "t_min": u.day,
    "t_max": u.day, "t_exptime": u.s, "t_resolution": u.s, "em_min": u.m, "em_max": u.m, "em_res_power": u.one,
    "abmaglim": u.mag, "snr": u.one, "strehl": u.one,
}  # fmt: skip
INTEGERS = frozenset({"calib_level", "ob_id", "n_obs", "tpl_expno", "tpl_nexp", "em_xel", "t_xel", "pol_xel"})
DATES = frozenset({"obs_creation_date", "tpl_start", "release_date"})
RULE_KEYS = frozenset({"keyword", "unit", "value", "default", "pattern", "map", "hdu"})
BAND_KEYS = frozenset({"keyword", "system", "pattern", "value", "unit", "hdu", "map"})
TOP_KEYS = frozenset({"name", "description", "priority", "match", "fields", "defaults", "band"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One field of the product: from a keyword (the first that has a value), or a constant value."""

    field: str
    keywords: tuple[str, ...] = ()
    unit: str | None = None
    value: Any = None
    default: Any = None
    pattern: re.Pattern[str] | None = None
    table: tuple[tuple[str, Any], ...] = ()
    hdu: int | str | None = None


@dataclass(frozen=True, slots=True)
class BandRule:
    """Where the filter's name stands, and which table knows its wavelengths.

    pattern with groups centre and width (in unit) reads them from the text itself; a group name is the filter's name;
    table turns codes into names. value: the whole instrument has one band, which is no filter.
    """

    keywords: tuple[str, ...]
    system: str | None
    pattern: re.Pattern[str] | None
    value: str | None
    unit: str | None
    hdu: int | str | None = None
    table: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Mapping:
    """One mapping file. matches: alternatives, each a set of conditions that must all hold; none: never by itself."""

    name: str
    file: str
    priority: int
    matches: tuple[tuple[tuple[str, Any], ...], ...]
    fields: tuple[Rule, ...]
    defaults: tuple[Rule, ...]
    bands: tuple[BandRule, ...]
    table: BandTable

    def recognises(self, file: FitsFile) -> bool:
        """True if one of the alternatives holds in any single lookup over the file's first HDUs."""
        keywords = file.keywords(*range(1, min(3, len(file.hdus))))
        return any(all(_holds(keywords, key, wanted) for key, wanted in match) for match in self.matches)


@dataclass(frozen=True, slots=True)
class MatchedMapping:
    """The mappings that recognise one file, most particular first."""

    mappings: tuple[Mapping, ...]

    @classmethod
    def of(cls, mappings: Iterable[Mapping], file: FitsFile) -> "MatchedMapping":
        found = [mapping for mapping in mappings if mapping.recognises(file)]
        return cls(tuple(sorted(found, key=lambda mapping: -mapping.priority)))

    def explicit(self, file: FitsFile, science: Sequence[int]) -> list[Fact]:
        """Facts that the operator states: they win over what would be derived."""
        return self._facts(file, science, "fields")

    def defaults(self, file: FitsFile, science: Sequence[int]) -> list[Fact]:
        """Facts to use where nothing else is known: the bands of filters first, then [defaults]."""
        bands = [fact for mapping in self.mappings for fact in _band_facts(mapping, file, science)]
        return bands + self._facts(file, science, "defaults")

    def _facts(self, file: FitsFile, science: Sequence[int], part: str) -> list[Fact]:
        found = []
        for mapping in self.mappings:
            for rule in getattr(mapping, part):
                fact = _fact(mapping, rule, _lookup(file, science, rule.hdu))
                if fact is not None:
                    found.append(fact)
        return found


def _lookup(file: FitsFile, science: Sequence[int], hdu: int | str | None) -> Keywords:
    """Keywords of the HDU a rule names, else of the science HDUs and the primary."""
    if isinstance(hdu, int):
        return file.keywords(*([hdu] if hdu < len(file.hdus) else []))
    if isinstance(hdu, str):
        return file.keywords(*(entry.index for entry in file.hdus if entry.name == hdu.upper()))
    return file.keywords(*science)


def _holds(keywords: Keywords, key: str, wanted: Any) -> bool:
    if key in ("COMMENT", "HISTORY"):
        texts = [str(line) for _, header in keywords.headers for line in header.get(key, ())]
    else:
        found = keywords.find(key)
        if isinstance(wanted, bool):
            return (found is not None) == wanted
        texts = [] if found is None else [str(found[0]).strip()]
    if isinstance(wanted, re.Pattern):
        return any(wanted.search(text) for text in texts) or (key == "HISTORY" and bool(wanted.search("".join(texts))))
    return any(text.casefold() == str(wanted).casefold() for text in texts)


def _fact(mapping: Mapping, rule: Rule, keywords: Keywords) -> Fact | None:
    source = f"mapping {mapping.name}"
    if rule.value is not None:
        return Fact(rule.field, _typed(rule, rule.value), source, "the mapping states it")
    found = keywords.text(*rule.keywords)
    raw: Any = None
    if found is not None:
        raw, source = found[0], found[1]
        if rule.pattern is not None:
            hit = rule.pattern.search(raw)
            raw = None if hit is None else hit[1] if rule.pattern.groups else hit[0]
        if raw is not None and rule.table:
            raw = dict(rule.table).get(str(raw).casefold())
    if raw is None:
        raw = rule.default
        source = f"mapping {mapping.name}"
    value = None if raw is None else _typed(rule, raw)
    return None if value is None else Fact(rule.field, value, source, f"mapping {mapping.name}")


def _typed(rule: Rule, raw: Any) -> Any:
    """The value in the model's type and unit; None where a keyword's value cannot be read as one."""
    if rule.field in DATES:
        try:
            return datetime.fromisoformat(str(raw))
        except ValueError:
            return None
    if rule.field not in UNITS and rule.field not in INTEGERS:
        return str(raw).strip()
    try:
        number = float(raw)
    except (TypeError, ValueError):
        return None
    if rule.field in INTEGERS:
        return int(number)
    unit = UNITS[rule.field]
    if rule.unit is None or number != number:
        return None if number != number else number
    return float((number * u.Unit(rule.unit)).to_value(unit, equivalencies=u.spectral()))


def _band_facts(mapping: Mapping, file: FitsFile, science: Sequence[int]) -> list[Fact]:
    for rule in mapping.bands:
        text, source = rule.value, f"mapping {mapping.name}"
        if rule.value is None:
            found = _lookup(file, science, rule.hdu).text(*rule.keywords)
            if found is None:
                continue
            text, source = found
        name, band = _band(mapping, rule, text or "")
        if name is None:
            continue
        facts = [] if rule.value is not None else [Fact("filter", name, source, f"mapping {mapping.name}")]
        if band is not None:
            low, high = band
            power = (low + high) / 2 / (high - low)
            why = f"band {name} of {rule.system}" if rule.system else f"centre and width in {source}"
            facts += [Fact("em_min", low, source, why), Fact("em_max", high, source, why)]
            if rule.value is None:
                facts.append(Fact("em_res_power", power, source, "wavelength over width of the filter"))
        return facts
    return []


def _band(mapping: Mapping, rule: BandRule, text: str) -> tuple[str | None, Band | None]:
    name = dict(rule.table).get(text.casefold(), text)
    groups: dict[str, str] = {}
    if rule.pattern is not None:
        hit = rule.pattern.search(text)
        if hit is None:
            return None, None
        groups = hit.groupdict()
        name = groups.get("name") or (hit[1] if rule.pattern.groups else hit[0])
    if "centre" in groups and "width" in groups and rule.unit:
        scale = float((1 * u.Unit(rule.unit)).to_value(u.m))
        centre, width = float(groups["centre"]) * scale, float(groups["width"]) * scale
        return name, (centre - width / 2, centre + width / 2)
    return name, None if rule.system is None else mapping.table.find(rule.system, name)


def builtin_mappings() -> tuple[Mapping, ...]:
    """The mappings that come with the archive."""
    with resources.as_file(resources.files("ingest.instruments") / "mappings") as folder:
        return load_mappings(folder)


def load_mappings(*folders: Path) -> tuple[Mapping, ...]:
    """All mappings of some folders (*.toml; bands.toml holds filters). A later folder's mapping of a name replaces.

    ConfigurationError: names file, key and what is expected.
    """
    table = BandTable({})
    found: dict[str, Mapping] = {}
    documents: list[tuple[Path, dict[str, Any]]] = []
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder}: no such folder of mapping files")
        for path in sorted(folder.glob("*.toml")):
            try:
                document = tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{path}: not TOML: {error}") from error
            if path.name == "bands.toml":
                table = table.merged(read_bands(document, str(path)))
            else:
                documents.append((path, document))
    for path, document in documents:
        mapping = _mapping(path, document, table)
        found[mapping.name] = mapping
    return tuple(found.values())


def _mapping(path: Path, document: dict[str, Any], table: BandTable) -> Mapping:
    where = str(path)
    _known(document, TOP_KEYS, where)
    priority = document.get("priority", 10)
    if not isinstance(priority, int):
        raise ConfigurationError(f"{where}: priority: expected a whole number, not {priority!r}")
    raw = document.get("match")
    given = raw if isinstance(raw, list) else [raw]
    matches = [match for match in given if isinstance(match, dict)]
    if len(matches) != len(given):
        raise ConfigurationError(f"{where}: match: expected [match] or [[match]] with keyword = value")
    bands = document.get("band", [])
    if not isinstance(bands, list):
        raise ConfigurationError(f"{where}: band: expected [[band]] tables")
    return Mapping(
        name=str(document.get("name", path.stem)),
        file=where,
        priority=priority,
        matches=tuple(tuple((key, _wanted(value, where, key)) for key, value in match.items()) for match in matches),
        fields=_rules(document.get("fields", {}), f"{where}: fields"),
        defaults=_rules(document.get("defaults", {}), f"{where}: defaults"),
        bands=tuple(_band_rule(band, table, f"{where}: band {i + 1}") for i, band in enumerate(bands)),
        table=table,
    )


def _known(document: dict[str, Any], known: frozenset[str], where: str) -> None:
    for key in document:
        if key not in known:
            raise ConfigurationError(f"{where}: unknown key {key!r}; expected one of {', '.join(sorted(known))}")


def _wanted(value: Any, where: str, key: str) -> Any:
    if isinstance(value, str) and len(value) > 1 and value.startswith("/") and value.endswith("/"):
        return _pattern(value[1:-1], f"{where}: match {key}")
    if not isinstance(value, str | int | float | bool):
        raise ConfigurationError(f'{where}: match {key}: expected text, "/regex/", a number, true or false')
    return value


def _pattern(text: Any, where: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, TypeError) as error:
        raise ConfigurationError(f"{where}: {text!r} is no regular expression: {error}") from error


def _rules(document: Any, where: str) -> tuple[Rule, ...]:
    if not isinstance(document, dict):
        raise ConfigurationError(f"{where}: expected a table of field = {{ keyword = ... }}")
    return tuple(_rule(name, entry, f"{where}.{name}") for name, entry in document.items())


def _rule(name: str, entry: Any, where: str) -> Rule:
    if name not in FIELDS:
        raise ConfigurationError(f"{where}: no such field; expected one of {', '.join(sorted(FIELDS))}")
    if not isinstance(entry, dict):
        raise ConfigurationError(f'{where}: expected {{ keyword = "..." }} or {{ value = ... }}, not {entry!r}')
    _known(entry, RULE_KEYS, where)
    keywords = _keywords(entry, where)
    if bool(keywords) == ("value" in entry):
        raise ConfigurationError(f"{where}: expected either keyword or value")
    unit = entry.get("unit")
    if unit is not None:
        _check_unit(name, unit, where)
    pattern = _pattern(entry["pattern"], f"{where}.pattern") if "pattern" in entry else None
    table = entry.get("map", {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{where}.map: expected a table of found = recorded")
    rule = Rule(
        name, keywords, unit, entry.get("value"), entry.get("default"), pattern,
        tuple((str(key).casefold(), value) for key, value in table.items()), _hdu(entry, where),
    )  # fmt: skip
    for key in ("value", "default"):
        if key in entry and _typed(rule, entry[key]) is None:
            raise ConfigurationError(f"{where}.{key}: {entry[key]!r} is no value for {name}")
    return rule


def _check_unit(name: str, unit: Any, where: str) -> None:
    if name not in UNITS:
        raise ConfigurationError(f"{where}.unit: {name} has no unit")
    try:
        u.Unit(unit).to(UNITS[name], 1.0, equivalencies=u.spectral())
    except (ValueError, TypeError, u.UnitsError) as error:
        raise ConfigurationError(f"{where}.unit: {unit!r} does not convert to {UNITS[name]}") from error


def _keywords(entry: dict[str, Any], where: str) -> tuple[str, ...]:
    raw = entry.get("keyword", [])
    names = [raw] if isinstance(raw, str) else raw
    if not (isinstance(names, list) and all(isinstance(name, str) and name for name in names)):
        raise ConfigurationError(f"{where}.keyword: expected a keyword or a list of keywords, not {raw!r}")
    return tuple(names)


def _hdu(entry: dict[str, Any], where: str) -> int | str | None:
    hdu = entry.get("hdu")
    if hdu is not None and not isinstance(hdu, int | str):
        raise ConfigurationError(f"{where}.hdu: expected a number or an EXTNAME, not {hdu!r}")
    return hdu


def _band_rule(entry: Any, table: BandTable, where: str) -> BandRule:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{where}: expected a table")
    _known(entry, BAND_KEYS, where)
    system, unit, value = entry.get("system"), entry.get("unit"), entry.get("value")
    if system is not None and system not in table.systems:
        raise ConfigurationError(f"{where}.system: {system!r} is in no bands.toml; known: {', '.join(table.systems)}")
    if value is not None and (system is None or table.find(system, str(value)) is None):
        raise ConfigurationError(f"{where}.value: filter {value!r} is not in system {system!r}")
    keywords = _keywords(entry, where)
    if bool(keywords) == (value is not None):
        raise ConfigurationError(f"{where}: expected either keyword or value")
    pattern = _pattern(entry["pattern"], f"{where}.pattern") if "pattern" in entry else None
    if unit is not None:
        _check_unit("em_min", unit, where)
    codes = entry.get("map", {})
    if not (isinstance(codes, dict) and all(isinstance(name, str) for name in codes.values())):
        raise ConfigurationError(f"{where}.map: expected a table of code = filter name")
    names = tuple((str(code).casefold(), name) for code, name in codes.items())
    return BandRule(keywords, system, pattern, value, unit, _hdu(entry, where), names)
