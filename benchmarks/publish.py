"""A million rows published from a file, by the command that a user types: `python benchmarks/publish.py`.

Floor: the same rows, in memory already, by COPY in binary into a table of the same columns, ANALYZE, commit. What the
command does beside: Python's start, reading and checking the file, the sky's index, describing the table.
"""

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.table import MaskedColumn, Table
from helpers import SEED, prepared, show, timed
from psycopg import sql

from archive.app.opened import OpenedArchive
from archive.database.engines import psycopg_dsn
from archive.holdings.catalogues import postgres_type
from archive.holdings.copying import copy_batches
from tests.made.catalogue import COLUMNS, stars


def files(folder: Path, rows: pa.Table) -> dict[str, Path]:
    """The catalogue in the forms that surveys deliver."""
    made = {name: folder / f"stars.{suffix}" for name, suffix in
            (("Parquet", "parquet"), ("FITS", "fits"), ("CSV", "csv"))}  # fmt: skip
    pq.write_table(rows, made["Parquet"])
    pyarrow.csv.write_csv(rows, made["CSV"])
    table = Table()
    for column in COLUMNS:
        values = rows.column(column.name)
        missing = values.is_null().to_numpy()
        filled = values.fill_null(False if column.datatype == "boolean" else "" if column.datatype == "char" else 0)
        cells = filled.to_numpy()
        cells = cells.astype("U") if column.datatype == "char" else cells
        table[column.name] = MaskedColumn(cells, mask=missing) if missing.any() else cells
    table.write(made["FITS"])
    return made


def copied(archive: OpenedArchive, batches: list[pa.RecordBatch]) -> None:
    """The floor."""
    types = [postgres_type(column) for column in COLUMNS]
    columns = ", ".join(f"{column.name} {type_}" for column, type_ in zip(COLUMNS, types, strict=True))
    with psycopg.connect(psycopg_dsn(archive.urls.owner)) as connection:
        connection.execute("CREATE SCHEMA bench")
        connection.execute(sql.SQL("CREATE TABLE bench.stars ({})").format(sql.SQL(columns)))  # type: ignore[arg-type]
        copy_batches(connection, sql.Identifier("bench", "stars"), types, batches)
        connection.execute("ANALYZE bench.stars")
        connection.commit()
        connection.execute("DROP SCHEMA bench CASCADE")


def publish(archive: OpenedArchive, path: Path, name: str) -> None:
    """As a user does it."""
    command = (
        *(sys.executable, "-m", "uraniborg", "table", "publish", str(path), "--name", f"cat.{name.lower()}"),
        *("--ra", "ra", "--dec", "dec", "--yes", "--data-dir", str(archive.settings.data_dir)),
    )
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="uraniborg-bench-") as name, prepared(Path(name), 0) as archive:
        batches = list(stars(chosen.rows, seed=SEED))
        made = files(Path(name), pa.Table.from_batches(batches))
        floor = timed(partial(copied, archive, batches)) / 1e3
        table: list[tuple[object, ...]] = [("COPY in binary", "", floor, 1.0)]
        for form, path in made.items():
            seconds = timed(partial(publish, archive, path, form)) / 1e3
            table.append((f"table publish, {form}", path.stat().st_size / 2**20, seconds, seconds / floor))
        show(f"{chosen.rows} rows x {len(COLUMNS)} columns into the archive; s", ("", "MiB", "s", "ratio"), table)


if __name__ == "__main__":
    main()
