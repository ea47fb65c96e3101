"""Units for IN_UNIT (ADQL 2.1 §4.9.1, ADQL-35): what one unit is in another, by astropy."""

from functools import lru_cache

from archive.vo.errors import UsageError


@lru_cache(maxsize=1024)
def conversion_factor(unit: str, target: str) -> float:
    """What a value in `unit` is multiplied by to be in `target` (VOUnits). UsageError says why there is none."""
    # astropy.units takes a third of a second to import; queries without IN_UNIT do not wait for it.
    from astropy import units

    def read(text: str) -> units.UnitBase:
        for syntax in ("vounit", "generic"):
            try:
                return units.Unit(text, format=syntax, parse_strict="raise")
            except (ValueError, TypeError):
                continue
        raise UsageError(f"{text!r} is no unit in VOUnits")

    try:
        return float(read(unit).to(read(target)))
    except units.UnitConversionError:
        raise UsageError(f"{unit!r} cannot be converted to {target!r}") from None
