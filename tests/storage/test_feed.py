"""The feed of events: whoever replays from an id misses nothing, whatever commits in between and however late."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, Engine, text

from storage.feed import append_event, append_events, number_events, read_events


class Reader:
    """One who keeps the last id it has seen, and nothing else."""

    def __init__(self, engine: Engine, limit: int = 1_000) -> None:
        self.engine, self.limit = engine, limit
        self.last, self.seen = 0, list[str]()

    def read(self) -> list[str]:
        with self.engine.begin() as connection:
            events = read_events(connection, self.last, self.limit)
        new = [str(event.file_id) for event in events]
        for event in events:
            assert event.event_id > self.last
            self.last = event.event_id
        self.seen += new
        return new


def write(connection: Connection, name: str) -> None:
    append_event(connection, "archived", name, 1, {"size_bytes": 7})


def test_an_event_carries_what_was_said_and_rolled_back_ones_leave_no_gap(writer: Engine) -> None:
    with writer.begin() as connection:
        append_event(connection, "archived", "a/b.fits", 3, {"size_bytes": 7, "volumes": ["posix"]})
    with writer.connect() as connection:
        write(connection, "never")
        connection.rollback()
    with writer.begin() as connection:
        append_event(connection, "volume_offline")
        with connection.begin_nested() as savepoint:
            write(connection, "never")
            savepoint.rollback()
        append_events(connection, [("removed", "x", 1, None), ("removed", "y", 2, {"why": "asked"})])
        append_events(connection, [])
    with writer.begin() as connection:
        events = read_events(connection)
    assert [event.event_id for event in events] == [1, 2, 3, 4]
    assert [(e.kind, e.file_id, e.version, e.detail) for e in events] == [
        ("archived", "a/b.fits", 3, {"size_bytes": 7, "volumes": ["posix"]}),
        ("volume_offline", None, None, {}),
        ("removed", "x", 1, {}),
        ("removed", "y", 2, {"why": "asked"}),
    ]
    assert all(event.event_time.tzinfo is not None for event in events)


def test_what_was_written_first_and_commits_last_is_not_skipped(writer: Engine) -> None:
    reader = Reader(writer)
    with writer.connect() as slow, writer.connect() as quick:
        write(slow, "slow")
        write(quick, "quick")
        quick.commit()
        assert reader.read() == [], "an older transaction still runs: what it will say may belong before"
        slow.commit()
    assert reader.read() == ["slow", "quick"]
    assert reader.read() == []


def test_a_transaction_that_took_its_row_number_long_before_is_not_skipped(writer: Engine) -> None:
    """The younger transaction takes the lower number: neither order alone, of ids or of transactions, is safe."""
    reader = Reader(writer)
    with writer.connect() as older, writer.connect() as younger, writer.connect() as third:
        older.execute(text("SELECT pg_current_xact_id()"))
        write(younger, "younger, first number")
        write(older, "older, second number")
        older.commit()
        # The older one is below every running transaction: it may be told. The younger one's row number is lower.
        assert reader.read() == ["older, second number"]
        write(third, "third")
        third.commit()
        assert reader.read() == []
        write(younger, "younger, fourth number")
        younger.commit()
    assert reader.read() == ["younger, first number", "younger, fourth number", "third"]
    late = Reader(writer)
    late.read()
    assert late.seen == reader.seen


def test_who_replays_from_any_id_gets_the_rest_of_the_same_feed(writer: Engine) -> None:
    with writer.begin() as connection:
        append_events(connection, [("archived", f"file {number}", 1, None) for number in range(25)])
    whole = Reader(writer)
    whole.read()
    assert whole.seen == [f"file {number}" for number in range(25)]
    for start in range(26):
        reader = Reader(writer, limit=7)
        reader.last = start
        while reader.read():
            pass
        assert reader.seen == whole.seen[start:]


def test_a_number_once_told_is_never_given_again_while_several_number_at_once(writer: Engine) -> None:
    with writer.begin() as connection:
        append_events(connection, [("archived", str(number), 1, None) for number in range(2_000)])
    line = threading.Barrier(6)

    def number() -> int:
        line.wait()
        with writer.begin() as connection:
            return number_events(connection)

    with ThreadPoolExecutor(6) as threads:
        given = [future.result() for future in [threads.submit(number) for _ in range(6)]]
    assert sum(given) == 2_000
    with writer.begin() as connection:
        assert [event.event_id for event in read_events(connection, 0, 5_000)] == list(range(1, 2_001))


def test_a_connection_that_may_not_write_reads_what_is_numbered(writer: Engine) -> None:
    with writer.begin() as connection:
        write(connection, "told")
    Reader(writer).read()
    with writer.begin() as connection:
        write(connection, "waits")
    with writer.connect() as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        assert [event.file_id for event in read_events(connection)] == ["told"]


def test_a_feed_restored_from_a_dump_of_another_server_goes_on(writer: Engine) -> None:
    """pg_dump brings transaction ids of another clock: here one far ahead, numbered and not."""
    with writer.begin() as connection:
        connection.execute(
            text("INSERT INTO store.event (event_id, xid, kind, file_id) VALUES (41, 9000000000, 'archived', 'old')")
        )
        connection.execute(
            text("INSERT INTO store.event (xid, kind, file_id) VALUES (9000000001, 'archived', 'waiting')")
        )
    with writer.begin() as connection:
        write(connection, "new")
    with writer.begin() as connection:
        events = read_events(connection, 40)
    assert [(event.event_id, event.file_id) for event in events] == [(41, "old"), (42, "new"), (43, "waiting")]


def test_many_writers_and_readers_at_once_agree_on_one_feed(writer: Engine) -> None:
    committed, guard, done = set[str](), threading.Lock(), threading.Event()

    def scribble(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(40):
            names = [f"{seed}/{number}/{each}" for each in range(dice.randrange(1, 4))]
            with writer.connect() as connection:
                if dice.random() < 0.3:
                    connection.execute(text("SELECT pg_current_xact_id()"))
                    time.sleep(dice.random() * 0.01)
                for name in names:
                    write(connection, name)
                    time.sleep(dice.random() * 0.004)
                if dice.random() < 0.2:
                    connection.rollback()
                    continue
                connection.commit()
            with guard:
                committed.update(names)

    def follow(limit: int) -> list[str]:
        reader = Reader(writer, limit)
        while not done.is_set():
            reader.read()
            time.sleep(0.002)
        # An empty answer means "nothing yet": another reader may be giving the last numbers just now.
        for _ in range(1_000):
            if not reader.read() and len(reader.seen) >= len(committed):
                break
            time.sleep(0.005)
        return reader.seen

    with ThreadPoolExecutor(9) as threads:
        readers = [threads.submit(follow, limit) for limit in (3, 1_000, 17)]
        try:
            for running in [threads.submit(scribble, seed) for seed in range(6)]:
                running.result(120)
        finally:
            done.set()
        feeds = [reader.result(60) for reader in readers]
    assert feeds[0] == feeds[1] == feeds[2]
    assert len(feeds[0]) == len(set(feeds[0])) and set(feeds[0]) == committed
