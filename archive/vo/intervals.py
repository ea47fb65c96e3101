"""Intervals of one quantity: time (MJD, UTC, days), band (vacuum wavelength, metres), others; from DALI text.

Which columns an interval is held against is the protocol's own (archive.discovery, datalink).
"""

import math
from dataclasses import dataclass
from typing import Self

from archive.vo.errors import UsageError


@dataclass(frozen=True, slots=True)
class Interval:
    """From low to high, both included; either may be infinite (DALI 1.2 §3.4). low <= high, neither is NaN."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high or self.low == math.inf or self.high == -math.inf:
            raise UsageError(f"not an interval: {self.low} is not below {self.high}, or both are infinite alike")

    @classmethod
    def from_dali(cls, text: str, *, name: str = "an interval", scalar: bool = False) -> Self:
        """Read ``"low high"``, ``-Inf`` and ``+Inf`` allowed; name: the parameter, for the message of UsageError.

        scalar: one number is taken as both limits (SIA 2.0 §2.1.2); SODA 1.0 §3.3 wants it written twice.
        """
        try:
            numbers = [float(word) for word in text.split()]
        except ValueError:
            raise UsageError(f"{name} takes two numbers, -Inf or +Inf for an open end, not {text!r}") from None
        if scalar and len(numbers) == 1:
            numbers *= 2
        if len(numbers) != 2:
            raise UsageError(f"{name} takes two numbers, not {len(numbers)}: {text!r}")
        return cls(*numbers)

    @property
    def start(self) -> float:
        return self.low

    @property
    def stop(self) -> float:
        return self.high

    def overlaps(self, other: "Interval") -> bool:
        """Whether they share a value; touching counts."""
        return self.low <= other.high and other.low <= self.high

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high

    def as_dali(self) -> str:
        """``"low high"`` as DALI writes it."""
        return " ".join(_text(number) for number in (self.low, self.high))


@dataclass(frozen=True, slots=True)
class TimeInterval(Interval):
    """MJD, UTC, days."""


@dataclass(frozen=True, slots=True)
class BandInterval(Interval):
    """Wavelength in vacuum, metres; an interval that holds no positive wavelength is refused."""

    def __post_init__(self) -> None:
        if not (self.low <= self.high and self.high > 0) or self.low == math.inf:
            raise UsageError(f"not an interval of wavelengths in metres: {self.low} to {self.high}")


def _text(number: float) -> str:
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return repr(float(number))
