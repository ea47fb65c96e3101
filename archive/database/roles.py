"""The three roles of the database that log in, and what each may do.

- owner: owns database, schemas and tables; runs migrations; serves nobody.
- writer: SELECT, INSERT, UPDATE, DELETE on the working schemas; makes tables in `cat` and in users' schemas alone.
- reader: SELECT on the published schemas and TEMPORARY on the database; nothing else, so that a fault in the translator
  of ADQL can neither write nor show what is not published. The public reader, a role without login, has the same.

Here: making the roles (by an administrator of the server), granting them their rights (by the owner). Not here: who
of the archive's users may see which row (archive.access), the schemas themselves (migrate.py), roles of the archive's
own users (user_roles.py).
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from archive.database import user_roles
from archive.database.engines import ROLES, DatabaseUrls, Engines, Role, psycopg_dsn
from archive.vo.errors import ConfigurationError

MINIMUM_VERSION = 15
ROLE_NAME = re.compile(r"[a-z_][a-z0-9_]{0,50}")

# TRUNCATE is left out: it takes a lock that a stream of rows would wait for.
WRITER_RIGHTS = "SELECT, INSERT, UPDATE, DELETE"
# pg_class.relkind of what is read as a table: tables, partitioned ones, views, materialised views, foreign tables.
TABLES = "rpvmf"


@dataclass(frozen=True, slots=True)
class RoleNames:
    """What the roles are called on the server; roles belong to a whole cluster, so two archives need two prefixes."""

    owner: str = "uraniborg_owner"
    writer: str = "uraniborg_writer"
    reader: str = "uraniborg_reader"

    @classmethod
    def with_prefix(cls, prefix: str) -> Self:
        """`prefix_owner` and so on; ConfigurationError unless it is a plain lower-case name of 50 letters at most."""
        if not ROLE_NAME.fullmatch(prefix):
            raise ConfigurationError(
                f"the role prefix {prefix!r} will not do: lower-case letters, digits, underscores; 50 at most"
            )
        return cls(f"{prefix}_owner", f"{prefix}_writer", f"{prefix}_reader")

    @classmethod
    def of(cls, urls: DatabaseUrls) -> Self:
        """The names that the URLs log in with. ConfigurationError when one is missing or two are the same."""
        names = [url.username for url in (urls.owner, urls.writer, urls.reader)]
        if not all(names) or len(set(names)) != 3:
            raise ConfigurationError("the URLs of owner, writer and reader must name three different users")
        return cls(*(str(name) for name in names))

    def items(self) -> tuple[tuple[Role, str], ...]:
        """Role and name, owner first."""
        return (("owner", self.owner), ("writer", self.writer), ("reader", self.reader))


def require_version(version_number: int, where: str) -> None:
    """ConfigurationError below PostgreSQL 15. version_number: as `SHOW server_version_num` tells it (150018)."""
    if version_number // 10_000 < MINIMUM_VERSION:
        raise ConfigurationError(
            f"{where} is PostgreSQL {version_number // 10_000}; the archive needs {MINIMUM_VERSION} or newer: "
            "upgrade it, or leave the database URL out and use the embedded server"
        )


def create_roles(
    admin: URL, passwords: Mapping[Role, str], *, names: RoleNames | None = None, database: str = "uraniborg"
) -> DatabaseUrls:
    """Make the three roles and the database, or bring them up to date; repeatable. Returns where each finds it.

    admin: a superuser, or a user with CREATEROLE and CREATEDB, in a database that exists (`postgres`).
    passwords: sent to the server as SCRAM verifiers only, so that no log of statements shows them.
    ConfigurationError: the server is too old, does not answer, or refuses.
    """
    names = names or RoleNames()
    where = f"the database server at {admin.render_as_string(hide_password=True)}"
    try:
        with psycopg.connect(psycopg_dsn(admin), autocommit=True, connect_timeout=10) as connection:
            require_version(connection.info.server_version, where)
            for role, name in names.items():
                _create_role(connection, name, passwords[role])
            _create_database(connection, database, names.owner)
    except psycopg.Error as error:
        raise ConfigurationError(f"{where} did not let the roles be made: {error}") from error
    user_roles.install(admin.set(database=database), owner=names.owner, writer=names.writer, reader=names.reader)
    return DatabaseUrls(
        *(admin.set(username=name, password=passwords[role], database=database) for role, name in names.items())
    )


def make_external(admin: URL, *, prefix: str = "uraniborg", database: str = "uraniborg") -> DatabaseUrls:
    """Roles with new passwords, and the database, on a server that is not ours. Repeatable: the passwords are new."""
    passwords: dict[Role, str] = {role: secrets.token_urlsafe(24) for role in ROLES}
    return create_roles(admin, passwords, names=RoleNames.with_prefix(prefix), database=database)


def _create_role(connection: psycopg.Connection, name: str, password: str) -> None:
    verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    row = connection.execute(
        "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls"
        " FROM pg_roles WHERE rolname = %s",
        [name],
    ).fetchone()
    if row and row[0]:
        raise ConfigurationError(
            f"the role {name} exists and has rights that the archive's roles must not have: "
            f"ALTER ROLE {name} NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS, "
            "or choose another role prefix"
        )
    verb = sql.SQL("ALTER" if row else "CREATE")
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, sql.Identifier(name), sql.Literal(verifier))
    )


def _create_database(connection: psycopg.Connection, database: str, owner: str) -> None:
    superuser = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    row = connection.execute(
        "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [database]
    ).fetchone()
    if row is None:
        if superuser and not superuser[0]:
            # Only a member of a role may give it a database (managed servers have no superuser to lend).
            connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(owner)))
        # template0: a template1 with somebody's additions, or another encoding, is not our business.
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'UTF8'").format(
                sql.Identifier(database), sql.Identifier(owner)
            )
        )
    elif row[0] != owner:
        raise ConfigurationError(
            f"the database {database} exists and belongs to {row[0]}, not to {owner}: "
            f"ALTER DATABASE {database} OWNER TO {owner}, or choose another database"
        )


def grant(
    engines: Engines,
    *,
    published: Sequence[str],
    working: Sequence[str],
    creatable: Sequence[str] = ("cat",),
    callable_in: Sequence[str] = ("public",),
) -> None:
    """Give writer and reader their rights in the archive's database, and PUBLIC none; repeatable.

    published: schemas whose tables and views the reader may SELECT from, those made later by owner or writer too.
    working: schemas whose tables the writer may fill. creatable: schemas in which the writer makes tables of its own.
    callable_in: schemas whose functions and operators both may use (extensions, the sphere's functions).
    Schemas that are named but do not exist are made, empty, by the owner.
    """
    names = RoleNames.of(engines.urls)
    with engines.begin("owner") as connection:
        give = _Grants(connection, names)
        give.database()
        for schema in dict.fromkeys((*published, *working, *creatable)):
            give.run("CREATE SCHEMA IF NOT EXISTS {schema}", schema=schema)
            give.run("REVOKE ALL ON SCHEMA {schema} FROM PUBLIC", schema=schema)
        for schema in callable_in:
            give.run("GRANT USAGE ON SCHEMA {schema} TO {writer}, {reader}", schema=schema)
        for schema in published:
            give.publish(schema)
        for schema in working:
            give.work(schema)
        for schema in creatable:
            give.run("GRANT USAGE, CREATE ON SCHEMA {schema} TO {writer}", schema=schema)
    with engines.begin("writer") as connection:
        # Rights on tables to come are tied to who will make them: only the writer can say this of its own.
        give = _Grants(connection, names)
        for schema in set(creatable) & set(published):
            give.run("ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}", schema=schema)
            give.own_relations(schema, TABLES, "GRANT SELECT ON {schema}.{relation} TO {reader}")


class _Grants:
    """Statements of grants with their names quoted; every name is one of our own declarations or settings."""

    def __init__(self, connection: Connection, names: RoleNames) -> None:
        self.connection = connection
        quote = connection.dialect.identifier_preparer.quote_identifier
        self.quote = quote
        self.names = {"writer": quote(names.writer), "reader": quote(names.reader)}
        if user_roles.is_installed(connection, names.reader):
            self.names["reader"] += f", {quote(user_roles.public_role(names.reader))}"

    def run(self, statement: str, **identifiers: str) -> None:
        """Fill in quoted names and execute."""
        quoted = {key: self.quote(value) for key, value in identifiers.items()}
        # A colon in a quoted name would be a bound parameter to SQLAlchemy.
        self.connection.execute(text(statement.format(**self.names, **quoted).replace(":", r"\:")))

    def database(self) -> None:
        """Who may come in: writer and reader only, both with temporary tables."""
        database = str(self.connection.execute(text("SELECT current_database()")).scalar_one())
        self.run("REVOKE ALL ON DATABASE {database} FROM PUBLIC", database=database)
        self.run("GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {writer}, {reader}", database=database)
        self.run("REVOKE ALL ON SCHEMA public FROM PUBLIC")

    def publish(self, schema: str) -> None:
        """The reader may read the schema, now and later; the writer too, for it checks what it published."""
        self.run("GRANT USAGE ON SCHEMA {schema} TO {reader}, {writer}", schema=schema)
        self.run(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT ON TABLES TO {reader}, {writer}", schema=schema
        )
        self.own_relations(schema, TABLES, "GRANT SELECT ON {schema}.{relation} TO {reader}, {writer}")

    def work(self, schema: str) -> None:
        """The writer may fill the schema's tables, now and later."""
        self.run("GRANT USAGE ON SCHEMA {schema} TO {writer}", schema=schema)
        self.run(
            f"ALTER DEFAULT PRIVILEGES IN SCHEMA {{schema}} GRANT {WRITER_RIGHTS} ON TABLES TO {{writer}}",
            schema=schema,
        )
        self.run(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT USAGE, SELECT ON SEQUENCES TO {writer}", schema=schema
        )
        self.own_relations(schema, TABLES, f"GRANT {WRITER_RIGHTS} ON {{schema}}.{{relation}} TO {{writer}}")
        self.own_relations(schema, "S", "GRANT USAGE, SELECT ON SEQUENCE {schema}.{relation} TO {writer}")

    def own_relations(self, schema: str, kinds: str, statement: str) -> None:
        """The statement for each relation that belongs to whoever is connected: others' we may not give away.

        `ON ALL TABLES IN SCHEMA` would fail in `cat`, where owner and writer both have tables.
        """
        rows = self.connection.execute(
            text(
                "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname = :schema AND strpos(:kinds, c.relkind::text) > 0"
                " AND pg_get_userbyid(c.relowner) = current_user"
            ),
            {"schema": schema, "kinds": kinds},
        )
        for (relation,) in rows.all():
            self.run(statement, schema=schema, relation=relation)
