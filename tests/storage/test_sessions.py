"""Sessions that are kept at hand, and what is asked in them: on a real server, pooled sessions beside them."""

from functools import partial

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from storage.sessions import CatalogueSessions, Statement, ask, commit

pytestmark = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)

ECHO = Statement(
    "SELECT :number + 1, :words, :list, :flag, :number", number="int8", words="text", list="text[]", flag="bool"
)
TOLD = {"number": 5_000_000_000, "words": "it's a 'ü' \\", "list": ["a,b", '"', ""], "flag": False}
ECHOED = (5_000_000_001, "it's a 'ü' \\", ["a,b", '"', ""], False, 5_000_000_000)
ADD = Statement("INSERT INTO store.container (name) VALUES (:name)", name="text")
DIVIDE = Statement("SELECT 1 / :by", by="int4")


def names(writer: Engine) -> list[str]:
    with writer.connect() as connection:
        return list(connection.scalars(text("SELECT name FROM store.container ORDER BY name")))


def test_what_is_told_comes_back_as_it_was_in_a_kept_session_and_in_a_pooled_one(writer: Engine) -> None:
    sessions = CatalogueSessions(writer)
    for told, echoed in ((TOLD, ECHOED), (TOLD | {"number": 1, "words": None}, (2, None, *ECHOED[2:4], 1))):
        for _ in range(3):
            assert sessions.ask(partial(ask, statement=ECHO, told=told)) == [echoed]
            with writer.connect() as pooled:
                assert ask(pooled, ECHO, told) == [echoed]
    bytes_back = Statement("SELECT :data, :data = CAST(:told AS bytea)", data="bytea", told="text")
    for setting in ("on", "off"):
        told = {"data": bytes(range(256)), "told": "\\x" + bytes(range(256)).hex()}
        with writer.connect() as pooled:
            pooled.execute(text(f"SET LOCAL standard_conforming_strings = {setting}"))
            assert ask(pooled, bytes_back, told) == [(told["data"], True)]
    sessions.close()


def test_what_is_not_committed_is_rolled_back_and_costs_the_session_nothing(writer: Engine) -> None:
    sessions, seen = CatalogueSessions(writer), set()
    for number in range(6):
        connection = sessions.begin(lock=1)
        seen.add(ask(connection, Statement("SELECT pg_backend_pid()"), {})[0][0])
        ask(connection, ADD, {"name": f"{number}"})
        connection.execute(text("SELECT count(*) FROM store.container"))  # SQLAlchemy within the same transaction
        if number % 2:
            commit(connection)
        sessions.give_back(connection)
    assert names(writer) == ["1", "3", "5"] and len(seen) == 1
    sessions.close()


def test_errors_are_those_of_sqlalchemy_and_the_session_goes_on(writer: Engine) -> None:
    sessions = CatalogueSessions(writer)
    connection = sessions.begin(lock=1)
    with pytest.raises(IntegrityError, match="container_name_check"):
        ask(connection, ADD, {"name": ""})
    with pytest.raises(DBAPIError, match="current transaction is aborted") as failed:
        ask(connection, ADD, {"name": "secret words"})
    assert "secret words" not in str(failed.value) and not failed.value.connection_invalidated
    sessions.give_back(connection)
    with pytest.raises(DBAPIError, match="division by zero"):
        sessions.ask(lambda connection: ask(connection, DIVIDE, {"by": 0}))
    assert sessions.ask(lambda connection: ask(connection, DIVIDE, {"by": 1})) == [(1,)]
    sessions.close()


def test_a_transaction_that_failed_cannot_be_committed(writer: Engine) -> None:
    sessions = CatalogueSessions(writer)
    connection = sessions.begin(lock=1)
    ask(connection, ADD, {"name": "kept?"})
    with pytest.raises(DBAPIError):
        ask(connection, DIVIDE, {"by": 0})
    with pytest.raises(DBAPIError, match="rolled back"):
        commit(connection)
    sessions.give_back(connection)
    assert names(writer) == []
    sessions.close()


def test_a_session_that_died_is_replaced_before_anything_was_done_in_it(writer: Engine) -> None:
    sessions = CatalogueSessions(writer)
    pid = Statement("SELECT pg_backend_pid()")

    def killed(connection: Connection) -> int:
        return int(ask(connection, pid, {})[0][0])

    for begun in (False, True):
        first = sessions.ask(killed)
        with writer.connect() as other:
            assert other.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": first})
        if begun:
            connection = sessions.begin(lock=1)
            assert killed(connection) != first
            sessions.give_back(connection)
        else:
            assert sessions.ask(killed) != first
    connection = sessions.begin(lock=1)
    with writer.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": killed(connection)})
    with pytest.raises(DBAPIError) as failed:
        commit(connection)
    assert failed.value.connection_invalidated
    sessions.give_back(connection)
    sessions.close()
