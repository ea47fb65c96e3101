"""Who sees which of the users' own tables: by PostgreSQL's own rights, in TAP_SCHEMA's rows, and for the translator.

What arc.own_table and arc.own_share say is the truth; roles and grants follow it, and can be made from it again.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Row, select, text

from archive.database import user_roles
from archive.database.engines import Engines
from archive.database.sky import SkyTable
from archive.holdings.own.names import schema_of
from archive.holdings.published import Published, quoted, read_set
from archive.holdings.tables import arc
from archive.holdings.temporary import TemporaryTable, sky_places
from archive.vo.columns import Schema
from archive.vo.errors import NotOfferedError

REMEMBERED = 256  # users whose tables a process remembers


@dataclass(frozen=True, slots=True)
class View:
    """What a user sees beside what is published. role: the database's role that their queries run as.

    tables: by name in lower case. owned: those that are theirs. is_own: whether the role is the user's alone.
    """

    tables: Mapping[str, Published] = field(default_factory=dict)
    owned: frozenset[str] = frozenset()
    schemas: tuple[Schema, ...] = ()
    role: str | None = None
    is_own: bool = False


# The user's tables, then those that are shared with them or their groups, each with the group it comes by; and the
# groups' roles that the user's role is a member of now.
_SEEN = text("""
SELECT t.table_name, t.xmin::text AS state, t.owner = :user AS is_owned,
       ARRAY(SELECT substr(s.subject, 7) FROM arc.own_share s WHERE s.table_name = t.table_name
             AND s.subject = ANY(:subjects) AND starts_with(s.subject, 'group:') ORDER BY 1) AS groups,
       ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
             WHERE m.member = to_regrole(:role) AND g.rolname <> :public ORDER BY 1) AS joined
FROM arc.own_table t
WHERE t.owner = :user
   OR EXISTS (SELECT FROM arc.own_share s WHERE s.table_name = t.table_name AND s.subject = ANY(:subjects))
ORDER BY 1
""")


class OwnViews:
    """Tells each user's view; shared by all threads of a process."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._known: OrderedDict[str, tuple[object, View]] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def reader(self) -> str:
        return str(self._engines.urls.reader.username)

    @cached_property
    def is_possible(self) -> bool:
        """Whether this database can have users' own tables: the roles that it takes are prepared, and granted to."""
        with self._engines.writer.connect() as connection:
            if not user_roles.is_installed(connection, self.reader):
                return False
            granted = text("SELECT has_schema_privilege(:public, 'tap_schema', 'USAGE')")
            return bool(connection.execute(granted, {"public": user_roles.public_role(self.reader)}).scalar_one())

    def require_possible(self) -> None:
        """NotOfferedError where it cannot."""
        if not self.is_possible:
            raise NotOfferedError(
                "this database is not prepared for users' own tables: its operator runs "
                "`uraniborg db own-tables --admin-url ...` once, and starts the service anew"
            )

    @cached_property
    def public(self) -> View:
        """What the anonymous see."""
        return View(role=user_roles.public_role(self.reader) if self.is_possible else None)

    def of(self, user: str, subjects: frozenset[str]) -> View:
        """The view of a user. user: "" for the anonymous; subjects: "user:NAME" and "group:NAME"s."""
        if not user or not self.is_possible:
            return self.public
        role = user_roles.role_of(self.reader, "user", user)
        asked = {"user": user, "subjects": sorted(subjects), "role": role, "public": self.public.role}
        with self._engines.writer.connect() as connection:
            # One question at each request: it needs no transaction around it, which would be two more round trips.
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            rows = connection.execute(_SEEN, asked).all()
            if not rows:
                return self.public
            state = tuple((row.table_name, row.state, row.is_owned) for row in rows)
            with self._lock:
                known = self._known.get(user)
            view = known[1] if known and known[0] == state else self._view(connection, rows, role)
        groups = {user_roles.role_of(self.reader, "group", group) for row in rows for group in row.groups}
        if sorted(groups) != list(rows[0].joined):
            with self._engines.begin("owner") as owner:
                user_roles.join_groups(owner, role, sorted(groups))
        with self._lock:
            self._known[user] = (state, view)
            self._known.move_to_end(user)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return view

    def _view(self, connection: Connection, rows: Sequence[Row[Any]], role: str) -> View:
        found = read_set(connection, own=[row.table_name for row in rows])
        tables = {one.table.name: one for one in found.every()}
        schemas = tuple(
            replace(schema, tables=tuple(tables[table.name].table for table in schema.tables if table.name in tables))
            for schema in found.schemas
        )
        owned = frozenset(row.table_name for row in rows if row.is_owned)
        return View(tables, owned, schemas, role, is_own=True)


