"""The data of an embedded server's cluster, brought into a new cluster of another major version of PostgreSQL.

The new cluster is made beside the old one, both run, pg_dumpall of the newer version writes and psql reads, every
table's rows are counted in both, and the new cluster takes the old one's place by renames:

    DATA/db             the cluster that is used
    DATA/db.upgrading   the new one as long as it is filled: of a try that was cut off it is rubbish
    DATA/db.upgraded    the new one, whole and compared: from here on it counts, and settle() puts it in place
    DATA/db.former-16   the old one (of PostgreSQL 16, say), untouched until it is removed

Cut off at any moment, either the old cluster is whole and in place, or the new one is and is put there by whoever
starts the database next. The old cluster is never written to but by its own server.

Here: the way from one cluster to the other. Every function wants the data folder's lock held by the caller. Not here:
the lock, the passwords, where the programs of either version come from (embedded.py).
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL

from archive.database.cluster import ENVIRONMENT, SUPERUSER, Cluster, version_of
from archive.database.confinement import Binaries
from archive.database.engines import psycopg_dsn
from archive.vo.errors import ArchiveError, ConfigurationError
from storage.durable import flush

Seam = Literal["made", "filled", "compared", "ready"]
# What an operator may have written: postgresql.conf takes in our part by its include.
CONFIGURATION = ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf")
TABLES = (
    "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
)
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Served:
    """A cluster, where its socket goes, and how its superuser finds the database `postgres`."""

    cluster: Cluster
    sockets: Path
    admin: URL

    def start(self) -> None:
        self.cluster.start(self.sockets, psycopg_dsn(self.admin))

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(psycopg_dsn(self.admin, dbname=database), autocommit=True)

    def environment(self) -> dict[str, str]:
        """What PostgreSQL's programs need to reach it; the password is in no argument, which others could see."""
        query = self.admin.query
        return {
            **ENVIRONMENT,
            "PGHOST": str(query["host"]),
            "PGPORT": str(query["port"]),
            "PGUSER": str(self.admin.username),
            "PGPASSWORD": str(self.admin.password),
            "PGDATABASE": "postgres",
        }


def upgrading(folder: Path) -> Path:
    """Where the new cluster grows."""
    return folder.with_name(folder.name + ".upgrading")


def former_clusters(folder: Path) -> list[Path]:
    """The clusters that former upgrades left."""
    return sorted(folder.parent.glob(f"{folder.name}.former-*"))


def programs_of(pginstall: Path, version: str) -> Binaries | None:
    """The programs below a folder, if they are of this major version. Its libraries, if a wheel, lie beside it."""
    server = pginstall / "bin" / "postgres"
    try:
        said = subprocess.run([server, "--version"], env=ENVIRONMENT, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    if not re.search(rf"\(PostgreSQL\) {version}\b", said.stdout):
        return None
    libs = pginstall.parent.with_name(pginstall.parent.name + ".libs")
    return Binaries(pginstall, libs if libs.is_dir() else None)


def move(
    old: Served,
    new: Served,
    *,
    say: Callable[[str], None] = lambda words: None,
    passed: Callable[[Seam], None] = lambda seam: None,
) -> None:
    """Fill a new cluster (made here, in new.cluster.folder) from the old one, compare the two, and put it in place.

    say: told what is being done. passed: called as each seam is passed, so that a test can end the process there.
    ConfigurationError, ArchiveError: it did not come out right; the old cluster is in place as it was.
    """
    folder = old.cluster.folder
    version = version_of(folder)
    left = folder.with_name(f"{folder.name}.former-{version}")
    if left.exists():
        raise ConfigurationError(f"{left} lies there from an earlier upgrade: move it away")
    _require_room(folder)
    say(f"starting PostgreSQL {version}, and making a new cluster")
    old.start()
    new.cluster.create(new.sockets)
    for name in CONFIGURATION:
        new.cluster.take(folder / name)
    new.start()
    passed("made")
    say("copying all databases")
    _pour(old, new)
    passed("filled")
    say("comparing")
    counted, copied = _rows(old), _rows(new)
    if wrong := {name for name, _ in counted.items() ^ copied.items()}:
        tables = ", ".join(sorted(map(".".join, wrong)))
        raise ArchiveError(f"after copying the rows differ in {tables}: the database was left as it was")
    for database in {database for database, _, _ in copied}:
        with new.connect(database) as connection:
            connection.execute("ANALYZE")
    passed("compared")
    new.cluster.stop()
    old.cluster.stop()
    new.cluster.folder.rename(_ready(folder))
    flush(folder.parent)
    passed("ready")
    settle(folder)
    say(f"{len(counted)} tables with {sum(counted.values())} rows copied; the former cluster is kept in {left}")


def settle(folder: Path) -> None:
    """Put a cluster that is whole and compared in the place of the former one, if there is one."""
    ready = _ready(folder)
    if not ready.exists():
        return
    if folder.exists():
        folder.rename(folder.with_name(f"{folder.name}.former-{version_of(folder)}"))
    ready.rename(folder)
    flush(folder.parent)


def _ready(folder: Path) -> Path:
    return folder.with_name(folder.name + ".upgraded")


def _require_room(folder: Path) -> None:
    needed = sum(path.stat().st_size for path in (folder / "base").rglob("*") if path.is_file())
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise ConfigurationError(
            f"the upgrade keeps both clusters: {folder.parent} needs {needed >> 20} MiB free and has {free >> 20}"
        )


def _pour(old: Served, new: Served) -> None:
    """All databases and roles: pg_dumpall reads any older version, psql stops at the first error."""
    programs = new.cluster.binaries.pginstall / "bin"
    writing = [str(programs / "pg_dumpall"), "--no-sync"]
    reading = [str(programs / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(  # noqa: S603
            writing, env=old.environment(), cwd="/", stdout=subprocess.PIPE, stderr=complaints
        ) as writer,
        subprocess.Popen(  # noqa: S603
            reading, env=new.environment(), cwd="/", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints
        ) as reader,
    ):
        assert writer.stdout is not None and reader.stdin is not None
        try:
            _without_our_superuser(writer.stdout, reader.stdin)
            reader.stdin.close()
        except BrokenPipeError:
            pass  # psql has ended, and has said why
        except BaseException:
            writer.kill()
            reader.kill()
            raise
        writer.stdout.close()
        statuses = reader.wait(), writer.wait()
        if any(statuses):
            complaints.seek(0)
            said = complaints.read().decode(errors="replace").strip().splitlines()
            raise ConfigurationError(f"the databases could not be copied: {' / '.join(said[:6]) or statuses}")


def _without_our_superuser(source: IO[bytes], target: IO[bytes]) -> None:
    """The dump without the line that makes the role that every cluster of ours is born with."""
    for line in source:
        if line == f"CREATE ROLE {SUPERUSER};\n".encode():
            break
        target.write(line)
    shutil.copyfileobj(source, target, BLOCK_BYTES)


def _rows(served: Served) -> dict[tuple[str, str, str], int]:
    """Database, schema and table to number of rows."""
    found = {}
    with served.connect("postgres") as connection:
        databases = connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
    for (database,) in databases:
        with served.connect(database) as connection:
            for schema, table in connection.execute(TABLES).fetchall():
                counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(schema, table))
                row = connection.execute(counting).fetchone()
                found[database, schema, table] = row[0] if row else 0
    return found
