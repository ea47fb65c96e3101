"""What `uraniborg doctor` asks of the database: each answer is a finding, with what to do about it.

Here: server, adapter of the sky, roles and their rights, migrations, free disk, clocks. Not here: the store and its
objects (storage), how findings are shown (commands).
"""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from archive.database import migrate, user_roles
from archive.database.engines import ROLES, Engines, Role
from archive.database.roles import MINIMUM_VERSION
from archive.database.sky import COMMUTATOR_ADVICE, COMMUTATOR_TRAP, PGSPHERE
from archive.sphere.sphere import Sphere

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """level: ok, warning (works, not as it should) or error (does not work). what_to_do: empty when ok."""

    level: Level
    what: str
    what_to_do: str = ""


def examine(
    engines: Engines,
    sphere: Sphere,
    *,
    data_dir: Path | None = None,
    published: Sequence[str] = (),
    scripts: Path = migrate.SCRIPTS,
    min_free_mib: int = 2048,
    max_skew_s: float = 2.0,
) -> list[Finding]:
    """All findings, in the order in which one mends them.

    data_dir: where the archive keeps what it keeps; None: not on this machine. published: schemas for the reader.
    min_free_mib: mebibytes of free disk below which there is a warning. max_skew_s: seconds by which the database's
    clock may differ from this machine's.
    """
    findings = [finding for role in ROLES for finding in check_server(engines, role)]
    if all(finding.level != "error" for finding in findings):
        findings += _told(lambda: check_adapter(engines.owner, sphere))
        findings += _told(lambda: check_migrations(engines.owner, scripts))
        findings += _told(lambda: check_rights(engines, published))
        findings += _told(lambda: check_user_roles(engines))
        findings += _told(lambda: check_clock(engines.owner, max_skew_s))
    if data_dir is not None:
        findings += check_disk(data_dir, min_free_mib)
    return findings


