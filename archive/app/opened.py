"""The archive, opened: database, store and sphere as the settings say, for the web server, the workers and commands.

The one place where settings become engines and volumes. Whoever opens the archive closes it: the last process that
does so stops the embedded database.
"""

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from sqlalchemy import text

from archive.access.service import AccessService
from archive.access.tokens import Secrets
from archive.database.embedded import EmbeddedServer
from archive.database.engines import DatabaseUrls, Engines, psycopg_dsn
from archive.holdings.own.keeping import OwnTables, Quota
from archive.holdings.own.seeing import OwnViews
from archive.holdings.published import PublishedTables
from archive.holdings.sessions import Session, Sessions
from archive.holdings.views import session_settings
from archive.settings import MiB, Settings, VolumeSection
from archive.sphere.pgsphere import PgSphere
from archive.sphere.plain import PlainSphere
from archive.sphere.sphere import Sphere
from archive.vo.errors import ConfigurationError
from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.service import ObjectStore
from storage.volume import Volume

SPARE_CONNECTIONS = 2
"""Of the reader, for what no line is before: quotes, pages, lists of values."""
OPERATOR_TOKEN = "operator.token"  # noqa: S105 (the name of a file)


class OpenedArchive:
    """Everything that a process of the archive stands on; made lazily, so that a command opens only what it uses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.embedded_server: EmbeddedServer | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "OpenedArchive":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened, the database last; repeatable."""
        self._stack.close()

    @cached_property
    def urls(self) -> DatabaseUrls:
        """Where the database is, by role; starts or joins the embedded server if no URL is set."""
        database = self.settings.database
        if database.owner_url and database.writer_url and database.reader_url:
            return DatabaseUrls.parse(
                database.owner_url.get_secret_value(),
                database.writer_url.get_secret_value(),
                database.reader_url.get_secret_value(),
            )
        self.settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.embedded_server = embedded_server(self.settings)
        return self._stack.enter_context(self.embedded_server)

    @cached_property
    def engines(self) -> Engines:
        size = self.settings.database.pool_size
        engines = Engines(
            self.urls,
            pool_sizes={"owner": 1, "writer": size, "reader": size},
            pool_timeout_s=self.settings.database.pool_timeout_s,
        )
        return self._stack.enter_context(engines)

    @cached_property
    def sphere(self) -> Sphere:
        """The adapter of the sky that the settings or the database itself name."""
        wanted = self.settings.database.sphere
        if wanted == "auto":
            with self.engines.owner.connect() as connection:
                found = connection.execute(text("SELECT 1 FROM pg_extension WHERE extname = 'pg_sphere'")).scalar()
            wanted = "pgsphere" if found else "plain"
        return PgSphere() if wanted == "pgsphere" else PlainSphere()

    @cached_property
    def reader_pool(self) -> Sessions:
        """Connections of the reader role for users' queries: they know the archive's URL, and compile nothing."""
        told = session_settings(self.settings.public_url, self.settings.access.authority)

        def configure(connection: Session) -> None:
            connection.autocommit = True
            connection.prepare_threshold = None  # a plan for these very parameters, always
            for name, value in {**told, "jit": "off", "default_transaction_read_only": "on"}.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))

        pool = Sessions(
            psycopg_dsn(self.urls.reader),
            connection_class=Session,
            min_size=1,
            max_size=self.settings.database.pool_size + SPARE_CONNECTIONS,
            timeout=self.settings.database.pool_timeout_s,
            configure=configure,
            reconnect_timeout=5.0,  # seconds; tried for longer, the pauses grow beyond those of the server
            kwargs={"application_name": "uraniborg-tap"},
            open=True,
        )
        self._stack.callback(pool.close)
        return pool

    @cached_property
    def published(self) -> PublishedTables:
        return PublishedTables(self.engines.writer)

    @cached_property
    def own_views(self) -> OwnViews:
        """Which of the users' own tables each of them sees."""
        return OwnViews(self.engines)

    @cached_property
    def own_tables(self) -> OwnTables:
        """The keeper of users' own tables."""
        chosen = self.settings.own_tables
        quota = Quota(chosen.max_tables, chosen.max_rows, chosen.max_mib * MiB)
        return OwnTables(self.engines, self.sphere, quota, timeout_s=chosen.timeout_s)

    @cached_property
    def access(self) -> AccessService:
        return AccessService(self.engines.writer, secrets=Secrets(ttl_s=self.settings.access.token_cache_s))

    @cached_property
    def store(self) -> ObjectStore:
        """The volumes; which of them take new objects, the catalogue says."""
        return ObjectStore(
            [volume(self.settings, each) for each in volume_names(self.settings)],
            choose=lambda size_bytes: self.objects.candidates(size_bytes),
        )

    @cached_property
    def objects(self) -> ObjectService:
        """Files with versions, on the volumes of the store."""
        chosen = self.settings.store
        return ObjectService(self.store, self.engines.writer, site=chosen.site, copies=chosen.copies)

    @property
    def operator_token_path(self) -> Path:
        return self.settings.data_dir / OPERATOR_TOKEN


def embedded_server(settings: Settings) -> EmbeddedServer:
    """The embedded server of the data folder. ConfigurationError: the settings name another database."""
    if not settings.embedded:
        raise ConfigurationError("the settings name a database by URL: this is for the embedded server alone")
    return EmbeddedServer(
        settings.data_dir,
        max_connections=settings.database.max_connections,
        shared_buffers_mib=settings.database.shared_buffers_mib,
    )


def volume_names(settings: Settings) -> list[str]:
    """The volumes of the store, the first one first."""
    return [settings.store.kind, *(each.name for each in settings.store.volumes)]


def volume(settings: Settings, name: str, *, create: bool = False) -> Volume:
    """A volume of the store. create: make a posix volume that is not there; else it is an error, because a disk that is
    not mounted looks just like that. Of those beside the first one may be away: the archive goes on without it."""
    chosen: VolumeSection = next((each for each in settings.store.volumes if each.name == name), settings.store)
    if chosen.kind == "posix":
        away = not create and chosen is not settings.store
        return PosixVolume(chosen.path or settings.store_path, name, create=create, may_be_away=away)
    from storage.s3 import S3Volume  # boto3 takes a while to import, and few have their store on S3

    assert chosen.s3_access_key is not None and chosen.s3_secret_key is not None
    return S3Volume(
        name=name,
        bucket=chosen.s3_bucket,
        endpoint_url=chosen.s3_endpoint,
        region=chosen.s3_region,
        access_key=chosen.s3_access_key.get_secret_value(),
        secret_key=chosen.s3_secret_key.get_secret_value(),
        part_bytes=chosen.s3_part_mib * MiB,
    )


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[OpenedArchive]:
    """The archive for the length of a command."""
    with OpenedArchive(settings) as archive:
        yield archive
