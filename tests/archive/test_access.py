"""Who may download what, and how they prove who they are."""

import base64
import logging
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from fastapi import APIRouter, Depends, FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from archive.access import queries, service, tables
from archive.access.commands import COMMANDS
from archive.access.identity import ANONYMOUS, User
from archive.access.rights import SCOPE_KINDS, Grant, ProductFacts, data_rights, may_download, refusal
from archive.access.router import current_user
from archive.access.service import AccessService
from archive.access.tokens import InvalidTokenError, Secrets, Token
from archive.access.visible import data_rights_sql, may_download_clause, public_sql
from archive.database.engines import Engines
from archive.database.roles import grant as grant_roles
from archive.vo.errors import NotFoundError, ProprietaryError, UsageError
from archive.vo.routes import PlainRoute
from tests.databases import Postgres

embedded_only = pytest.mark.parametrize("postgres", ["embedded"], indirect=True)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(days=1), NOW + timedelta(days=30)
ALICE = User("alice", frozenset({"team"}))
OPERATOR = User("op", is_operator=True)


def product(rights: str = "proprietary", release_date: datetime | None = FUTURE, **more: str | None) -> ProductFacts:
    facts: dict[str, str | None] = {"proposal_id": "106.21BJ.001", "instrument_name": "FORS2", **more}
    return ProductFacts("F1", rights, release_date, "FORS2-raw", facts["proposal_id"], facts["instrument_name"])


# ---- the decision ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rights", "release_date", "told"),
    [
        ("public", None, "public"),
        ("public", PAST, "public"),
        ("public", NOW, "public"),
        ("public", FUTURE, "proprietary"),
        ("proprietary", None, "proprietary"),
        ("proprietary", PAST, "public"),
        ("proprietary", FUTURE, "proprietary"),
        ("secure", None, "secure"),
        ("secure", PAST, "secure"),
        ("a word nobody knows", PAST, "secure"),
        ("", PAST, "secure"),
    ],
)
def test_what_the_anonymous_may_have_is_what_data_rights_calls_public(
    rights: str, release_date: datetime | None, told: str
) -> None:
    facts = product(rights, release_date)
    assert data_rights(facts, NOW) == told
    assert may_download(ANONYMOUS, facts, [], NOW).allowed == (told == "public")
    assert may_download(ALICE, facts, [], NOW).allowed == (told == "public")
    assert may_download(OPERATOR, facts, [], NOW).allowed


@pytest.mark.parametrize(
    ("scope_kind", "scope", "covers"),
    [
        ("all", "", True),
        ("run", "106.21BJ.001", True),
        ("run", "106.21BJ", False),
        ("programme", "106.21BJ", True),
        ("programme", "106.21B", False),
        ("programme", "106.21BJ.001", True),
        ("collection", "FORS2-raw", True),
        ("collection", "FORS2", False),
        ("instrument", "FORS2", True),
        ("instrument", "UVES", False),
        ("planet", "FORS2", False),
    ],
)
def test_a_grant_opens_what_it_names_and_nothing_else(scope_kind: str, scope: str, covers: bool) -> None:
    for subject in ("user:alice", "group:team"):
        given = Grant(subject, scope_kind, scope, "data")
        assert may_download(ALICE, product(), [given], NOW).allowed == covers
        assert not may_download(User("bob"), product(), [given], NOW).allowed
        assert not may_download(ANONYMOUS, product(), [given], NOW).allowed


def test_a_grant_in_eso_s_older_notation_covers_the_programme_of_a_run() -> None:
    given = [Grant("user:alice", "programme", "60.A-9120", "data")]
    assert may_download(ALICE, product(proposal_id="60.A-9120(B)"), given, NOW).allowed
    assert not may_download(ALICE, product(proposal_id="60.A-91201(B)"), given, NOW).allowed
    assert not may_download(ALICE, product(proposal_id=None), given, NOW).allowed


