"""Roles and their rights, migrations and drift, the doctor, on both databases: asked as each role asks."""

import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from threading import Thread
from typing import Self

import click
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import Column, Double, Index, Integer, MetaData, String, Table, text
from sqlalchemy.exc import DBAPIError

import uraniborg
from archive.app.opened import OpenedArchive
from archive.database import doctor, migrate, sky
from archive.database.commands import DatabaseTools, make_commands
from archive.database.engines import DatabaseUrls, Engines, Role, database_url, psycopg_dsn
from archive.database.roles import RoleNames, create_roles, grant, make_external, require_version
from archive.database.sky import SkyTable
from archive.settings import Loaded
from archive.sphere.pgsphere import PgSphere
from archive.sphere.plain import PlainSphere
from archive.vo.errors import ConfigurationError, NotOfferedError
from tests.databases import Postgres
from tests.live import database_environment

PASSWORDS: dict[Role, str] = {"owner": "o", "writer": "w", "reader": "r"}


@pytest.fixture
def engines(postgres: Postgres) -> Iterator[Engines]:
    """Engines of a database that nobody used before."""
    # Not dropped: that would wait for a checkpoint, and the cluster goes with the run.
    with postgres.fresh_database().engines(pool_sizes={"writer": 1, "reader": 1}) as made:
        yield made


@pytest.fixture(scope="module")
def published(database: Postgres) -> Iterator[Engines]:
    """Engines of a database with one published table, ivoa.t, for tests that change nothing."""
    with database.engines() as made:
        run(made, "owner", "CREATE SCHEMA ivoa; CREATE TABLE ivoa.t (n int)")
        granted(made)
        yield made


def run(engines: Engines, role: Role, statement: str, *, read_only: bool | None = None) -> list[tuple[object, ...]]:
    with engines.begin(role, read_only=read_only) as connection:
        result = connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


@contextmanager
def refused(word: str = "permission denied") -> Iterator[None]:
    with pytest.raises(DBAPIError, match=word):
        yield


def granted(engines: Engines) -> None:
    grant(engines, published=("ivoa", "cat"), working=("arc",), creatable=("cat",))


# --- URLs and engines


def test_no_password_is_shown_where_urls_are_printed_or_logged() -> None:
    urls = DatabaseUrls.parse("postgresql://o:hush@h/d", "postgres://w:hush@h/d", "postgresql+psycopg://r:hush@h/d")
    assert "hush" not in repr(urls) + str(urls) + f"{urls.owner}"
    assert {url.drivername for url in (urls.owner, urls.writer, urls.reader)} == {"postgresql+psycopg"}


