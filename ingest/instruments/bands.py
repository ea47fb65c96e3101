"""Filters and their wavelengths: bands.toml, read into a value. Half-power edges, metres; sources beside them."""

from dataclasses import dataclass

import astropy.units as u

from archive.vo.errors import ConfigurationError

Band = tuple[float, float]


@dataclass(frozen=True, slots=True)
class BandTable:
    """systems: system name to (filter name in lower case to (min, max) in metres)."""

    systems: dict[str, dict[str, Band]]

    def find(self, system: str, name: str) -> Band | None:
        """The band of a filter by its name in any case; None if the system does not list it."""
        return self.systems.get(system, {}).get(name.strip().lower())

    def merged(self, other: "BandTable") -> "BandTable":
        """This table with another's systems added; where both know a filter, the other's stays."""
        names = {*self.systems, *other.systems}
        return BandTable({name: {**self.systems.get(name, {}), **other.systems.get(name, {})} for name in names})


def read_bands(document: object, file: str) -> BandTable:
    """The table of a parsed TOML document: [system] with unit = "...", filter = [low, high].

    ConfigurationError: names file and key, and says what is expected.
    """
    if not isinstance(document, dict):
        raise ConfigurationError(f"{file}: expected tables of bands")
    systems: dict[str, dict[str, Band]] = {}
    for system, entries in document.items():
        if not isinstance(entries, dict) or not isinstance(entries.get("unit"), str):
            raise ConfigurationError(f'{file}: [{system}] needs unit = "nm" (or um, Angstrom, GHz, keV ...)')
        bands = {name: value for name, value in entries.items() if name not in ("unit", "source")}
        systems[system] = {
            name.lower(): _band(value, entries["unit"], f"{file}: [{system}] {name}") for name, value in bands.items()
        }
    return BandTable(systems)


def _band(value: object, unit: str, where: str) -> Band:
    if not (isinstance(value, list) and len(value) == 2 and all(isinstance(edge, int | float) for edge in value)):
        raise ConfigurationError(f"{where}: expected [low, high], two numbers, not {value!r}")
    try:
        low, high = (float(edge) for edge in (value * u.Unit(unit)).to_value(u.m, equivalencies=u.spectral()))
    except (ValueError, u.UnitsError) as error:
        raise ConfigurationError(f"{where}: unit {unit!r} is no unit of wavelength, frequency or energy") from error
    return min(low, high), max(low, high)
