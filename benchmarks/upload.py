"""An uploaded table of positions matched with a catalogue: `python benchmarks/upload.py`.

Floor: the same by psycopg as the reader role in the same run: a temporary table, COPY of the positions in binary,
ANALYZE, and the archive's own translation of the join, by the catalogue's index, rows fetched in binary.
Each format is sent by one client over HTTP, inline, and answered as the archive's default format; all of it counts,
from the first byte sent to the last received.
"""

import argparse
import io
import statistics
from collections.abc import Callable
from functools import partial

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from astropy.io.votable import from_table
from astropy.table import Table
from helpers import BELT_DEG, SEED, TABLE, Served, served, show, timed

from archive.holdings.running import TemporaryTable
from archive.holdings.temporary import fill
from archive.vo.arrow import arrow_schema
from archive.vo.columns import Column
from archive.vo.columns import Table as Declared
from tap.adql.names import check
from tap.adql.parser import parse
from tap.adql.postgres import translate
from uraniborg import tap_service

QUERY = (
    f"SELECT m.n, s.source_id FROM tap_upload.mine AS m JOIN {TABLE} AS s "
    "ON 1 = CONTAINS(POINT(s.ra, s.dec), CIRCLE(m.ra, m.dec, 2 / 3600.0))"
)
COLUMNS = (
    Column("n", "int"),
    Column("ra", "double", unit="deg", ucd="pos.eq.ra;meta.main"),
    Column("dec", "double", unit="deg", ucd="pos.eq.dec;meta.main"),
)


def positions(bench: Served, count: int) -> pa.RecordBatch:
    """Every so many-th star, moved by up to 2.5 arcsec each way, so that some match and some do not."""
    with bench.reader() as reader:
        found = reader.execute(
            f"SELECT ra, dec FROM {TABLE} ORDER BY md5(source_id::text) LIMIT %s",
            (count,),
        ).fetchall()
    random = np.random.default_rng(SEED)
    ra, dec = np.array(found).T
    columns = [
        np.arange(count, dtype=np.int32),
        (ra + random.uniform(-2.5, 2.5, count) / 3600) % 360,
        np.clip(dec + random.uniform(-2.5, 2.5, count) / 3600, -BELT_DEG, BELT_DEG),
    ]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=arrow_schema(COLUMNS))


def documents(rows: pa.RecordBatch) -> dict[str, bytes]:
    """The same table as users send it."""
    table = Table({name: rows.column(name).to_numpy() for name in rows.schema.names})
    made: dict[str, bytes] = {}
    for form in ("binary2", "tabledata"):
        out = io.BytesIO()
        from_table(table).to_xml(out, tabledata_format=form)
        made[f"VOTable {form.upper()}"] = out.getvalue()
    out = io.BytesIO()
    pq.write_table(pa.Table.from_batches([rows]), out)
    made["Parquet"] = out.getvalue()
    out = io.BytesIO()
    with pa.ipc.new_stream(out, rows.schema) as stream:
        stream.write_batch(rows)
    made["Arrow"] = out.getvalue()
    out = io.BytesIO()
    table.write(out, format="fits")
    made["FITS"] = out.getvalue()
    text = io.StringIO()
    table.write(text, format="ascii.csv")
    made["CSV"] = text.getvalue().encode()
    return made


def raw(bench: Served, rows: pa.RecordBatch) -> int:
    """The floor; the number of pairs."""
    mine = TemporaryTable(Declared("tap_upload.mine", COLUMNS), [rows], "mine", indexed=False)
    tap = tap_service(bench.archive)
    query = translate(check(parse(QUERY), tap.schema([mine])), bench.archive.sphere, tap.limits.hard_maxrec)
    with bench.reader() as reader:
        fill(reader, mine, bench.archive.sphere)
        return len(reader.cursor(binary=True).execute(query.sql.encode(), query.parameters).fetchall())


def over_http(client: httpx.Client, document: bytes) -> bytes:
    form = {"LANG": "ADQL", "QUERY": QUERY, "UPLOAD": "mine,param:mine", "MAXREC": "20000000"}
    answer = client.post("/tap/sync", data=form, files={"mine": document})
    if answer.status_code != 200:
        raise SystemExit(answer.text[:2000])
    return answer.content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--positions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with served(chosen.rows) as bench, httpx.Client(base_url=bench.live.url, timeout=120) as client:
        rows = positions(bench, chosen.positions)
        sent = documents(rows)
        ways: dict[str, Callable[[], object]] = {"raw: COPY, join": partial(raw, bench, rows)}
        ways |= {name: partial(over_http, client, document) for name, document in sent.items()}
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(chosen.rounds + 1):
            for name, work in ways.items():
                seconds = timed(work) / 1e3
                if round_:  # the first fills the caches
                    spent[name].append(seconds)
        floor = statistics.median(spent["raw: COPY, join"])
        table = [
            (name, len(sent.get(name, b"")) / 2**20, min(s), statistics.median(s), statistics.median(s) - floor)
            for name, s in spent.items()
        ]
        show(
            f"{chosen.positions} positions matched within 2 arcsec to {chosen.rows} rows ({raw(bench, rows)} pairs), "
            f"1 client (httpx), 1 web worker, {chosen.rounds} rounds; s",
            ("", "MiB", "min", "p50", "p50 - raw"),
            table,
        )


if __name__ == "__main__":
    main()