@pytest.mark.parametrize("wrong", ["mysql://u@h/d", "postgresql+asyncpg://u@h/d", "sqlite://", "not a url"])
def test_another_database_or_driver_is_refused_with_the_form_that_is_expected(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://user:password@host:5432/database"):
        database_url(wrong)


def test_a_url_reaches_libpq_with_socket_options_and_odd_passwords() -> None:
    dsn = psycopg_dsn("postgresql://u:p%40 '%5C@/d?host=/tmp/a%20b&sslmode=disable", application_name="x y")
    told = psycopg.conninfo.conninfo_to_dict(dsn)
    assert told == {
        "user": "u", "password": "p@ '\\", "dbname": "d", "host": "/tmp/a b", "sslmode": "disable",
        "application_name": "x y",
    }  # fmt: skip


def test_each_role_says_who_it_is_keeps_utc_and_the_reader_starts_read_only(engines: Engines) -> None:
    for role in ("writer", "reader"):
        asked = (
            "SELECT current_setting('application_name'), current_setting('TimeZone'), current_setting('jit'),"
            " current_setting('transaction_read_only')"
        )
        assert run(engines, role, asked) == [(f"uraniborg {role}", "UTC", "off", "on" if role == "reader" else "off")]
    assert engines.engine("reader") is engines.reader


def test_a_pooled_connection_that_the_server_ended_costs_no_request(engines: Engines) -> None:
    (pid,) = run(engines, "writer", "SELECT pg_backend_pid()")[0]
    run(engines, "owner", "SELECT 1")
    with psycopg.connect(psycopg_dsn(engines.urls.writer)) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert run(engines, "writer", "SELECT 1") == [(1,)]


# --- rights


def test_the_reader_reads_what_is_published_whoever_made_it_and_nothing_else(engines: Engines) -> None:
    run(engines, "owner", "CREATE SCHEMA ivoa; CREATE SCHEMA cat; CREATE SCHEMA arc; CREATE TABLE ivoa.before (n int)")
    run(engines, "owner", "CREATE TABLE arc.secret (n int); CREATE TABLE public.also_secret (n int)")
    granted(engines)
    run(engines, "owner", "CREATE TABLE ivoa.after (n int)")
    run(engines, "owner", "CREATE VIEW ivoa.seen AS SELECT * FROM arc.secret")
    run(engines, "writer", "CREATE TABLE cat.stars (n int)")
    for table in ("ivoa.before", "ivoa.after", "ivoa.seen", "cat.stars"):
        assert run(engines, "reader", f"SELECT * FROM {table}") == []
    for table in ("arc.secret", "public.also_secret"):
        with refused():
            run(engines, "reader", f"SELECT * FROM {table}")
    granted(engines)  # and again: nothing changes, nothing fails
    assert run(engines, "reader", "SELECT * FROM cat.stars") == []
    with refused():
        run(engines, "reader", "SELECT * FROM arc.secret")


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO ivoa.t VALUES (1)", "DELETE FROM ivoa.t", "TRUNCATE ivoa.t", "DROP TABLE ivoa.t",
        "CREATE TABLE ivoa.u (n int)", "CREATE TABLE public.u (n int)", "CREATE SCHEMA mine",
        "COPY ivoa.t TO PROGRAM 'true'", "SELECT pg_read_file('PG_VERSION')", "ALTER ROLE CURRENT_USER SUPERUSER",
        "SET ROLE {owner}",
    ],
)  # fmt: skip
def test_the_reader_cannot_write_even_in_a_transaction_that_asked_to(published: Engines, statement: str) -> None:
    owner = str(published.urls.owner.username)
    with refused("permission denied|must be owner|must be superuser"):
        run(published, "reader", statement.format(owner=owner), read_only=False)


def test_the_reader_cannot_give_away_what_it_has(published: Engines) -> None:
    # PostgreSQL only warns; what counts is that nobody gained anything.
    run(published, "reader", "GRANT SELECT ON ivoa.t TO PUBLIC", read_only=False)
    given = "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE oid = 'ivoa.t'::regclass AND grantee = 0"
    assert run(published, "owner", given) == [(0,)]


def test_the_reader_uploads_into_temporary_tables_and_may_then_only_read(engines: Engines) -> None:
    granted(engines)
    with engines.begin("reader", read_only=False) as connection:
        connection.execute(text("CREATE TEMPORARY TABLE upload (n int) ON COMMIT DROP"))
        connection.execute(text("INSERT INTO upload VALUES (1), (2)"))
        connection.execute(text("SET TRANSACTION READ ONLY"))
        assert connection.execute(text("SELECT sum(n) FROM upload")).scalar() == 3
        with refused("READ WRITE"):
            connection.execute(text("SET TRANSACTION READ WRITE"))
    with refused("read-only transaction"):
        run(engines, "reader", "CREATE TEMPORARY TABLE upload (n int)")


