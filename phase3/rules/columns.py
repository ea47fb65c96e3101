"""Columns of tables: names, formats, UCDs, limits, nulls (SDP 8 §5.18, §12)."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from astropy.io.votable.ucd import parse_ucd

from phase3.rules.breach import Breach
from phase3.rules.model import KeywordRule
from phase3.rules.product import CATALOGUES, Product
from phase3.rules.reserved import RESERVED

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
FORM = re.compile(r"\s*(\d*)([A-Z])")
CATALOGUE_FORMS = "LABIJKED"
MAX_REPEAT = 1500
DATABASE = (*CATALOGUES, "SCIENCE.SRCTBL")


def check_columns(product: Product) -> Iterator[Breach]:
    """What each column says of itself. Names are strict where columns go into a database, not in OIFITS's tables."""
    for index in product.science if product.prodcatg in DATABASE else product.tables:
        if product.hdu(index).kind != "table":
            continue
        if product.prodcatg in DATABASE:
            yield from _names(product, index)
        if product.prodcatg in CATALOGUES:
            yield from _formats(product, index)
        yield from _ucds(product, index)
        yield from _limits(product, index)
        yield from _nulls(product, index)


def _rule(product: Product, name: str) -> KeywordRule:
    return product.rules.keywords[name]


def _names(product: Product, index: int) -> Iterator[Breach]:
    names = {i: str(name) for i, name in product.indexed("TTYPE", index).items()}
    counts = Counter(name.upper() for name in names.values())
    for i, name in names.items():
        wrong = expected = ""
        if not NAME.match(name):
            wrong, expected = "is no plain name", "a letter, then letters, digits and _"
        elif name.upper() in RESERVED:
            wrong, expected = "is a reserved word of ADQL or SQL", "another word: no query could name it without quotes"
        elif counts[name.upper()] > 1:
            wrong, expected = "is the name of another column too", "names that differ in more than case"
        if wrong:
            yield product.table_breach(
                "value", _rule(product, "TTYPEi"), index, f"TTYPE{i}", "error", "column_name", f"{name!r} {wrong}.",
                expected, "rename the column.",
            )  # fmt: skip


def _formats(product: Product, index: int) -> Iterator[Breach]:
    for i, form in product.indexed("TFORM", index).items():
        match = FORM.match(str(form))
        if match is None or match[2] not in CATALOGUE_FORMS or int(match[1] or 1) > MAX_REPEAT:
            yield product.table_breach(
                "value", _rule(product, "TFORMi"), index, f"TFORM{i}", "error", "column_format",
                f"TFORM{i} is {form!r}.",
                f"rT with T one of {', '.join(CATALOGUE_FORMS)} and r <= {MAX_REPEAT}; no arrays of variable length",
                "write the column in another format, or split it.",
            )  # fmt: skip


def _ucds(product: Product, index: int) -> Iterator[Breach]:
    for i, ucd in product.indexed("TUCD", index).items():
        wrong = ucd_mistake(str(ucd))
        if wrong:
            yield product.table_breach(
                "value", _rule(product, "TUCDi"), index, f"TUCD{i}", wrong[0], "ucd_invalid",  # type: ignore[arg-type]
                f"TUCD{i} is {ucd!r}: {wrong[1]}.", "a UCD1+ of the IVOA's list",
                "see ivoa.net/documents/UCD1+ for the words and their order.",
            )  # fmt: skip


@lru_cache(maxsize=5_000)
def ucd_mistake(ucd: str) -> tuple[str, str] | None:
    """Level and what is wrong with a UCD (UCD1+); None for a good one. An unknown word is a warning: the list grows."""
    if not ucd.strip():
        return None
    try:
        parse_ucd(ucd)
    except ValueError as error:
        return "error", str(error)
    try:
        parse_ucd(ucd, check_controlled_vocabulary=True)
    except ValueError as error:
        return "warning", str(error)
    return None


def _limits(product: Product, index: int) -> Iterator[Breach]:
    highest = product.indexed("TDMAX", index)
    for i, low in product.indexed("TDMIN", index).items():
        high = highest.get(i)
        numbers = isinstance(low, int | float) and isinstance(high, int | float)
        # A column of one value has both limits there.
        if numbers and low > high:
            yield product.table_breach(
                "value", _rule(product, "TDMINi"), index, f"TDMIN{i}, TDMAX{i}", "error", "pair_reversed",
                f"TDMIN{i} is {low}, more than TDMAX{i}, {high}.", f"TDMIN{i} < TDMAX{i}", "exchange them.",
            )  # fmt: skip


def _nulls(product: Product, index: int) -> Iterator[Breach]:
    for i in product.indexed("TNULL", index):
        form = FORM.match(str(product.get(f"TFORM{i}", index)))
        identifier = product.text(f"TUCD{i}", index) == "meta.id;meta.main"
        if identifier or (form and form[2] not in "BIJKPQ"):
            what = "the identifier is never null" if identifier else "the column holds no integers"
            yield product.table_breach(
                "value", _rule(product, "TNULLi"), index, f"TNULL{i}", "error", "null_refused", f"TNULL{i}: {what}.",
                "TNULL for integer columns only, and not for the identifier", f"remove TNULL{i}.",
            )  # fmt: skip