def _told(check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """A check's findings; that it could not ask is one too."""
    try:
        return list(check())
    except DBAPIError as error:
        return [Finding("error", f"the database refused a question: {error.orig}", "see the server's log")]


def check_server(engines: Engines, role: Role) -> list[Finding]:
    """Whether a role reaches a server that is new enough."""
    url = engines.urls.of(role).render_as_string(hide_password=True)
    try:
        with engines.engine(role).connect() as connection:
            version = int(connection.execute(text("SHOW server_version_num")).scalar_one())
            shown = connection.execute(text("SHOW server_version")).scalar_one()
    except OperationalError as error:
        return [
            Finding(
                "error",
                f"{role} does not reach the database at {url}: {str(error.orig).strip()}",
                "start the server, or correct the URL, user or password in the settings",
            )
        ]
    if version // 10_000 < MINIMUM_VERSION:
        advice = f"upgrade it to {MINIMUM_VERSION} or newer, or use the embedded server"
        return [Finding("error", f"{role} reaches PostgreSQL {shown} at {url}, which is too old", advice)]
    return [Finding("ok", f"{role} reaches PostgreSQL {shown} at {url}")]


def check_adapter(owner: Engine, sphere: Sphere) -> list[Finding]:
    """Whether the adapter of the sky is there and answers; which other one could be."""
    findings = []
    with owner.connect() as connection:
        installed = connection.execute(
            text("SELECT extversion FROM pg_extension WHERE extname = :name"), {"name": PGSPHERE}
        ).scalar()
        available = connection.execute(
            text("SELECT default_version FROM pg_available_extensions WHERE name = :name"), {"name": PGSPHERE}
        ).scalar()
        if sphere.name == "pgsphere" and installed is None:
            return [_missing_extension(connection, available)]
        if sphere.name == "plain" and available is not None:
            findings.append(Finding("ok", f"{PGSPHERE} {available} is on the server and not used (adapter: plain)"))
        functions = connection.execute(
            text(
                "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE nspname = 'sphere'"
            )
        ).scalar_one()
    if not functions:
        advice = "uraniborg db init"
        return [*findings, Finding("error", f"the functions of the {sphere.name} adapter are missing", advice)]
    version = f" ({PGSPHERE} {installed})" if installed and sphere.name == "pgsphere" else ""
    return [*findings, Finding("ok", f"the {sphere.name} adapter of the sky is installed{version}")]


def _missing_extension(connection: Connection, available: str | None) -> Finding:
    if available is None:
        return Finding(
            "error",
            f"the extension {PGSPHERE} is not on the server",
            "install it there (Debian: postgresql-15-pgsphere), or set database.sphere = plain",
        )
    try:
        connection.execute(text(f"CREATE EXTENSION {PGSPHERE}"))
    except DBAPIError as error:
        if COMMUTATOR_TRAP in str(error.orig):
            return Finding("error", f"the extension {PGSPHERE} {available} cannot be made", COMMUTATOR_ADVICE)
        return Finding(
            "error",
            f"the extension {PGSPHERE} {available} is on the server, not in this database: {error.orig}",
            f"as a superuser, in this database: CREATE EXTENSION {PGSPHERE}; or uraniborg db init --admin-url ...",
        )
    finally:
        connection.rollback()
    return Finding(
        "error", f"the extension {PGSPHERE} {available} is on the server, not in this database", "uraniborg db init"
    )


def check_migrations(owner: Engine, scripts: Path = migrate.SCRIPTS) -> list[Finding]:
    """Whether the database is at this release's newest revision."""
    there, here = migrate.current(owner), migrate.head(scripts)
    if there == here:
        return [Finding("ok", f"the database is at revision {there or 'none'}")]
    what = f"the database is at revision {there or 'none'}, this release at {here or 'none'}"
    return [Finding("error", what, "uraniborg db migrate; if the database is the newer one, install its release")]


# What must not be: who asks, the question, what it means when the answer is true, what to do.
WRONGS: tuple[tuple[tuple[Role, ...], str, str, str], ...] = (
    (
        ROLES,
        "SELECT rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication FROM pg_roles WHERE rolname = current_user",
        "the {role} is more than it should be (superuser, BYPASSRLS, CREATEROLE or REPLICATION)",
        "ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION, or other users in the URLs",
    ),
    (
        ("writer", "reader"),
        "SELECT has_schema_privilege('public', 'CREATE')",
        "the {role} may make tables in the schema public",
        "uraniborg db init",
    ),
    (
        ("reader",),
        "SELECT count(*) > 0 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
        " AND n.nspname !~ '^pg_(temp|toast)'"
        " AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')",
        "the {role} may change tables",
        "REVOKE INSERT, UPDATE, DELETE, TRUNCATE on them from it: uraniborg db init grants what it needs",
    ),
    (
        ("writer", "reader"),
        "SELECT NOT has_database_privilege(current_database(), 'TEMPORARY')",
        "the {role} may not make temporary tables, which uploads need",
        "uraniborg db init",
    ),
    (
        ("reader",),
        "SELECT current_setting('default_transaction_read_only') <> 'on'",
        "the {role}'s sessions do not start read-only",
        "take default_transaction_read_only out of the options of its URL",
    ),
)

# Relations of each schema that the reader can and cannot read, as the reader sees it.
READABLE = text(
    "SELECT n.nspname, has_schema_privilege(n.oid, 'USAGE'),"
    " count(c.oid) FILTER (WHERE has_table_privilege(c.oid, 'SELECT')),"
    " count(c.oid) FILTER (WHERE NOT has_table_privilege(c.oid, 'SELECT'))"
    " FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')"
    " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(temp|toast)'"
    " GROUP BY n.oid, n.nspname ORDER BY n.nspname"
)


def check_rights(engines: Engines, published: Sequence[str] = ()) -> list[Finding]:
    """Whether each role has its rights and no more (roles.py). published: schemas whose tables the reader may read."""
    findings = []
    for roles, question, what, advice in WRONGS:
        for role in roles:
            with engines.engine(role).connect() as connection:
                if connection.execute(text(question)).scalar_one():
                    findings.append(Finding("error", what.format(role=role), advice))
    with engines.reader.connect() as connection:
        schemas = {name: (usable, seen, hidden) for name, usable, seen, hidden in connection.execute(READABLE)}
    for schema in published:
        usable, _, hidden = schemas.pop(schema, (False, 0, 0))
        if not usable or hidden:
            what = f"the reader may not read {f'{hidden} tables of ' if usable else ''}the published schema {schema}"
            findings.append(Finding("error", what, "uraniborg db init"))
    for schema, (usable, seen, _) in schemas.items():
        # pgSphere's own few tables, where it has any, lie in public.
        if usable and seen and schema != "public":
            what = f"the reader may read {seen} tables of {schema}, which is not published"
            findings.append(Finding("error", what, f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM the reader"))
    return findings or [Finding("ok", "owner, writer and reader have their rights and no more")]


def check_user_roles(engines: Engines) -> list[Finding]:
    """Whether users can have tables of their own, and none of their roles can do more than read."""
    reader = str(engines.urls.reader.username)
    public = user_roles.public_role(reader)
    with engines.owner.connect() as connection:
        if not user_roles.is_installed(connection, reader):
            advice = "uraniborg db own-tables --admin-url ..., if they shall"
            return [Finding("warning", "the database is not prepared for users' own tables", advice)]
        powerful = connection.execute(
            text(
                "SELECT string_agg(rolname, ', ') FROM pg_roles WHERE pg_has_role(:reader, rolname, 'MEMBER')"
                " AND rolname <> :reader AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
                " OR rolreplication OR starts_with(rolname, 'pg_'))"
            ),
            {"reader": reader},
        ).scalar_one()
        inherits = connection.execute(
            text("SELECT pg_has_role(:reader, :public, 'USAGE')"), {"public": public, "reader": reader}
        ).scalar_one()
    findings = []
    if powerful:
        what = f"{reader}, which users' queries come in by, may become roles that can do more than read: {powerful}"
        findings.append(Finding("error", what, f"REVOKE {powerful} FROM {reader}"))
    if inherits:
        what = f"{reader} has the rights of users' roles without becoming one of them"
        findings.append(Finding("error", what, f"ALTER ROLE {reader} NOINHERIT; uraniborg db own-tables --admin-url"))
    return findings or [Finding("ok", "users' own tables are kept apart by roles that can only read")]


def check_clock(engine: Engine, max_skew_s: float = 2.0) -> list[Finding]:
    """Whether the database's clock and this machine's agree: release dates are compared with both."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))  # the connection is made: its time is not part of the answer's
        before = datetime.now(UTC)
        there = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        after = datetime.now(UTC)
    # Anywhere between asking and hearing is right.
    skew_s = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    if skew_s > max_skew_s:
        what = f"the database's clock and this machine's differ by {skew_s:.1f} s"
        return [Finding("warning", what, "let both follow NTP: release dates are judged by these clocks")]
    return [Finding("ok", "the clocks of the database and of this machine agree")]


def check_disk(folder: Path, min_free_mib: int = 2048) -> list[Finding]:
    """Whether the disk below a folder has room."""
    try:
        free_mib = shutil.disk_usage(folder).free // 2**20
    except OSError as error:
        return [Finding("error", f"the data folder {folder} cannot be looked at: {error.strerror}", "make or mount it")]
    if free_mib < min_free_mib:
        what = f"{folder} has {free_mib} MiB free, less than {min_free_mib}"
        return [Finding("warning", what, "make room or move the data folder: a full disk stops ingest and database")]
    return [Finding("ok", f"{folder} has {free_mib} MiB free")]
