"""The tableset of 5,000 tables of 50 columns over HTTP, against reading the same rows: `python benchmarks/vosi.py`.

Floor: the rows of TAP_SCHEMA's columns by psycopg, in binary, which any answer must read once. Beside it: a query of
one of the tables, and a mistaken name, whose suggestions are looked for among all; and what a publication costs the
next request. Memory is that of the one web worker.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import urlencode

from helpers import Client, served, show, timed

from archive.app.opened import OpenedArchive
from archive.holdings.published import publish
from archive.vo.columns import Column, Table


def made_tables(count: int, columns: int) -> Iterator[Table]:
    """Tables whose columns have names in common, and descriptions of their own."""
    for number in range(count):
        yield Table(
            f"cat.made_{number:05d}",
            tuple(
                Column(
                    f"column_{place:02d}", "double" if place % 3 else "char", None if place % 3 else "*",
                    unit="mag" if place % 3 else None, ucd="phot.mag;em.opt.V" if place % 2 else None,
                    description=f"Column {place} of made table {number}: what it holds, in a line of some length",
                )
                for place in range(columns)
            ),
            f"Made table {number}", title=f"Made {number}", rows=number,
        )  # fmt: skip


def publish_all(archive: OpenedArchive, count: int, columns: int) -> None:
    """Many at once; the relations are not there, and nobody asks them."""
    with archive.engines.begin("writer") as connection:
        for table in made_tables(count, columns):
            publish(connection, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", type=int, default=5_000)
    parser.add_argument("--columns", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with served(0, fill=partial(publish_all, count=chosen.tables, columns=chosen.columns)) as bench:
        client = Client(bench)
        (web,) = bench.web_processes()
        some = f"cat.made_{chosen.tables // 2:05d}"

        def query(adql: str, wanted: int = 200, **more: str) -> None:
            client.get(f"/tap/sync?{urlencode({'LANG': 'ADQL', 'FORMAT': 'csv', 'QUERY': adql, **more})}", wanted)

        def floor() -> None:
            with bench.reader() as reader:
                reader.cursor(binary=True).execute(
                    "SELECT * FROM tap_schema.columns ORDER BY 1, column_index"
                ).fetchall()

        query("SELECT TOP 1 table_name FROM tap_schema.tables")
        memory = web.memory_info().rss
        ways: list[tuple[str, Callable[[], object]]] = [
            ("rows by psycopg (floor)", floor),
            ("/tap/tables, the first time", lambda: client.get("/tap/tables")),
            ("/tap/tables", lambda: client.get("/tap/tables")),
            ("/tap/tables as gzip", lambda: client.get("/tap/tables", headers={"Accept-Encoding": "gzip"})),
            ("/tap/tables?detail=min", lambda: client.get("/tap/tables?detail=min")),
            ("/tap/tables/{name}", lambda: client.get(f"/tap/tables/{some}")),
            ("columns of one table by TAP_SCHEMA",
             lambda: query(f"SELECT * FROM tap_schema.columns WHERE table_name = '{some}'")),
            ("check of SELECT * (MAXREC=0)", lambda: query(f"SELECT * FROM {some}", MAXREC="0")),
            ("a table's name with a mistake", lambda: query(f"SELECT * FROM {some}x", 400)),
        ]  # fmt: skip
        spent = [(name, best(work, chosen.rounds if "first" not in name else 1)) for name, work in ways]
        grown = (web.memory_info().rss - memory) / 2**20
        with bench.archive.engines.begin("writer") as connection:
            publish(connection, next(made_tables(1, chosen.columns)))
        time.sleep(1.1)  # a process looks once a second
        spent.append(("/tap/tables after a publication", timed(lambda: client.get("/tap/tables"))))
        size = len(client.get("/tap/tables")) / 2**20
    show(
        f"{chosen.tables} tables of {chosen.columns} columns, {size:.0f} MiB as XML; 1 client, 1 web worker, whose "
        f"memory grew by {grown:.0f} MiB; the best of {chosen.rounds}",
        ("", "ms", "/ floor"),
        [(name, ms, ms / spent[0][1]) for name, ms in spent],
    )


def best(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds."""
    return min(timed(work) for _ in range(rounds))


if __name__ == "__main__":
    main()
