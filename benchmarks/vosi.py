"""The tableset of an archive of 5,000 tables of 50 columns, over HTTP, against reading the same rows: `python benchmarks/vosi.py`.

Floor: the rows of TAP_SCHEMA's columns by psycopg, in binary, which any answer must read once. Beside it: a query of one
of the tables, and a mistaken name, whose suggestions are looked for among all; and what a publication costs the next
request. Memory is that of the one web worker.
"""

import argparse
from collections.abc import Iterator
from functools import partial

from helpers import Client, served, show, timed
from sqlalchemy import insert

from archive.app.opened import OpenedArchive
from archive.holdings.published import publish
from archive.holdings.tables import arc, tap_schema
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