def test_a_grant_of_something_else_or_out_of_its_time_opens_nothing() -> None:
    for closed in (
        Grant("user:alice", "all", "", "metadata"),
        Grant("user:alice", "all", "", "data", valid_from=FUTURE),
        Grant("user:alice", "all", "", "data", valid_to=NOW),
    ):
        assert not may_download(ALICE, product(), [closed], NOW).allowed
    assert may_download(
        ALICE, product("secure", None), [Grant("user:alice", "all", "", "data", PAST, FUTURE)], NOW
    ).allowed


def test_a_refusal_says_when_the_file_becomes_public() -> None:
    facts = product()
    error = refusal(ANONYMOUS, facts, may_download(ANONYMOUS, facts, [], NOW))
    assert (error.status, error.release_date) == (401, FUTURE)
    assert "2026-05-31T00:00:00Z" in str(error)
    error = refusal(ALICE, facts, may_download(ALICE, facts, [], NOW))
    assert error.status == 403
    assert "106.21BJ.001" in str(error)
    secret = product("secure", PAST)
    assert "2026" not in str(refusal(ALICE, secret, may_download(ALICE, secret, [], NOW)))


def test_a_release_date_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        product(release_date=datetime(2026, 5, 1))


# ---- tokens ----------------------------------------------------------------------------------------


@given(st.text(max_size=80))
def test_no_header_that_is_not_a_token_is_taken_for_one(text: str) -> None:
    access = AccessService(None)  # type: ignore[arg-type]
    for header in (f"Bearer {text}", f"Basic {base64.b64encode(text.encode()).decode()}", f"Digest {text}", f"x{text}"):
        with pytest.raises(InvalidTokenError) as caught:
            access.user_of(header)
        assert caught.value.status == 401
        assert len(text) < 12 or text not in str(caught.value)


def test_a_token_shows_its_secret_to_nobody_who_prints_it() -> None:
    token = Token.new()
    assert token.secret not in repr(token)
    assert Token.from_text(token.text) == token
    assert Token.new().text != token.text


def test_a_secret_once_checked_is_not_hashed_again_but_only_against_the_same_hash() -> None:
    secrets, token = Secrets(size=2), Token.new()
    hashed = secrets.hashed(token)
    assert hashed.startswith("$argon2id$")
    assert secrets.matches(token, hashed)

    def no_more(*_: object) -> bool:
        raise AssertionError("hashed again")

    hasher, secrets._hasher = secrets._hasher, SimpleNamespace(verify=no_more)  # type: ignore[assignment]
    assert secrets.matches(token, hashed)
    secrets._hasher = hasher
    assert not secrets.matches(token, hasher.hash("another"))
    assert not secrets.matches(Token(token.token_id, Token.new().secret), hashed)
    assert not secrets.matches(token, "no hash at all")


# ---- with a database -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engines(database: Postgres) -> Iterator[Engines]:
    with database.engines() as engines:
        with engines.begin("owner") as connection:
            connection.execute(sa.schema.CreateSchema("acl", if_not_exists=True))
            tables.metadata.create_all(connection)
        grant_roles(engines, published=(), working=("acl",), creatable=())
        yield engines


@pytest.fixture
def client(engines: Engines) -> Iterator[TestClient]:
    router = APIRouter(route_class=PlainRoute)

    @router.get("/me")
    def me(user: Annotated[User, Depends(current_user)]) -> dict[str, object]:
        return {"name": user.name, "groups": sorted(user.groups), "operator": user.is_operator}

    app = FastAPI()
    app.state.services = {AccessService: AccessService(engines.writer)}
    app.include_router(router)
    with TestClient(app) as client:
        yield client


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_a_token_is_recognised_as_bearer_and_as_basic_password(client: TestClient, engines: Engines) -> None:
    service.add_user(engines.writer, "carol", ["team"])
    token = service.create_token(engines.writer, "carol", label="notebook").text
    told = {"name": "carol", "groups": ["team"], "operator": False}
    headers = {"Authorization": f"bearer {token}"}
    for sent in (headers, basic("carol", token), basic("token", token), basic("", token)):
        assert client.get("/me", headers=sent).json() == told
    assert client.get("/me").json()["name"] == ""
    assert client.get("/me", headers=basic("dave", token)).status_code == 401
    wrong = token[:-4] + ("aaaa" if not token.endswith("aaaa") else "bbbb")
    answer = client.get("/me", headers={"Authorization": f"Bearer {wrong}"})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    with engines.writer.connect() as connection:
        row = next(row for row in queries.tokens(connection) if row.label == "notebook")
    assert row.last_used is not None
    assert token.split("_", 2)[2] not in row.secret_hash


