"""The store's faces as the archive has them: within it, under its rights; and as a node that runs without the rest.

A node keeps its catalogue in the tables of schema `store`, which it makes if there are none. Where the archive's own
migrations were run, it works beside the archive: on its tables, under its rights.
"""

import contextlib
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.schema import CreateSchema

from archive.access.objects import ArchiveAuthorizer
from archive.app.context import Context
from archive.app.opened import OpenedArchive
from archive.app.processes import FOLDER_VARIABLE, STOP_MARGIN_S, child_environment
from archive.app.setup import make_volumes
from archive.app.supervisor import ChildSpec, Chore, Supervisor
from archive.database import migrate
from archive.database.roles import grant
from archive.served import ServedProtocol
from archive.settings import Settings
from archive.vo.errors import ConfigurationError
from storage import tables
from storage.commands import Node
from storage.janitor import clear_after_death
from storage.ngas.app import ngas_app
from storage.ngas.settings import NgasSettings
from storage.upkeep import Upkeep
from storage.web.authorizer import Authorizer, TokenAuthorizer
from storage.web.openapi import paths
from storage.web.requests import ROOT
from storage.web.rest import StoreApp
from storage.web.settings import GiB, WebSettings

HOUR_S = 3_600
TOKEN_BYTES = 32


def web_settings(settings: Settings) -> WebSettings:
    chosen = settings.store
    return WebSettings(
        largest_bytes=int(chosen.max_object_gib * GiB),
        stall_s=chosen.body_stall_s,
        threads=chosen.threads,
        redirect=chosen.redirect,
        signed_s=chosen.signed_s,
        accel_prefix=chosen.accel_prefix,
        uploads=settings.uploads_path,
        uploads_kept_s=chosen.uploads_keep_h * HOUR_S,
    )


def ngas_settings(settings: Settings, version: str) -> NgasSettings:
    chosen = settings.ngas
    told = {each.prefix: each.credential.get_secret_value() if each.credential else "" for each in chosen.deliver_to}
    return NgasSettings(
        host_id=chosen.host_id or "",
        archive=chosen.archive,
        version=f"Uraniborg/{version}",
        pull_prefixes=tuple(chosen.pull_prefixes),
        register_prefixes=tuple(chosen.register_prefixes),
        deliver_prefixes=told,
        keep_copies=chosen.copies,
        threads=settings.store.threads,
        max_body_bytes=int(settings.store.max_object_gib * GiB),
        max_rows=chosen.max_rows,
        stall_s=settings.store.body_stall_s,
        drain_s=chosen.drain_s,
        query_s=chosen.query_s,
        deliver_s=chosen.deliver_s,
    )


def protocol(archive: OpenedArchive) -> ServedProtocol:
    """The store's REST face, under the archive's rights."""
    app = StoreApp(archive.objects, _of_archive(archive), web_settings(archive.settings))
    return ServedProtocol(ROOT, "Store", app=app, openapi=paths())


def _of_archive(archive: OpenedArchive) -> Authorizer:
    return ArchiveAuthorizer(archive.engines.writer, archive.access, archive.settings.store.public_prefixes)


