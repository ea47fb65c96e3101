"""The catalogue of 10,000,000 objects: look-up, listing, planning, status: `python benchmarks/store_catalogue.py`.

The rows are made by COPY, with no bytes behind them: about 15,000,000 copies on two volumes, a few thousand of them
marked, some objects removed, some with several versions. Floor of a look-up: the object's row by its primary key, by a
prepared statement of psycopg, in turns with it. What standing processes, /metrics and the page /store ask stands in
seconds, the first time and again. About 10 GB and ten minutes; `--objects` takes fewer.
"""

import argparse
import hashlib
import multiprocessing
import random
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path

import psutil
import psycopg
from helpers import SEED, in_turns, show, show_turns, timed
from psycopg import sql
from sqlalchemy import Connection, delete, insert, text
from sqlalchemy.schema import AddConstraint, DropConstraint

from archive.app.metrics import ArchiveMetrics
from archive.app.opened import OpenedArchive
from archive.app.setup import make_volumes, prepare
from archive.database.engines import psycopg_dsn
from archive.settings import Settings
from storage import rounds, tables
from storage.replicate import PAGE
from storage.scrub import BATCH
from storage.status import store_status
from storage.totals import totals
from uraniborg import metadata

MAKERS = 2
VOLUMES = {"posix": "here", "two": "here"}
LISTED = 1_000_000
LOOK_UPS = 5_000
NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LONG_AGO = str(NOW - DAY * 400)
# Written once: ten years of days, a month and two of minutes.
NIGHTS = [f"{NOW - DAY * (3650 - night):%Y/%m/%d}" for night in range(3650)]
MINUTES = [str(NOW - timedelta(minutes=minute)) for minute in range(58 * 1440)]
INSTRUMENTS = ("fors2", "harps", "muse", "uves", "xshooter")
OBJECT_COLUMNS = (
    "object_id", "file_id", "version", "size_bytes", "media_type", "sha256", "md5", "crc32c", "created", "removed"
)  # fmt: skip
COPY_COLUMNS = ("object_id", "volume", "key", "state", "verified", "created")
NULL = "\\N"


