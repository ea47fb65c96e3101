"""Roles of the archive's users and groups: NOLOGIN, made when first needed, the reader may become each of them.

PostgreSQL keeps one user's tables from another by these: a query runs as its user's role (SET LOCAL ROLE), the
anonymous one's as the public reader, a NOLOGIN role too. A group's role is there to be granted to; its users' roles are
members of it. All of them inherit from the public reader what is published, and can do nothing else.

The reader logs in, may become any of them, and has nothing of theirs as long as it has not (NOINHERIT): a query that
somehow runs as the reader itself sees what is published.

Making a role needs CREATEROLE, which up to PostgreSQL 15 can make its holder nearly a superuser. No role of the archive
has it; two functions do it, which belong to the administrator, take no other name than of such a role, and may be
called by the owner alone.

Here: those functions, the names of roles. Not here: what a role is granted (archive.holdings.own).
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from archive.database.engines import psycopg_dsn
from archive.vo.errors import ConfigurationError

SCHEMA = "own_roles"
Kind = Literal["user", "group"]


def public_role(reader: str) -> str:
    """The public reader of an archive whose reader logs in by this name; its anonymous users' queries run as it."""
    return f"{reader[:56]}_public"


def _stem(reader: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", reader.lower()[:24])


def role_of(reader: str, kind: Kind, name: str) -> str:
    """The role of a user or group: a plain name of at most 63 letters, told apart by a hash whatever `name` is."""
    digest = hashlib.sha256(f"{reader}\0{kind}\0{name}".encode()).hexdigest()[:16]
    return f"{_stem(reader)}_{kind[0]}_{re.sub(r'[^a-z0-9]', '_', name.lower())[:18]}_{digest}"


# {reader}, {public}, {owner}, {writer}: names of roles as literals (in the functions) or identifiers (i_...).
_INSTALL = """
DO $do$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {public}) THEN CREATE ROLE {i_public} NOLOGIN; END IF;
  IF current_setting('server_version_num')::int >= 160000 THEN
    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', {public}, {reader});
  ELSE
    ALTER ROLE {i_reader} NOINHERIT;
    GRANT {i_public} TO {i_reader};
  END IF;
END $do$;

CREATE SCHEMA IF NOT EXISTS {i_schema};
REVOKE ALL ON SCHEMA {i_schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {i_schema} TO {i_owner};

CREATE OR REPLACE FUNCTION {i_schema}.provide(wanted text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  is_newer CONSTANT boolean := current_setting('server_version_num')::int >= 160000;
BEGIN
  IF wanted !~ {pattern} THEN
    RAISE insufficient_privilege USING MESSAGE = format('%L is no name of a user''s or group''s role', wanted);
  END IF;
  PERFORM pg_advisory_xact_lock(hashtextextended(wanted, 0));
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
    IF NOT pg_has_role(wanted::name, {public}::name, 'MEMBER') THEN
      RAISE insufficient_privilege USING MESSAGE = format('the role %I is none of this archive''s', wanted);
    END IF;
    RETURN;
  END IF;
  EXECUTE format('CREATE ROLE %I NOLOGIN INHERIT', wanted);
  EXECUTE format('GRANT %I TO %I', {public}, wanted);
  IF wanted ~ {users} THEN
    EXECUTE format('GRANT %I TO %I' || CASE WHEN is_newer THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END,
                   wanted, {reader});
  END IF;
END $body$;

CREATE OR REPLACE FUNCTION {i_schema}.join_groups(joining text, wanted text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  one text;
BEGIN
  IF joining !~ {users} OR EXISTS (SELECT FROM unnest(wanted) AS each WHERE each IS NULL OR each !~ {groups}) THEN
    RAISE insufficient_privilege USING MESSAGE = 'only users'' roles join, and only groups'' roles are joined';
  END IF;
  FOREACH one IN ARRAY joining || wanted LOOP
    PERFORM {l_schema_provide}(one);
  END LOOP;
  FOR one IN SELECT each FROM unnest(wanted) AS each WHERE NOT pg_has_role(joining::name, each::name, 'MEMBER') LOOP
    EXECUTE format('GRANT %I TO %I', one, joining);
  END LOOP;
  FOR one IN
    SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
    WHERE u.rolname = joining AND g.rolname ~ {groups} AND g.rolname <> ALL (wanted)
  LOOP
    EXECUTE format('REVOKE %I FROM %I', one, joining);
  END LOOP;
END $body$;

REVOKE ALL ON FUNCTION {i_schema}.provide(text), {i_schema}.join_groups(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {i_schema}.provide(text), {i_schema}.join_groups(text, text[]) TO {i_owner};

-- A query's role is kept by SET ROLE, which its own SQL must not undo: the roles that queries run as may not set.
DO $do$ BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO {i_owner}, {i_writer}, {i_reader};
  END IF;
END $do$;
"""


def install(admin: URL, *, owner: str, writer: str, reader: str) -> None:
    """Make the public reader and the functions that make users' roles; repeatable.

    admin: a superuser or one with CREATEROLE, in the archive's own database. Where it is no superuser, `set_config` may
    still be called by queries. ConfigurationError: the server refuses.
    """
    public, stem = public_role(reader), re.escape(_stem(reader))
    names = {"owner": owner, "writer": writer, "reader": reader, "public": public, "schema": SCHEMA}
    identifiers = {f"i_{key}": sql.Identifier(name) for key, name in names.items()}
    literals = {key: sql.Literal(name) for key, name in names.items()}
    patterns = {
        name: sql.Literal(f"^{stem}_{kind}_[a-z0-9_]*_[0-9a-f]{{16}}$")
        for name, kind in (("pattern", "[ug]"), ("users", "u"), ("groups", "g"))
    }
    statement = sql.SQL(_INSTALL).format(
        **identifiers, **literals, **patterns, l_schema_provide=sql.Identifier(SCHEMA, "provide")
    )
    try:
        with psycopg.connect(psycopg_dsn(admin), connect_timeout=10) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('own_roles', 0))")
            connection.execute(statement)
    except psycopg.Error as error:
        raise ConfigurationError(f"the server did not let the roles of users be prepared: {error}") from error


def is_installed(connection: Connection, reader: str) -> bool:
    """Whether users' roles can be made in this database."""
    statement = text(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :public)"
        " AND EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema)"
    )
    return bool(connection.execute(statement, {"public": public_role(reader), "schema": SCHEMA}).scalar_one())


def provide(connection: Connection, role: str) -> None:
    """See that a role is there. connection: of the owner."""
    connection.execute(text(f"SELECT {SCHEMA}.provide(:role)"), {"role": role})


def join_groups(connection: Connection, role: str, groups: Sequence[str]) -> None:
    """Make a user's role a member of these groups' roles, and of no other group's. connection: of the owner."""
    connection.execute(text(f"SELECT {SCHEMA}.join_groups(:role, :groups)"), {"role": role, "groups": list(groups)})
