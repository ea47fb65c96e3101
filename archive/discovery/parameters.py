"""The parameters of a discovery protocol, declared once: what is parsed, what the service says of itself, its docs.

Each protocol's own list is in sia.py, ssa.py and scs.py; conditions are in conditions.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from archive.discovery.conditions import Bound, Condition
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input
from archive.vo.errors import UsageError
from archive.vo.formats import FORMATS

RESPONSE_FORMATS = tuple(dict.fromkeys(form.media_type for form in FORMATS))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a protocol.

    condition: which rows its values mean; None if it is not about rows. offered: the column whose values, as the
    archive has them now, are told as examples.
    """

    told: Input
    condition: Condition | None = None
    offered: str | None = None

    @property
    def name(self) -> str:
        return self.told.name

    def with_values(self, values: Mapping[str, Sequence[str]]) -> Input:
        """As it is told now. values: of each offered column."""
        if self.offered is None:
            return self.told
        return replace(self.told, values=tuple(values.get(self.offered, ())), is_open=True)


def maxrec(default: int, hard: int) -> Parameter:
    """MAXREC (DALI 1.1 §3.4.4)."""
    about = f"Rows to answer at the most; {default} if not given, {hard} at the most, 0: the columns only"
    return Parameter(Input("MAXREC", about, "int", None, minimum="0", maximum=str(hard)))


RESPONSEFORMAT = Parameter(
    Input("RESPONSEFORMAT", "Media type of the answer", values=RESPONSE_FORMATS, is_open=True, ucd="meta.code.mime")
)


def conditions(declared: Sequence[Parameter], asked: Parameters, bound: Bound) -> list[str]:
    """SQL, all of which must hold: of each parameter that was given, one of its values.

    UsageError: a value that its parameter does not take. Parameters that are not declared are left alone.
    """
    return [
        parameter.condition(parameter.name, checked(parameter.told, asked.all(parameter.name)), bound)
        for parameter in declared
        if parameter.condition is not None and parameter.name in asked
    ]


def checked(told: Input, values: Sequence[str]) -> Sequence[str]:
    """The values, each of which must be one that the parameter takes, where they can be counted."""
    if told.values and not told.is_open:
        for value in values:
            if value.strip() not in told.values:
                raise UsageError(f"{told.name} takes {', '.join(told.values)}; not {value!r}")
        return [value.strip() for value in values]
    return values
