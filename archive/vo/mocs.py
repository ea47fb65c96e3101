"""Coverage maps as text: ASCII MOC (MOC 2.0 §4.3.2). What lies in one is asked of archive.sphere."""

import re

from archive.vo.errors import UsageError

DEEPEST = 29
_PIECE = re.compile(r"(?:s?(?P<order>\d{1,2})/)?(?:(?P<first>\d{1,19})(?:-(?P<last>\d{1,19}))?)?")


def ranges_of(text: str) -> list[tuple[int, int]]:
    """Half-open ranges of cells of order 29, NESTED, in the order written. UsageError tells what is wrong."""
    order: int | None = None
    ranges = []
    for piece in re.split(r"[\s,]+", re.sub(r"/\s+", "/", text).strip(" \t\r\n,")):
        found = _PIECE.fullmatch(piece)
        if found is None:
            raise UsageError(f"{piece[:40]!r} is no piece of a MOC such as 6/3-7 9 8/5")
        order = order if found["order"] is None else int(found["order"])
        if found["first"] is None:
            continue
        if order is None or order > DEEPEST:
            raise UsageError(f"a MOC has orders 0 to {DEEPEST} before its cells, as in 6/3-7 9 8/5")
        first, last = int(found["first"]), int(found["last"] or found["first"])
        if not first <= last < 12 * 4**order:
            raise UsageError(f"{piece[:40]!r}: cells of order {order} are 0 to {12 * 4**order - 1}, in rising order")
        shift = 2 * (DEEPEST - order)
        ranges.append((first << shift, (last + 1) << shift))
    return ranges