def provide(engines: Engines, subject: str) -> str:
    """The role of a subject ("user:NAME", "group:NAME"), made if it is not there."""
    kind, _, name = subject.partition(":")
    role = user_roles.role_of(str(engines.urls.reader.username), "group" if kind == "group" else "user", name)
    with engines.begin("owner") as connection:
        user_roles.provide(connection, role)
    return role


def make_space(engines: Engines, user: str) -> tuple[str, str]:
    """The user's schema and role, made if they are not there. Repeatable."""
    schema, role = schema_of(user), provide(engines, f"user:{user}")
    quote = quoted(schema)
    writer = quoted(str(engines.urls.writer.username))
    public = quoted(user_roles.public_role(str(engines.urls.reader.username)))
    with engines.begin("owner") as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": schema})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {quote}"))
        connection.execute(text(f"REVOKE ALL ON SCHEMA {quote} FROM PUBLIC"))
        connection.execute(text(f"GRANT USAGE, CREATE ON SCHEMA {quote} TO {writer}"))
        # What lies in it is each table's own right; all users' roles inherit this from the public one.
        connection.execute(text(f"GRANT USAGE ON SCHEMA {quote} TO {public}"))
    return schema, role


def grant_all(engines: Engines) -> None:
    """Roles and rights of every table that is there, from what is written of it: after a restore."""
    c, shared = arc.own_table.c, arc.own_share.c
    with engines.writer.connect() as connection:
        tables = connection.execute(select(c.table_name, c.owner).order_by(c.table_name)).all()
        shares = connection.execute(select(shared.table_name, shared.subject)).all()
    for owner in sorted({table.owner for table in tables}):
        make_space(engines, owner)
    for name, subject in [*((table.table_name, f"user:{table.owner}") for table in tables), *map(tuple, shares)]:
        role = provide(engines, subject)
        with engines.begin("writer") as connection:
            connection.execute(text(f"GRANT SELECT ON {quoted(name)} TO {quoted(role)}"))


def own_sky_tables(connection: Connection) -> Iterator[SkyTable]:
    """Every place on the sky of every user's table."""
    names = list(connection.execute(select(arc.own_table.c.table_name)).scalars())
    for one in read_set(connection, own=names).every():
        relation = quoted(one.table.name)
        yield from sky_places(one.table, relation, TemporaryTable(one.table, (), relation).stored)


# --- TAP_SCHEMA: rows that tell of a user's table are seen by those who may read it, by PostgreSQL's own rights

_MAY_READ = """
CREATE OR REPLACE FUNCTION tap_schema.may_read(table_name text) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = pg_catalog.split_part(table_name, '.', 1)
      AND c.relname = pg_catalog.split_part(table_name, '.', 2)
      AND pg_catalog.has_table_privilege(c.oid, 'SELECT'))
$$
"""
_SEEN_ROWS = "NOT starts_with({table}.table_name, 'user_') OR tap_schema.may_read({table}.table_name)"
_POLICIES = {
    "tables": _SEEN_ROWS.format(table="tables"),
    # By the tables that are seen: rights are asked once a table, not once a column.
    "columns": "NOT starts_with(table_name, 'user_') OR table_name IN (SELECT t.table_name FROM tap_schema.tables t)",
    "schemas": "NOT starts_with(schema_name, 'user_')"
    " OR EXISTS (SELECT FROM tap_schema.tables t WHERE t.schema_name = schemas.schema_name)",
}
_POLICY = """
DROP POLICY IF EXISTS seen ON tap_schema.{table};
CREATE POLICY seen ON tap_schema.{table} FOR SELECT USING ({seen});
DROP POLICY IF EXISTS kept ON tap_schema.{table};
CREATE POLICY kept ON tap_schema.{table} TO {writer} USING (true) WITH CHECK (true);
ALTER TABLE tap_schema.{table} ENABLE ROW LEVEL SECURITY
"""


def install(connection: Connection, writer: str) -> None:
    """The policies on TAP_SCHEMA, made anew if they are not those declared here. connection: of the owner."""
    wanted = [_MAY_READ]
    for table, seen in _POLICIES.items():
        wanted += _POLICY.format(table=table, seen=seen, writer=quoted(writer)).split(";")
    mark = hashlib.sha256(";".join(wanted).encode()).hexdigest()
    found = text("SELECT obj_description(to_regprocedure('tap_schema.may_read(text)'), 'pg_proc')")
    if connection.execute(found).scalar() == mark:
        return
    for statement in wanted:
        connection.execute(text(statement))
    connection.execute(text(f"COMMENT ON FUNCTION tap_schema.may_read(text) IS '{mark}'"))