def test_a_revoked_and_an_expired_token_are_refused_at_once(client: TestClient, engines: Engines) -> None:
    service.add_user(engines.writer, "erin")
    token = service.create_token(engines.writer, "erin")
    headers = {"Authorization": f"Bearer {token.text}"}
    assert client.get("/me", headers=headers).status_code == 200
    service.revoke_token(engines.writer, token.token_id)
    assert client.get("/me", headers=headers).status_code == 401
    short = service.create_token(engines.writer, "erin", expires_days=1)
    access = AccessService(engines.writer)
    assert access.user_of(f"Bearer {short.text}").name == "erin"
    with pytest.raises(InvalidTokenError, match="expired on"):
        access.user_of(f"Bearer {short.text}", now=datetime.now(UTC) + timedelta(days=2))


@embedded_only
def test_no_log_line_holds_a_token(client: TestClient, engines: Engines, caplog: pytest.LogCaptureFixture) -> None:
    service.add_user(engines.writer, "frank")
    with caplog.at_level(logging.DEBUG):
        token = service.create_token(engines.writer, "frank")
        for sent in ({"Authorization": f"Bearer {token.text}"}, {"Authorization": f"Bearer {token.text}x"}):
            client.get("/me", headers=sent)
    assert token.secret not in caplog.text


def test_the_service_opens_by_grant_and_writes_it_into_the_audit(engines: Engines) -> None:
    access = AccessService(engines.writer)
    service.add_user(engines.writer, "grace")
    user = access.user_named("grace")
    facts = [product(), product("public", None)]
    assert [d.allowed for d in access.decide_all(user, facts, NOW)] == [False, True]
    with pytest.raises(ProprietaryError):
        access.demand(user, product(), now=NOW)
    number = service.add_grant(engines.writer, Grant("user:grace", "run", "106.21BJ.001", "data"), granted_by="user:pi")
    assert access.demand(user, product(), now=NOW).reason == "granted to user:grace by run 106.21BJ.001"
    service.revoke_grant(engines.writer, number)
    assert not access.decide(user, product(), NOW).allowed
    with engines.writer.connect() as connection:
        audit = tables.audit.c
        rows = connection.execute(sa.select(audit.deed, audit.object_id).where(audit.subject == "user:grace")).all()
    assert ("download", "F1") in [tuple(row) for row in rows]


@embedded_only
@pytest.mark.parametrize(
    ("given", "error"),
    [
        (Grant("alice", "all", "", "data"), UsageError),
        (Grant("user:", "all", "", "data"), UsageError),
        (Grant("user:nobody", "all", "", "data"), NotFoundError),
        (Grant("group:g", "run", "", "data"), UsageError),
        (Grant("group:g", "all", "x", "data"), UsageError),
        (Grant("group:g", "galaxy", "x", "data"), UsageError),
        (Grant("group:g", "all", "", "everything"), UsageError),
    ],
)
def test_a_grant_that_no_rule_would_read_is_refused(engines: Engines, given: Grant, error: type[Exception]) -> None:
    with pytest.raises(error):
        service.add_grant(engines.writer, given, granted_by="me")