def name(number: int) -> tuple[str, int]:
    """file_id and version of an object: one of 25 is the second version of the one before, one of 500 the third."""
    version = 3 if number > 500 and number % 500 == 0 else 2 if number % 25 == 24 else 1
    first = number - version + 1
    instrument, night = INSTRUMENTS[first % 5], NIGHTS[first // 2_740 % 3650]
    return f"{instrument}/{night}/{instrument.upper()}.{first:09d}.fits", version


def object_line(number: int) -> str:
    file_id, version = name(number)
    sha256 = hashlib.sha256(number.to_bytes(8)).hexdigest()
    removed = LONG_AGO if is_removed(number) else NULL
    size_bytes = 2880 * (number % 10_007 + 2)
    return (
        f"{number}\t{file_id}\t{version}\t{size_bytes}\tapplication/fits\t{sha256}\t{sha256[:32]}\t{sha256[:8]}"
        f"\t{LONG_AGO}\t{removed}\n"
    )


def copy_lines(number: int) -> str:
    """None of most that were removed; else one or two. Of volume two all were verified within the last month."""
    if is_removed(number) and number % 20_000 != 77:
        return ""
    volumes = ("posix", "two") if number % 2 else (("posix", "two")[number // 2 % 2],)
    state = {17: "corrupt", 19: "missing"}.get(number % 5_000, "ok")
    digits = f"{1_700_000_000_000 + number * 37:012x}7{number * 2_654_435_761 % (1 << 76):019x}"
    key = f"{digits[:5]}/{digits[5:8]}/{digits}"
    minute = number * 7_919 % (29 * 1440)
    verified = {"posix": NULL if number % 5 == 1 else MINUTES[2 * minute], "two": MINUTES[minute]}
    return "".join(
        f"{number}\t{volume}\t{key}\t{state if place == 0 else 'ok'}\t{verified[volume]}\t{LONG_AGO}\n"
        for place, volume in enumerate(volumes)
    )


def is_removed(number: int) -> bool:
    return number % 200 == 77


def fill(dsn: str, table: str, columns: tuple[str, ...], line: Callable[[int], str], numbers: range) -> None:
    """COPY the lines of these numbers."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("store", table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with psycopg.connect(dsn) as connection, connection.cursor().copy(statement) as target:
        for start in range(numbers.start, numbers.stop, 1_000):
            target.write("".join(map(line, numbers[start - numbers.start : start - numbers.start + 1_000])))


def make(archive: OpenedArchive, objects: int) -> None:
    """The rows, and then their indexes and references as the tables declare them."""
    dsn = psycopg_dsn(archive.urls.owner)
    made = (tables.stored_object, tables.copy)
    indexes = [index for table in made for index in table.indexes]
    references = [each for table in made for each in table.foreign_key_constraints]
    with archive.engines.owner.begin() as connection:
        for reference in references:
            connection.execute(DropConstraint(reference))
        for index in indexes:
            index.drop(connection)
        connection.execute(text("ALTER TABLE store.copy DISABLE TRIGGER copy_noted"))
    share = -(-objects // MAKERS)
    for table, columns, line in (("object", OBJECT_COLUMNS, object_line), ("copy", COPY_COLUMNS, copy_lines)):
        parts = [range(first, min(first + share, objects + 1)) for first in range(1, objects + 1, share)]
        children = [multiprocessing.Process(target=fill, args=(dsn, table, columns, line, part)) for part in parts]
        for child in children:
            child.start()
        for child in children:
            child.join()
            assert child.exitcode == 0, "a COPY failed"
    with archive.engines.owner.begin() as connection:
        connection.execute(text("SET LOCAL maintenance_work_mem = '1GB'"))
        for index in indexes:
            index.create(connection)
        for reference in references:
            connection.execute(AddConstraint(reference))
        connection.execute(text("ALTER TABLE store.copy ENABLE TRIGGER copy_noted"))
        connection.execute(text("SELECT setval('store.object_object_id_seq', max(object_id)) FROM store.object"))
    with archive.engines.owner.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM (ANALYZE) store.object, store.copy"))


def look_up(archive: OpenedArchive, objects: int) -> None:
    draw, service = random.Random(SEED), archive.objects
    numbers = [number for number in draw.choices(range(1, objects + 1), k=LOOK_UPS) if not is_removed(number)]
    with psycopg.connect(psycopg_dsn(archive.urls.writer), autocommit=True) as connection:
        statement = "SELECT * FROM store.object WHERE object_id = %s"

        def by_key(number: int) -> None:
            assert connection.execute(statement, [number], prepare=True).fetchone() is not None

        def stat(number: int) -> None:
            file_id, version = name(number)
            assert service.stat(file_id, version).object_id == number

        def ways(number: int) -> dict[str, Callable[[], object]]:
            return {"bare look-up, primary key": partial(by_key, number), "ObjectService.stat": partial(stat, number)}

        show_turns(f"look-up, {len(numbers)} at random", in_turns(ways, numbers))


def listing(archive: OpenedArchive, objects: int) -> None:
    process, rows, month = psutil.Process(), [], name(objects // 10 * 5 + 2)[0][: len("muse/2020/06/")]
    for prefix, title in (("muse/", "an instrument"), (month, "a month"), ("", "all")):
        first = timed(lambda prefix=prefix: list(islice(archive.objects.files(prefix), 1_000)))  # type: ignore[misc]
        before = peak = process.memory_info().rss
        began, seen = time.perf_counter(), 0
        with closing(archive.objects.files(prefix)) as files:
            for seen, _ in enumerate(islice(files, LISTED), 1):
                if seen % 10_000 == 0:
                    peak = max(peak, process.memory_info().rss)
        took = time.perf_counter() - began
        grew = (peak - before) / 2**20
        rows.append([title, f"{first:.0f}", f"{seen:,}", f"{took:.1f}", f"{seen / took:,.0f}", f"{grew:.0f}"])
    show("listing by prefix", ["what", "first 1,000, ms", "files", "s", "files/s", "memory grew, MiB"], rows)


def planning(archive: OpenedArchive, objects: int) -> Iterator[tuple[str, Callable[[Connection], object]]]:
    """What is asked often, by name."""
    due, all_read = NOW - 30 * DAY, NOW - 60 * DAY
    wanted = rounds.Wanted(2, 1, VOLUMES, tuple(VOLUMES))
    with archive.engines.writer.connect() as connection:
        read = rounds.due_copies(connection, "two", NOW, BATCH)
    batch = [(each.object_id, each.copies[0].key) for each in read]
    middle = f"{1_700_000_000_000 + objects // 2 * 37:012x}"
    middle = f"{middle[:5]}/{middle[5:8]}/{middle}"
    yield "scrub: next batch, never read", lambda c: rounds.due_copies(c, "posix", due, BATCH)
    yield "scrub: next batch, read once", lambda c: rounds.due_copies(c, "two", NOW, BATCH)
    yield "scrub: none is due", lambda c: rounds.due_copies(c, "two", all_read, BATCH)
    yield "scrub: a batch marked as read", lambda c: rounds.mark_verified(c, "two", batch)
    yield "reconcile, evict, drain: first page", lambda c: rounds.objects_of(c, "posix")
    yield "reconcile, evict, drain: a page in the middle", lambda c: rounds.objects_of(c, "posix", after=middle)
    yield "replicate: first page", lambda c: rounds.lacking(c, 0, wanted)
    yield "replicate: a page in the middle", lambda c: rounds.lacking(c, objects // 2, wanted)
    yield "replicate: objects of a page", lambda c: rounds.with_copies(c, rounds.lacking(c, 0, wanted)[1][:PAGE])
    yield "janitor: removals to finish", rounds.unfinished_removals
    yield "copies that are marked", rounds.faulty


def walk(archive: OpenedArchive) -> None:
    """Through all objects, as the job of replicate goes when a volume is another than before."""
    with archive.engines.writer.begin() as connection:
        connection.execute(delete(tables.walk))
    found: list[int] | None = []
    while found is not None:
        with archive.engines.writer.begin() as connection:
            found = rounds.walk_on(connection, rounds.Wanted(1, 1, VOLUMES, tuple(VOLUMES)))


def changed(archive: OpenedArchive, objects: int, number: int) -> Callable[[], object]:
    """A run of that job, but for the copying, when copies of so many objects have changed."""
    draw = random.Random(SEED)
    with archive.engines.writer.begin() as connection:
        connection.execute(delete(tables.unsettled))
        if number:
            rows = [{"object_id": each} for each in draw.sample(range(1, objects + 1), number)]
            connection.execute(insert(tables.unsettled), rows)
        before = rounds.now(connection) + DAY

    def run() -> None:
        wanted = rounds.Wanted(1, 1, VOLUMES, tuple(VOLUMES))
        with archive.engines.writer.connect() as connection:  # not committed: it is done twice
            found = rounds.take_unsettled(connection, wanted, before=before)
            assert (found is None) == (number == 0)
            if found is None:
                assert rounds.walk_on(connection, wanted) is None

    return run


def asked(archive: OpenedArchive, objects: int) -> None:
    rows = []
    for title, question in planning(archive, objects):
        seconds = []
        for _ in range(2):
            with archive.engines.writer.connect() as connection:
                seconds.append(timed(partial(question, connection)) / 1e3)
        rows.append([title, *(f"{each:.3f}" for each in seconds)])
    metrics = ArchiveMetrics(archive, look_again_s=0)
    whole: dict[str, Callable[[], object]] = {
        "all copies counted; what was kept of it": lambda: totals(archive.engines.writer),
        "store status, the page /store": lambda: store_status(archive.objects, wait=False),
        "/metrics": lambda: deque(metrics.collect(), 0),
        "volumes at start": lambda: make_volumes(archive),
    }
    whole["replicate: the job goes through all"] = lambda: walk(archive)
    for title, work in whole.items():
        rows.append([title, *(f"{timed(work) / 1e3:.3f}" for _ in range(2))])
    for number in (0, 10_000):
        work = changed(archive, objects, number)
        rows.append([f"replicate: the job, {number:,} changed", *(f"{timed(work) / 1e3:.3f}" for _ in range(2))])
    show("what is asked often", ["question", "first, s", "again, s"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objects", type=int, default=10_000_000)
    parser.add_argument("--kept", type=Path, help="a folder that stays, and is used again; else a temporary one")
    chosen = parser.parse_args()
    if chosen.kept:
        measure(chosen.kept, chosen.objects)
        return
    with tempfile.TemporaryDirectory(prefix="uraniborg-bench-") as folder:
        measure(Path(folder), chosen.objects)


def measure(folder: Path, objects: int) -> None:
    further = [{"name": "two", "path": folder / "two"}]
    with OpenedArchive(Settings(data_dir=folder / "data", store={"volumes": further})) as archive:
        prepare(archive, metadata())
        with archive.engines.writer.connect() as connection:
            is_made = connection.scalar(text("SELECT EXISTS (SELECT FROM store.object)"))
        if not is_made:
            took = timed(lambda: make(archive, objects)) / 1e3
            print(f"{objects:,} objects made in {took:.0f} s")
        look_up(archive, objects)
        listing(archive, objects)
        asked(archive, objects)


if __name__ == "__main__":
    main()
