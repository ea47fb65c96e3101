"""What discovery asks the database beside its searches: the values that a column has now."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql
from psycopg_pool import PoolClosed, PoolTimeout

from archive.holdings.sessions import Sessions, reading

log = logging.getLogger(__name__)


def column_values(
    pool: Sessions, columns: Sequence[str], types: Sequence[str], *, most: int, timeout_s: float
) -> dict[str, list[str]]:
    """The values of columns of ivoa.obscore, of rows of some dataproduct_types; of each at most `most`, in order."""
    one = "(SELECT DISTINCT {name}, {column} FROM ivoa.obscore WHERE dataproduct_type = ANY(%(types)s)"
    one += " AND {column} IS NOT NULL ORDER BY 2 LIMIT %(most)s)"
    parts = [sql.SQL(one).format(name=sql.Literal(name), column=sql.Identifier(name)) for name in columns]
    found: dict[str, list[str]] = {name: [] for name in columns}
    with reading(pool, patience_s=timeout_s) as session:
        rows = session.execute(sql.SQL(" UNION ALL ").join(parts), {"types": list(types), "most": most})
        for name, value in rows:
            found[str(name)].append(str(value))
    return found


class OfferedValues:
    """The values that a protocol tells as examples, looked up again now and then, by one thread at a time."""

    def __init__(
        self,
        pool: Sessions,
        columns: Sequence[str],
        types: Sequence[str],
        *,
        most: int = 500,
        timeout_s: float = 5.0,
        look_again_s: float = 300.0,
    ) -> None:
        self._pool = pool
        self._columns = columns
        self._types = types
        self._most = most
        self._timeout_s = timeout_s
        self._look_again_s = look_again_s
        self._looked = float("-inf")
        self._guard = threading.Lock()
        self._values: Mapping[str, list[str]] = {}

    def now(self) -> Mapping[str, list[str]]:
        """As of the last look; examples only, so an old answer is better than a late one."""
        if time.monotonic() - self._looked < self._look_again_s or not self._guard.acquire(blocking=False):
            return self._values
        try:
            self._values = column_values(
                self._pool, self._columns, self._types, most=self._most, timeout_s=self._timeout_s
            )
        except (psycopg.Error, PoolTimeout, PoolClosed) as problem:
            log.warning("the values of %s could not be looked up: %s", ", ".join(self._columns), problem)
        finally:
            self._looked = time.monotonic()
            self._guard.release()
        return self._values