def test_the_writer_fills_working_tables_and_makes_its_own_in_cat_alone(engines: Engines) -> None:
    run(engines, "owner", "CREATE SCHEMA arc; CREATE TABLE arc.file (id bigint GENERATED BY DEFAULT AS IDENTITY)")
    run(engines, "owner", "CREATE TABLE arc.old (id bigserial)")
    granted(engines)
    run(engines, "owner", "CREATE TABLE arc.new (id bigserial)")
    for table in ("file", "old", "new"):
        run(engines, "writer", f"INSERT INTO arc.{table} DEFAULT VALUES")
        run(engines, "writer", f"UPDATE arc.{table} SET id = 7")
        assert run(engines, "writer", f"DELETE FROM arc.{table} RETURNING id") == [(7,)]
    run(engines, "writer", "CREATE TABLE cat.stars (n int); DROP TABLE cat.stars")
    for schema in ("arc", "ivoa", "public"):
        with refused():
            run(engines, "writer", f"CREATE TABLE {schema}.mine (n int)")
    with refused("must be owner"):
        run(engines, "writer", "DROP TABLE arc.file")


def test_a_role_that_is_none_of_the_archives_cannot_even_connect(engines: Engines, postgres: Postgres) -> None:
    granted(engines)
    stranger = f"stranger_{engines.urls.owner.database}"
    with psycopg.connect(psycopg_dsn(postgres.admin), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {stranger} LOGIN PASSWORD 'x'")
    url = engines.urls.reader.set(username=stranger, password="x")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(psycopg_dsn(url))


def test_roles_are_made_again_with_new_passwords_and_never_from_a_superuser(postgres: Postgres) -> None:
    names = RoleNames.with_prefix("second")
    first = create_roles(postgres.admin, PASSWORDS, names=names, database="second")
    again = create_roles(postgres.admin, {**PASSWORDS, "writer": "new"}, names=names, database="second")
    assert first.owner == again.owner
    psycopg.connect(psycopg_dsn(again.writer)).close()
    with psycopg.connect(psycopg_dsn(postgres.admin), autocommit=True) as admin:
        stored = admin.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'second%' AND rolcanlogin"
        ).fetchall()
        assert all(row[0].startswith("SCRAM-SHA-256$") for row in stored)
        admin.execute("ALTER ROLE second_reader SUPERUSER")
    with pytest.raises(ConfigurationError, match=r"second_reader .*NOSUPERUSER"):
        create_roles(postgres.admin, PASSWORDS, names=names, database="second")
    with pytest.raises(ConfigurationError, match="belongs to second_owner"):
        create_roles(postgres.admin, PASSWORDS, names=RoleNames.with_prefix("third"), database="second")
    replace(postgres, admin=postgres.admin.set(database="second")).drop()


def test_an_administrator_who_is_no_superuser_makes_roles_and_database(postgres: Postgres) -> None:
    """As on managed servers: CREATEROLE and CREATEDB are all one gets."""
    with psycopg.connect(psycopg_dsn(postgres.admin), autocommit=True) as admin:
        admin.execute("CREATE ROLE managed LOGIN CREATEROLE CREATEDB PASSWORD 'm'")
    url = postgres.admin.set(username="managed", password="m", database="postgres")
    urls = make_external(url, prefix="managed", database="managed")
    with Engines(urls) as engines:
        granted(engines)
        assert run(engines, "reader", "SELECT current_database()") == [("managed",)]
    replace(postgres, admin=postgres.admin.set(database="managed")).drop()


def test_a_server_that_is_too_old_is_told_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"PostgreSQL 14; the archive needs 15 .*embedded"):
        require_version(140_012, "the server")
    require_version(150_000, "the server")


@pytest.mark.parametrize("prefix", ["", "Big", "a-b", 'x"; DROP', "9a", "a" * 60])
def test_a_role_prefix_that_would_need_quoting_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="role prefix"):
        RoleNames.with_prefix(prefix)


# --- migrations


def declared() -> MetaData:
    """Tables as rooms declare them; one of a schema that Alembic does not look after."""
    metadata = MetaData()
    stars = Table(
        "stars", metadata, Column("id", Integer, primary_key=True), Column("name", String, nullable=False), schema="arc"
    )
    Index("ix_stars_name", stars.c.name)
    Table("queue", metadata, Column("id", Integer, primary_key=True), schema="jobs")
    return metadata


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """The repository's env.py and template, with no revisions yet."""
    folder = tmp_path / "migrations of 100% of us"
    shutil.copytree(migrate.SCRIPTS, folder, ignore=shutil.ignore_patterns("versions", "__pycache__"))
    (folder / "versions").mkdir()
    return folder


