"""A cone over HTTP against the same SQL asked of PostgreSQL directly, in one run: `python benchmarks/cone.py`.

Floor: the archive's own translation of the query, by psycopg as the reader role, rows fetched in binary. The two take
turns, so that both meet the same caches and the same neighbours. Both databases' pages are warm after a first round.
"""

import argparse
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlencode

from helpers import BELT_DEG, SEED, TABLE, Client, Item, Served, in_turns, served, show, show_turns, timed

from archive.access.identity import ANONYMOUS
from archive.vo.dali import Parameters
from tap.adql.names import check
from tap.adql.parser import parse
from tap.adql.postgres import SqlQuery, translate
from tap.service import Prepared, TapService
from uraniborg import tap_service

RADIUS_DEG = 0.1
Centre = tuple[float, float]


def centres(count: int, seed: int) -> list[Centre]:
    """Positions within the catalogue's belt."""
    random_ = random.Random(seed)
    return [(random_.uniform(0, 360), random_.uniform(-BELT_DEG, BELT_DEG)) for _ in range(count)]


def adql(centre: Centre) -> str:
    ra, dec = centre
    return f"SELECT * FROM {TABLE} WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE({ra!r}, {dec!r}, {RADIUS_DEG}))"


class ConeClient(Client):
    """Asks for cones over HTTP."""

    def cone(self, centre: Centre) -> bytes:
        """The VOTable of a cone."""
        return self.get(f"/tap/sync?{urlencode({'LANG': 'ADQL', 'QUERY': adql(centre)})}")


def translated(tap: TapService, bench: Served, centre: Centre) -> SqlQuery:
    """The SQL that the archive asks for a cone."""
    return translate(check(parse(adql(centre)), tap.schema()), bench.archive.sphere, tap.limits.default_maxrec)


def prepare(tap: TapService, centre: Centre) -> Prepared:
    asked = Parameters([("LANG", "ADQL"), ("QUERY", adql(centre))])
    return tap.prepare(asked, ANONYMOUS, timeout_s=60)


def one_client(bench: Served, places: list[Centre]) -> list[tuple[str, list[float]]]:
    """Each centre once by each way, in turns. Milliseconds a way."""
    tap = tap_service(bench.archive)
    client = ConeClient(bench)
    with bench.reader() as reader:
        cursor = reader.cursor(binary=True)

        def ask(query: SqlQuery) -> object:
            try:
                return cursor.execute(query.sql.encode(), query.parameters).fetchall()
            finally:
                reader.rollback()

        def answer(centre: Centre) -> bytes:
            return b"".join(prepare(tap, centre).open())

        def ways(centre: Centre) -> dict[str, Callable[[], object]]:
            return {
                "raw SQL": partial(ask, translated(tap, bench, centre)),
                "in process: parse, check, translate": partial(prepare, tap, centre),
                "in process: all of it": partial(answer, centre),
                "HTTP, a request without work": partial(client.get, "/tap/nothing", 404),
                "HTTP": partial(client.cone, centre),
            }

        return in_turns(ways, places)


def at_once(work: Callable[[Item], object], items: Sequence[Item], clients: int) -> float:
    """Items a second, with that many threads at work."""
    with ThreadPoolExecutor(clients) as pool:
        return len(items) * 1e3 / timed(lambda: list(pool.map(work, items)))


def many_clients(bench: Served, places: list[Centre], clients: int) -> tuple[float, float]:
    """Cones a second over HTTP, and of the raw SQL, with that many clients at once, each on a connection of its own."""
    tap = tap_service(bench.archive)
    queries = [translated(tap, bench, centre) for centre in places]
    local = threading.local()
    with ExitStack() as connections:

        def over_http(centre: Centre) -> None:
            if not hasattr(local, "client"):
                local.client = ConeClient(bench)
            local.client.cone(centre)

        def raw(query: SqlQuery) -> None:
            if not hasattr(local, "reader"):
                local.reader = connections.enter_context(bench.reader())
            local.reader.cursor(binary=True).execute(query.sql.encode(), query.parameters).fetchall()
            local.reader.rollback()

        return at_once(over_http, places, clients), at_once(raw, queries, clients)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--cones", type=int, default=300)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--web-workers", type=int, default=2)
    chosen = parser.parse_args()
    places = centres(chosen.cones, SEED)
    with served(chosen.rows, web_workers=chosen.web_workers) as bench:
        spent = one_client(bench, places)
        show_turns(
            f"cone of {RADIUS_DEG} deg, {chosen.rows} rows, {chosen.cones} centres, 1 client, "
            f"{chosen.web_workers} web workers",
            spent,
        )
        rows = [(f"{clients} clients", *many_clients(bench, places, clients)) for clients in (1, chosen.clients)]
        show("cones a second", ("", "HTTP", "raw SQL"), rows)


if __name__ == "__main__":
    main()