def test_the_same_rule_in_sql_agrees_on_every_combination(engines: Engines) -> None:
    """All kinds of product against all kinds of grant and user; the table of cases above says what is right."""
    t = sa.table(
        "p",
        *(
            sa.column(name)
            for name in ("n", "rights", "release_date", "obs_collection", "proposal_id", "instrument_name")
        ),
    )
    real = datetime.now(UTC)
    dates = (None, real - timedelta(days=1), real + timedelta(days=1))
    runs = ("106.21BJ.001", "106.21BJ", "60.A-9120(B)", "60.A-91201(B)", None)
    products = [
        ProductFacts(str(n), rights, date, "C", run, instrument)
        for n, (rights, date, run, instrument) in enumerate(
            (rights, date, run, instrument)
            for rights in ("public", "proprietary", "secure", "odd")
            for date in dates
            for run in runs
            for instrument in ("FORS2", None)
        )
    ]
    grants = [
        Grant("user:alice", kind, scope, what, since, until)
        for kind in SCOPE_KINDS
        for scope in (("",) if kind == "all" else ("106.21BJ", "60.A-9120", "C", "FORS2"))
        for what in ("data", "metadata")
        for since, until in ((None, None), (dates[1], dates[2]), (dates[2], None), (None, dates[1]))
    ]
    with engines.writer.connect() as connection:
        connection.execute(sa.text("DELETE FROM acl.grant_rule"))
        connection.execute(
            sa.text(
                "CREATE TEMPORARY TABLE p (n text, rights text, release_date timestamptz, obs_collection text,"
                " proposal_id text, instrument_name text)"
            )
        )
        insert = sa.text("INSERT INTO p VALUES (:file_id, :rights, :release_date, :obs_collection, :run, :instrument)")
        for p in products:
            connection.execute(
                insert,
                {"file_id": p.file_id, "rights": p.rights, "release_date": p.release_date, "run": p.proposal_id,
                 "obs_collection": p.obs_collection, "instrument": p.instrument_name},
            )  # fmt: skip
        told = dict(connection.execute(sa.text(f"SELECT n, {data_rights_sql()} FROM p")).all())
        assert told == {p.file_id: data_rights(p, real) for p in products}
        public = connection.execute(sa.text(f"SELECT n FROM p WHERE {public_sql(table='p')}")).scalars().all()
        assert set(public) == {n for n, word in told.items() if word == "public"}
        for given in [[], *([one] for one in grants)]:
            connection.execute(sa.text("DELETE FROM acl.grant_rule"))
            for one in given:
                queries.add_grant(connection, one, "test")
            for user in (ANONYMOUS, ALICE, User("bob"), OPERATOR):
                seen = connection.execute(sa.select(t.c.n).where(may_download_clause(user, t, now=real))).scalars()
                right = {p.file_id for p in products if may_download(user, p, given, real).allowed}
                assert set(seen) == right, (user, given)
        connection.rollback()


def test_the_operator_token_is_made_once_in_a_file_for_its_owner_only(engines: Engines, tmp_path: Path) -> None:
    path = tmp_path / "operator.token"
    access = AccessService(engines.writer)
    assert service.ensure_operator_token(engines.writer, path)
    text = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert access.user_of(f"Bearer {text}").is_operator
    assert not service.ensure_operator_token(engines.writer, path)
    assert path.read_text().strip() == text
    path.write_text("nonsense")
    path.chmod(0o644)
    assert service.ensure_operator_token(engines.writer, path)
    assert access.user_of(f"Bearer {path.read_text().strip()}").is_operator
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(InvalidTokenError):
        access.user_of(f"Bearer {text}")
    assert [p.name for p in tmp_path.iterdir()] == ["operator.token"]


def test_the_commands_make_list_and_revoke(engines: Engines) -> None:
    commands = {command.name: command for command in COMMANDS}

    def run(*words: str) -> str:
        result = CliRunner().invoke(commands[words[0]], words[1:], obj=engines, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output.strip()

    assert run("user", "add", "heidi", "--group", "g1") == "heidi: made"
    run("user", "add", "heidi", "--group", "g2")
    assert "heidi\tg1,g2" in run("user", "list")
    token = run("token", "create", "heidi", "--expires-days", "3", "--label", "laptop")
    assert AccessService(engines.writer).user_of(f"Bearer {token}").groups == {"g1", "g2"}
    assert "heidi\tlaptop" in run("token", "list")
    assert token not in run("token", "list")
    run("token", "revoke", token)
    assert "heidi" not in run("token", "list")
    number = run("grant", "add", "group:g1", "run", "1.A-1(A)", "--to", "2027-01-01").split()[1]
    assert run("grant", "revoke", number).endswith("revoked")
    with pytest.raises(NotFoundError):
        run("token", "create", "nobody")
    with pytest.raises(UsageError):
        run("user", "add", "a:b")
