"""The keyword table applied: what must be there, what must not, in which HDU, of which type, value and unit."""

import math
import re
from collections.abc import Iterator
from typing import Any

from astropy.io import fits

from ingest.findings import Level
from phase3.rules.breach import Breach
from phase3.rules.conditions import demanded, wanted
from phase3.rules.model import KeywordRule, Use
from phase3.rules.product import Product
from phase3.rules.units import unit_of
from phase3.rules.values import value_rule

PAIRS = (("WAVELMIN", "WAVELMAX"), ("BASE_MIN", "BASE_MAX"))
TYPE_WORDS = {"string": "text", "real": "a number", "integer": "an integer", "boolean": "T or F"}
COMMENT_UNIT = re.compile(r"\s*\[([^\]]+)\]")
TOLD = 6  # names of columns in one finding


def check_matrix(product: Product) -> Iterator[Breach]:
    """Breaches of the keyword table by the product, whose category must be known."""
    assert product.category is not None
    for rule, use in product.rules.of_category(product.category.id):
        yield from _presence(product, rule, use)
    yield from check_values(product)
    for low, high in PAIRS:
        both = product.numbers(low, high)
        if both and 0 < both[1] < both[0]:
            of = product.rules.keywords[low]
            yield product.table_breach(
                "value", of, product.primary, f"{low}, {high}", "error", "pair_reversed",
                f"{low} is {both[0]:g}, more than {high}, {both[1]:g}.", f"{low} <= {high}", "correct them.",
            )  # fmt: skip


def _presence(product: Product, rule: KeywordRule, use: Use) -> Iterator[Breach]:
    """What is missing though it must be there, or there though it must not."""
    if use.level in ("forbidden", "reserved", "contact-archive"):
        yield from _unwelcome(product, rule, use)
        return
    for hdu in product.places(use.hdu, rule.name):
        if use.level == "conditional":
            names = demanded(product, rule.name, use.condition, hdu)
        else:
            names = wanted(product, rule.name, hdu) if use.level in ("required", "recommended") else ()
        missing = [name for name in names if not product.has(name, hdu)]
        if missing:
            yield _missing(product, rule, use, hdu, missing)


def _missing(product: Product, rule: KeywordRule, use: Use, hdu: int, names: list[str]) -> Breach:
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    keyword = ", ".join(names[:TOLD]) + more
    why = f" ({use.condition})" if use.condition else ""
    unit = f", in {rule.unit}" if rule.unit else ""
    allowed = f"; {rule.allowed}" if rule.allowed else ""
    expected = f"{TYPE_WORDS.get(rule.type, 'a value')}{unit}{allowed}"
    elsewhere = [
        other.label for other in product.file.hdus if other.index != hdu and product.has(names[0], other.index)
    ]
    if elsewhere and use.hdu in ("primary", "extension") and len(names) == 1:
        what = f"{keyword} is in {elsewhere[0]}, and belongs in this HDU{why}."
        code, mend = "keyword_misplaced", f"write {keyword} into the header of {product.hdu(hdu).label}."
    else:
        what = f"{keyword} {'are' if len(names) > 1 else 'is'} missing{why}. {rule.meaning}"
        code, mend = "keyword_missing", f"write {keyword}: {expected}."
    level: Level = "info" if use.level == "recommended" else "error"
    return product.table_breach(use.level, rule, hdu, keyword, level, code, what, expected, mend)


def _unwelcome(product: Product, rule: KeywordRule, use: Use) -> Iterator[Breach]:
    """Keywords that are refused, that the archive writes, or that want a word with the archive."""
    places = product.places(use.hdu)
    if use.level == "forbidden":  # refused in one header, and no more welcome in another
        places = product.places("primary+extension" if use.hdu == "primary" else "all")
    told: dict[str, tuple[Level, str, str, str]] = {
        "forbidden": ("error", "keyword_forbidden", "is refused in this category", "remove it."),
        "reserved": ("warning", "keyword_reserved", "is written by the archive, which replaces it", "remove it."),
        "contact-archive": ("info", "keyword_by_agreement", "goes by agreement with the archive", "ask the archive."),
    }  # fmt: skip
    level, code, what, mend = told[use.level]
    for hdu in dict.fromkeys(places):
        names = product.by_rule[hdu].get(rule.name, ())
        if names:
            keyword = ", ".join(names[:TOLD])
            yield product.table_breach(use.level, rule, hdu, keyword, level, code, f"{keyword} {what}.", "absent", mend)


def check_values(product: Product) -> Iterator[Breach]:
    """Types, values and units of the keywords that stand where they belong."""
    assert product.category is not None
    for rule, use in product.rules.of_category(product.category.id):
        if use.level == "forbidden":
            continue
        for hdu in dict.fromkeys(product.places(use.hdu, rule.name)):
            for keyword in product.by_rule[hdu].get(rule.name, ()):
                yield from _value(product, rule, hdu, keyword, product.values[hdu][keyword])


def _value(product: Product, rule: KeywordRule, hdu: int, keyword: str, value: Any) -> Iterator[Breach]:
    if not _of_type(value, rule.type):
        expected = TYPE_WORDS.get(rule.type, "a value")
        told = "has no value" if isinstance(value, fits.card.Undefined) else f"is {_shown(value)}"
        yield product.table_breach(
            "type", rule, hdu, keyword, "error", "value_type", f"{keyword} {told}, not {expected}.", expected,
            f"write {keyword} as {expected}{'' if rule.type != 'string' else ', in quotes'}.",
        )  # fmt: skip
        return
    allowed = value_rule(rule.name, keyword)
    if allowed is not None and not allowed.allows(value, product):
        unit = f" {rule.unit}" if rule.unit else ""
        yield product.table_breach(
            "value", rule, hdu, keyword, allowed.level, "value_not_allowed",
            f"{keyword} is {_shown(value)}.", f"{allowed.words}{unit}", f"{rule.meaning}",
        )  # fmt: skip
    yield from _unit(product, rule, hdu, keyword)


def _of_type(value: Any, kind: str) -> bool:
    """FITS 4.0 §4.2: an integer is a number too; T and F are not."""
    if isinstance(value, bool) or kind == "boolean":
        return kind in ("boolean", "any") and isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str)
    if kind == "integer":
        return isinstance(value, int)
    if kind == "real":
        return isinstance(value, int | float) and math.isfinite(value)
    return not isinstance(value, fits.card.Undefined)


def _unit(product: Product, rule: KeywordRule, hdu: int, keyword: str) -> Iterator[Breach]:
    """A unit in brackets in the card's comment that is not the standard's: then the value is hardly in it either."""
    if not rule.unit:
        return
    match = COMMENT_UNIT.match(product.hdu(hdu).header.comments[keyword])
    if match is None:
        return
    told, meant = unit_of(match[1]), unit_of(rule.unit)
    if told is None or meant is None or told == meant:
        return
    yield product.table_breach(
        "unit", rule, hdu, keyword, "warning", "unit_contradicted",
        f"the comment says [{match[1]}], the standard wants {rule.unit}.", rule.unit,
        f"give {keyword} in {rule.unit}; if it is, correct the comment.",
    )  # fmt: skip


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    return repr(value) if not isinstance(value, float) else f"{value:.12g}"