class StoreNode(Node):
    """What `uraniborg store serve` asks of the front door."""

    def __init__(self, context: Context, version: str, upkeep: Callable[[Settings], Upkeep]) -> None:
        self._context, self._version, self._upkeep = context, version, upkeep

    def serve(self, host: str | None, port: int | None, ngas_port: int | None, workers: int | None) -> int:
        """See Node.serve."""
        context = self._context
        context.take({"server.host": host, "server.port": port, "server.web_workers": workers})
        settings = context.settings
        with contextlib.ExitStack() as stack:
            sockets = [
                stack.enter_context(_listen(settings.server.host, each))
                for each in (settings.server.port, ngas_port)
                if each is not None
            ]
            prepare(context.archive)
            # Beside an archive its workers do it.
            looks_after_itself = not is_archive(context.archive)
            context.archive.engines.dispose()  # children open their own
            counts = stack.enter_context(tempfile.TemporaryDirectory(prefix="uraniborg-store-"))
            environment = child_environment(context) | {FOLDER_VARIABLE: counts}
            program, folder = [sys.executable, "-m", "uraniborg", "store"], ["--data-dir", str(settings.data_dir)]
            web = [*program, "web", *(f"--socket={each.fileno()}" for each in sockets), *folder]
            descriptors = [each.fileno() for each in sockets]
            children = [
                ChildSpec(f"store-{number}", web, environment, descriptors)
                for number in range(1, 1 + settings.server.web_workers)
            ]
            if looks_after_itself:
                children.append(ChildSpec("store-keep", [*program, "keep", *folder], environment))
            server = context.archive.embedded_server
            return Supervisor(
                children,
                chores=[Chore("database", server.ensure)] if server else [],
                stop_timeout_s=settings.server.stop_timeout_s + STOP_MARGIN_S,
                restart_min_s=settings.server.restart_min_s,
                restart_max_s=settings.server.restart_max_s,
            ).run()

    def web(self, descriptors: Sequence[int]) -> None:
        """See Node.web."""
        from storage.web import node  # counts its requests where the environment says from the moment it is imported

        archive, sockets = self._context.archive, [socket.socket(fileno=each) for each in descriptors]
        clear_after_death(archive.store)
        authorizer, chosen = authorizer_of(archive), ngas_settings(archive.settings, self._version)
        app = node.NodeApp(
            archive.objects,
            authorizer,
            web_settings(archive.settings),
            version=self._version,
            ngas=ngas_app(archive.objects, authorizer, chosen) if len(sockets) > 1 else None,
            ngas_port=sockets[1].getsockname()[1] if len(sockets) > 1 else None,
        )
        node.run(app, sockets)

    def keep(self) -> None:
        """See Node.keep."""
        from storage.keeper import keep

        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        keep(self._context.archive.objects, self._upkeep(self._context.settings), stopped)


def prepare(archive: OpenedArchive) -> None:
    """Make tables, volumes and the operator's token, whatever of them is not there yet; repeatable."""
    if is_archive(archive):
        at, wanted = migrate.current(archive.engines.owner), migrate.head()
        if at != wanted:
            raise ConfigurationError(
                f"the database is at revision {at}, this release needs {wanted}: uraniborg db migrate"
            )
    else:
        with archive.engines.owner.begin() as connection:
            connection.execute(CreateSchema(tables.SCHEMA, if_not_exists=True))
            tables.metadata.create_all(connection)
            for index in (each for table in tables.metadata.tables.values() for each in table.indexes):
                index.create(connection, checkfirst=True)  # of a table that was there, newer than it
            if connection.execute(text("SELECT to_regproc('store.note_copy')")).scalar() is None:
                for statement in tables.NOTE_COPIES:
                    connection.execute(text(statement))
        grant(archive.engines, published=(), working=(tables.SCHEMA,), creatable=())
        _make_token(archive.operator_token_path)
    make_volumes(archive)


def is_archive(archive: OpenedArchive) -> bool:
    """Whether the database is that of an archive, not of a node alone."""
    return migrate.current(archive.engines.owner) is not None


def authorizer_of(archive: OpenedArchive) -> Authorizer:
    """The archive's rights where there is one; else the operator's token."""
    if is_archive(archive):
        return _of_archive(archive)
    return TokenAuthorizer(archive.operator_token_path, public=not archive.settings.store.read_token)


def _make_token(path: Path) -> None:
    """A token of the operator (mode 600), unless there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _listen(host: str, port: int) -> socket.socket:
    from storage.web.node import listen

    try:
        return listen(host, port)
    except OSError as problem:
        raise ConfigurationError(f"cannot listen on {host} port {port}: {problem.strerror}") from None