def test_a_revision_is_written_applied_and_then_there_is_no_drift(engines: Engines, scripts: Path) -> None:
    metadata = [declared()]
    with pytest.raises(ConfigurationError, match="not what this release declares"):
        migrate.check(engines.owner, metadata=metadata, scripts=scripts)
    assert migrate.current(engines.owner) is None
    path = migrate.revision(engines.owner, "Stars", metadata=metadata, scripts=scripts)
    assert path.name == "0001_stars.py"
    assert "jobs" not in path.read_text()
    migrate.upgrade(engines.owner, metadata=metadata, scripts=scripts)
    assert migrate.current(engines.owner) == migrate.head(scripts) == "0001"
    migrate.check(engines.owner, metadata=metadata, scripts=scripts)
    run(engines, "owner", "INSERT INTO arc.stars VALUES (1, 'Deneb')")
    migrate.upgrade(engines.owner, metadata=metadata, scripts=scripts)
    assert run(engines, "owner", "SELECT name FROM arc.stars") == [("Deneb",)]


@pytest.fixture
def migrated(engines: Engines, scripts: Path) -> Engines:
    """A database at the first revision."""
    migrate.revision(engines.owner, "Stars", metadata=[declared()], scripts=scripts)
    migrate.upgrade(engines.owner, metadata=[declared()], scripts=scripts)
    return engines


