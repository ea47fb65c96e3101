"""Units of keywords and columns, each text read once: a thousand files say the same few hundred times over."""

from functools import lru_cache

from astropy.units import UnitBase

from ingest.describe.units import parse_unit

OTHER_NAMES = {"d": "day", "yr": "year", "e-": "electron"}


@lru_cache(maxsize=4_096)
def unit_of(text: str) -> UnitBase | None:
    """The unit a header means; None if it cannot be told (astropy's guesses at a misspelling take 30 ms)."""
    return parse_unit(OTHER_NAMES.get(text, text))