def test_the_migrations_of_this_repository_make_the_tables_that_its_rooms_declare(engines: Engines) -> None:
    migrate.upgrade(engines.owner)
    migrate.check(engines.owner)
    # The same from the shell, for whoever knows Alembic.
    url = engines.urls.owner.render_as_string(hide_password=False)
    words = [sys.executable, "-m", "alembic", "-x", f"url={url}", "check"]
    done = subprocess.run(words, cwd=migrate.SCRIPTS.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "No new upgrade operations detected" in done.stdout


DRIFT_AND_BACK = {
    "ALTER TABLE arc.stars ADD extra int": "ALTER TABLE arc.stars DROP extra",
    "CREATE TABLE arc.stray (n int)": "DROP TABLE arc.stray",
    "ALTER TABLE arc.stars ALTER name DROP NOT NULL": "ALTER TABLE arc.stars ALTER name SET NOT NULL",
    "ALTER TABLE arc.stars ALTER name TYPE int USING 1": "ALTER TABLE arc.stars ALTER name TYPE varchar",
    "ALTER TABLE arc.stars ALTER name SET DEFAULT 'x'": "ALTER TABLE arc.stars ALTER name DROP DEFAULT",
    "DROP INDEX arc.ix_stars_name": "CREATE INDEX ix_stars_name ON arc.stars (name)",
    "ALTER TABLE arc.stars DROP name": "",
}


def test_drift_of_any_kind_is_found(migrated: Engines, scripts: Path) -> None:
    for change, back in DRIFT_AND_BACK.items():
        migrate.check(migrated.owner, metadata=[declared()], scripts=scripts)
        run(migrated, "owner", change)
        with pytest.raises(ConfigurationError, match="not what this release declares"):
            migrate.check(migrated.owner, metadata=[declared()], scripts=scripts)
        if back:
            run(migrated, "owner", back)


def test_what_others_own_is_no_drift(migrated: Engines, scripts: Path, postgres: Postgres) -> None:
    with migrated.begin("owner") as connection:
        sky.run_ddl(connection, ["ALTER TABLE arc.stars ADD ra float8, ADD dec float8"])
        sky.run_ddl(connection, postgres.sphere.point_index("arc.stars", "ra", "dec"))
        sky.run_ddl(connection, ["ALTER TABLE arc.stars RENAME ra TO keep_ra", "CREATE VIEW arc.v AS SELECT 1 AS one"])
    run(migrated, "owner", "CREATE INDEX sky_mine ON arc.stars (abs(id))")
    for schema in ("jobs", "cat", "user_tycho", "elsewhere"):
        run(migrated, "owner", f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (n int)")
    metadata = declared()
    for name in ("keep_ra", "dec"):
        metadata.tables["arc.stars"].append_column(Column(name, Double()))
    migrate.check(migrated.owner, metadata=[metadata], scripts=scripts)


def test_services_that_start_together_migrate_once(engines: Engines, scripts: Path) -> None:
    migrate.revision(engines.owner, "Stars", metadata=[declared()], scripts=scripts)
    errors: list[BaseException] = []

    def start() -> None:
        with Engines(engines.urls) as own:
            try:
                migrate.upgrade(own.owner, metadata=[declared()], scripts=scripts)
            except BaseException as error:
                errors.append(error)

    threads = [Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert run(engines, "owner", "SELECT version_num FROM public.alembic_version") == [("0001",)]


def test_a_migration_that_fails_leaves_the_database_as_it_was(migrated: Engines, scripts: Path) -> None:
    more = declared()
    Table("planets", more, Column("id", Integer, primary_key=True), schema="arc")
    path = migrate.revision(migrated.owner, "Planets", metadata=[more], scripts=scripts)
    with path.open("a") as script:
        script.write('    op.execute("SELECT 1 / 0")\n')
    with pytest.raises(DBAPIError, match="division by zero"):
        migrate.upgrade(migrated.owner, metadata=[more], scripts=scripts)
    assert migrate.current(migrated.owner) == "0001"
    assert run(migrated, "owner", "SELECT to_regclass('arc.planets')") == [(None,)]


def test_a_database_of_a_newer_release_is_told_so(migrated: Engines, scripts: Path) -> None:
    run(migrated, "owner", "UPDATE public.alembic_version SET version_num = '0099'")
    with pytest.raises(ConfigurationError, match="0099"):
        migrate.upgrade(migrated.owner, metadata=[declared()], scripts=scripts)
    (finding,) = doctor.check_migrations(migrated.owner, scripts)
    assert (finding.level, "0099" in finding.what) == ("error", True)


def test_neither_writer_nor_reader_sees_the_version_table(migrated: Engines) -> None:
    granted(migrated)
    roles: tuple[Role, ...] = ("writer", "reader")
    for role in roles:
        with refused():
            run(migrated, role, "SELECT * FROM public.alembic_version")


# --- the doctor


def errors(findings: list[doctor.Finding]) -> list[str]:
    assert all(finding.what_to_do for finding in findings if finding.level != "ok")
    return [finding.what for finding in findings if finding.level == "error"]


def test_the_doctor_finds_nothing_where_all_is_well(migrated: Engines, scripts: Path, postgres: Postgres) -> None:
    granted(migrated)
    findings = doctor.examine(
        migrated, postgres.sphere, data_dir=scripts, published=("ivoa", "cat"), scripts=scripts, min_free_mib=1
    )
    assert [finding for finding in findings if finding.level != "ok"] == []
    assert len(findings) == 9


HARMS = {
    "GRANT CREATE ON SCHEMA public TO {reader}": "the reader may make tables in the schema public",
    "GRANT INSERT ON ivoa.t TO {reader}": "the reader may change tables",
    "GRANT USAGE ON SCHEMA arc TO {reader}; GRANT SELECT ON arc.s TO {reader}": "may read 1 tables of arc",
    "REVOKE TEMPORARY ON DATABASE {database} FROM {reader}": "the reader may not make temporary tables",
    "REVOKE SELECT ON ivoa.t FROM {reader}": "may not read 1 tables of the published schema ivoa",
    "REVOKE USAGE ON SCHEMA ivoa FROM {reader}": "may not read the published schema ivoa",
}


def test_the_doctor_tells_each_harm_with_what_to_do_and_granting_again_mends_what_was_taken(
    engines: Engines, postgres: Postgres, scripts: Path
) -> None:
    granted(engines)
    run(engines, "owner", "CREATE TABLE ivoa.t (n int); CREATE TABLE arc.s (n int)")
    names = RoleNames.of(engines.urls)
    for harm, told in HARMS.items():
        statement = harm.format(reader=names.reader, database=engines.urls.owner.database)
        run(engines, "owner", statement)
        (found,) = errors(doctor.examine(engines, postgres.sphere, published=("ivoa", "cat"), scripts=scripts))
        assert told in found
        if statement.startswith("GRANT"):
            run(engines, "owner", statement.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
        granted(engines)
        assert errors(doctor.check_rights(engines, ("ivoa", "cat"))) == []
    run(engines, "owner", "DROP SCHEMA sphere CASCADE")
    (found,) = errors(doctor.examine(engines, postgres.sphere, published=("ivoa", "cat"), scripts=scripts))
    assert "functions of the" in found


def test_the_doctor_tells_a_server_that_does_not_answer(engines: Engines, postgres: Postgres, tmp_path: Path) -> None:
    nowhere = replace(engines.urls, reader=engines.urls.reader.update_query_dict({"host": str(tmp_path)}))
    with Engines(nowhere) as wrong:
        findings = doctor.examine(wrong, postgres.sphere, data_dir=tmp_path / "missing")
    reached, disk = errors(findings)
    assert reached.startswith("reader does not reach")
    assert "missing" in disk


def test_the_doctor_tells_a_full_disk_and_clocks_that_disagree(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk,) = doctor.check_disk(tmp_path, min_free_mib=2**40)
    assert disk.level == "warning"

    class Late(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls.fromtimestamp(time.time() - 100, tz)

    assert doctor.check_clock(engines.owner)[0].level == "ok"
    monkeypatch.setattr(doctor, "datetime", Late)
    (clock,) = doctor.check_clock(engines.owner)
    assert clock.level == "warning"
    assert "100" in clock.what


# --- the sky's adapters


def sky_engines(engines: Engines) -> list[SkyTable]:
    granted(engines)
    run(engines, "owner", "CREATE TABLE arc.file (s_ra float8, s_dec float8, s_region float8[])")
    run(engines, "writer", "CREATE TABLE cat.stars (ra float8, dec float8)")
    return [
        SkyTable("arc.file", position=("s_ra", "s_dec"), region="s_region"),
        SkyTable("cat.stars", position=("ra", "dec")),
    ]


@pytest.mark.parametrize("postgres", ["pgsphere"], indirect=True)
def test_tables_of_owner_and_writer_go_from_one_adapter_to_the_other_and_back(engines: Engines) -> None:
    tables = sky_engines(engines)
    plain, pgsphere = PlainSphere(), PgSphere()
    for old, new in ((pgsphere, plain), (plain, pgsphere), (pgsphere, pgsphere)):
        sky.convert(engines, tables, old, new)
        found = sky.indexes(engines.owner)
        assert [index.table for index in found] == ["arc.file", "arc.file", "cat.stars"]
        assert {index.adapter for index in found} == {new.name}


@pytest.mark.parametrize("postgres", ["embedded"], indirect=True)
def test_pgsphere_where_it_is_not_installed_is_told_with_the_way_out(engines: Engines, postgres: Postgres) -> None:
    with pytest.raises(ConfigurationError, match=r"database\.sphere = plain"):
        sky.convert(engines, sky_engines(engines), PlainSphere(), PgSphere())
    (finding,) = doctor.check_adapter(engines.owner, PgSphere())
    assert (finding.level, "not on the server" in finding.what) == ("error", True)
    assert sky.offer_extension(postgres.admin) is False


@pytest.mark.parametrize("postgres", ["pgsphere"], indirect=True)
def test_the_doctor_tells_an_extension_that_is_there_but_not_in_this_database(postgres: Postgres) -> None:
    urls = make_external(postgres.admin, prefix="bare", database="bare")
    bare = replace(postgres, urls=urls, admin=postgres.admin.set(database="bare"))
    with bare.engines() as engines:
        (finding,) = doctor.check_adapter(engines.owner, PgSphere())
        assert "not in this database" in finding.what
        assert "CREATE EXTENSION" in finding.what_to_do
        assert sky.offer_extension(bare.admin) is True
        sky.install(engines.owner, PgSphere())
        assert doctor.check_adapter(engines.owner, PgSphere())[0].level == "ok"
    bare.drop()


# --- commands


def test_the_commands_make_migrate_check_and_show_the_database(
    engines: Engines, scripts: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = [declared()]
    migrate.revision(engines.owner, "Stars", metadata=metadata, scripts=scripts)
    monkeypatch.setattr(migrate.check, "__kwdefaults__", {"metadata": None, "scripts": scripts})

    def prepare() -> None:
        migrate.upgrade(engines.owner, metadata=metadata, scripts=scripts)

    @contextmanager
    def tools(context: click.Context) -> Iterator[DatabaseTools]:
        yield DatabaseTools(engines, postgres.sphere, prepare, metadata, list)

    group = make_commands(tools, lambda context: pytest.fail("opened the embedded server"))

    def typed(*words: str) -> str:
        return CliRunner().invoke(group, words, catch_exceptions=False).output

    assert "at revision 0001" in typed("init")
    assert "as before" in typed("migrate")
    assert "what this release declares" in typed("check")
    assert f"adapter: {postgres.sphere.name}" in typed("sphere")


@pytest.mark.parametrize("postgres", ["pgsphere"], indirect=True)
def test_a_database_of_a_former_release_is_prepared_for_users_own_tables(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = make_external(postgres.admin, prefix="older", database="older")
    with psycopg.connect(psycopg_dsn(postgres.admin, dbname="older"), autocommit=True) as admin:
        admin.execute("DROP SCHEMA own_roles CASCADE")
        admin.execute("GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO PUBLIC")
    for name, value in database_environment(urls).items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    assert run(uraniborg.commands, ["db", "init", "--data-dir", str(tmp_path)]).exit_code == 0
    with OpenedArchive(Loaded.load(tmp_path).settings) as archive:
        assert archive.own_views.of("tycho", frozenset({"user:tycho"})).role is None
        with pytest.raises(NotOfferedError, match="db own-tables"):
            archive.own_views.require_possible()
    words = ["db", "own-tables", "--admin-url", postgres.admin.render_as_string(), "--data-dir", str(tmp_path)]
    assert "users may keep tables" in run(uraniborg.commands, words, catch_exceptions=False).output
    with OpenedArchive(Loaded.load(tmp_path).settings) as archive:
        assert archive.own_views.of("tycho", frozenset({"user:tycho"})).role == "older_reader_public"
        assert [finding.level for finding in doctor.check_user_roles(archive.engines)] == ["ok"]
        with psycopg.connect(psycopg_dsn(postgres.admin, dbname="older"), autocommit=True) as admin:
            admin.execute("CREATE ROLE older_strong CREATEDB; GRANT older_strong TO older_reader")
        findings = doctor.check_user_roles(archive.engines)
        assert "may become roles that can do more than read: older_strong" in findings[0].what


def test_an_external_database_is_made_and_its_settings_are_printed_to_be_kept(postgres: Postgres) -> None:
    group = make_commands(*[lambda context: pytest.fail("opened the archive")] * 2)
    words = ["init", "--prefix", "ext", "--database", "ext", "--admin-url"]
    done = CliRunner().invoke(group, [*words, postgres.admin.render_as_string(hide_password=False)])
    assert done.exit_code == 0, done.output
    printed = tomllib.loads(done.output)["database"]
    urls = DatabaseUrls.parse(printed["owner_url"], printed["writer_url"], printed["reader_url"])
    with Engines(urls) as engines:
        assert run(engines, "owner", "SELECT current_user") == [("ext_owner",)]
        found = run(engines, "owner", "SELECT count(*) FROM pg_extension WHERE extname = 'pg_sphere'")
        assert found == [(1 if postgres.name == "pgsphere" else 0,)]
    replace(postgres, admin=postgres.admin.set(database="ext")).drop()
