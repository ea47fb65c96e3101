"""Every knob, with its unit and default: the one place that reads the environment and uraniborg.toml.

Sources, the later winning: defaults, `uraniborg.toml` (in the data folder, or named by URANIBORG_CONFIG), variables
`URANIBORG_SECTION__KEY`, options of the command line. Rooms never read settings: they are given values.
"""

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from archive.vo.errors import ConfigurationError

PREFIX = "URANIBORG_"
CONFIG_VARIABLE = "URANIBORG_CONFIG"
CONFIG_NAME = "uraniborg.toml"
TOKEN_VARIABLE = "URANIBORG_TOKEN"  # noqa: S105 (what a client of another archive sends; no setting of this one)
KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _in_order(section: Model, low: str, high: str) -> Model:
    """ValueError if a default or minimum lies above its maximum."""
    if getattr(section, low) > getattr(section, high):
        raise ValueError(f"{low} is above {high}: {getattr(section, low)} > {getattr(section, high)}")
    return section


class Server(Section):
    """The web server and the processes beside it."""

    host: str = Field("127.0.0.1", description="address that the web server listens on")
    port: int = Field(8000, ge=0, le=65535, description="TCP port of the web server; 0 takes a free one")
    public_url: str | None = Field(
        None, description="what users type, e.g. https://archive.example; default http://host:port"
    )
    trusted_proxies: list[str] = Field(["127.0.0.1"], description="addresses whose X-Forwarded-* headers are believed")
    web_workers: int = Field(2, ge=1, le=64, description="web processes")
    job_workers: int = Field(1, ge=0, le=64, description="job processes")
    stop_timeout_s: float = Field(
        20.0, ge=0, description="seconds that running streams and jobs may take to end at a stop"
    )
    restart_min_s: float = Field(0.5, gt=0, description="seconds before a died process is started again, first time")
    restart_max_s: float = Field(30.0, gt=0, description="seconds before a died process is started again, at most")
    threads: int = Field(40, ge=4, le=1000, description="threads of a web process for all but synchronous queries")
    stalled_s: float = Field(
        60.0, gt=0, description="seconds in which a client must take the next 64 KiB of an answer, or be left"
    )
    max_body_mib: int = Field(256, ge=1, description="largest body of a request, MiB")

    @property
    def base_url(self) -> str:
        """Where the web server itself answers."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "restart_min_s", "restart_max_s")

    @field_validator("public_url")
    @classmethod
    def _absolute(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
            raise ValueError("expected an absolute http or https URL without query, e.g. https://archive.example")
        return url.rstrip("/")


class Database(Section):
    """PostgreSQL: the embedded server unless URLs are given."""

    owner_url: SecretStr | None = Field(None, description="postgresql URL of the owner role; none: the embedded server")
    writer_url: SecretStr | None = Field(None, description="postgresql URL of the writer role")
    reader_url: SecretStr | None = Field(None, description="postgresql URL of the reader role")
    sphere: Literal["auto", "plain", "pgsphere"] = Field(
        "auto",
        description="adapter of the sky; auto: pgsphere where its extension is installed in the database, else plain",
    )
    pool_size: int = Field(
        8,
        ge=1,
        le=500,
        description="connections a process keeps per role; so many synchronous queries and searches it runs at once",
    )
    pool_timeout_s: float = Field(10.0, gt=0, description="seconds to wait for a free connection before 503")
    max_connections: int = Field(100, ge=20, le=5000, description="connections that the embedded server takes")
    shared_buffers_mib: int = Field(256, ge=16, description="memory of the embedded server's page cache, MiB")

    @model_validator(mode="after")
    def _all_roles_or_none(self) -> Self:
        urls = (self.owner_url, self.writer_url, self.reader_url)
        if any(urls) and not all(urls):
            raise ValueError("owner_url, writer_url and reader_url are set together, or none of them")
        return self


class VolumeSection(Section):
    """What every volume of the store has."""

    kind: Literal["posix", "s3"] = Field("posix", description="a folder on a disk, or a bucket of an S3 server")
    path: Path | None = Field(None, description="folder of a posix volume; default DATA/store, of the first volume")
    s3_endpoint: str | None = Field(None, description="URL of the S3 server; default AWS's")
    s3_bucket: str = Field("uraniborg", description="bucket of an S3 volume")
    s3_region: str = Field("us-east-1", description="region of the bucket")
    s3_access_key: SecretStr | None = Field(None, description="S3 access key")
    s3_secret_key: SecretStr | None = Field(None, description="S3 secret key")
    s3_part_mib: int = Field(64, ge=5, le=5120, description="size of a part of a multipart upload, MiB")
    storage_class: str = Field(
        "online", min_length=1, description="what kind of place the volume is; one of class cache takes no new files"
    )
    watermark_mib: int = Field(0, ge=0, description="room that is left free on the volume, MiB")

    @model_validator(mode="after")
    def _with_keys(self) -> Self:
        if self.kind == "s3" and not (self.s3_access_key and self.s3_secret_key):
            raise ValueError("kind is s3, so s3_access_key and s3_secret_key must be set")
        return self


class FurtherVolume(VolumeSection):
    """A volume beside the first: [[store.volumes]] in uraniborg.toml."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9_-]{0,62}$", description="what it is called in the catalogue, for ever")
    site: str | None = Field(None, description="where it stands; default store.site")

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.kind == "posix" and self.path is None:
            raise ValueError(f"volume {self.name} needs a path")
        return self


class Store(VolumeSection):
    """Where the bytes lie: the first volume, called posix or s3 as its kind, and those beside it."""

    site: str = Field("here", min_length=1, description="where this archive stands; copies of this site are read first")
    copies: int = Field(1, ge=1, le=10, description="volumes that a file lies on before a put is acknowledged")
    volumes: list[FurtherVolume] = Field([], description="further volumes, in uraniborg.toml: [[store.volumes]]")
    orphan_grace_h: float = Field(
        24.0, ge=0, description="hours that bytes without a row, or of a broken-off write, are left alone"
    )
    max_object_gib: float = Field(1024.0, gt=0, description="largest object that is taken in over HTTP, GiB")
    body_stall_s: float = Field(
        60.0, gt=0, description="seconds in which the next 64 KiB of a body sent to the store must come"
    )
    threads: int = Field(
        16, ge=1, le=256, description="threads of a web process for the store, and as many for large bodies coming in"
    )
    public_prefixes: list[str] = Field(
        [], description="beginnings of file_ids that all may read, of files that the archive itself does not hold"
    )
    read_token: bool = Field(False, description="of a storage node of its own: whether reading needs the token too")
    redirect: bool = Field(
        False, description="send who asks for a file on an S3 volume to a signed URL there; it is then not verified"
    )
    signed_s: float = Field(300.0, ge=1, le=604_800, description="seconds that a signed URL is good for")
    accel_prefix: str | None = Field(
        None,
        pattern="^/",
        description="nginx's internal location of the volumes' files, LOCATION/VOLUME/KEY: it sends them, not verified",
    )
    uploads_path: Path | None = Field(
        None, description="folder of resumable uploads that are not finished; default DATA/uploads"
    )
    uploads_keep_h: float = Field(168.0, gt=0, description="hours after its last bytes that such an upload is kept")

    @model_validator(mode="after")
    def _enough(self) -> Self:
        names = [self.kind, *(volume.name for volume in self.volumes)]
        if len(set(names)) < len(names):
            raise ValueError(f"volumes have names of their own, not {', '.join(names)}")
        if self.copies > len(names):
            raise ValueError(f"{self.copies} copies want as many volumes, and there are {len(names)}")
        return self


class Subscribers(Section):
    """Where NGAS subscribers may be: [[ngas.deliver_to]] in uraniborg.toml."""

    prefix: str = Field(pattern="^https?://[^/@]+/", description="what their URLs start with, https://host/")
    credential: SecretStr | None = Field(None, description="NAME:PASSWORD that they are sent by HTTP Basic")


class Ngas(Section):
    """The NGAS face of the store. What clients name outside the store is touched below these prefixes only."""

    host_id: str | None = Field(
        None, description="HOST:PORT that answers tell; default this machine's name and the port"
    )
    archive: str = Field("URANIBORG", min_length=1, description="name of the archive that answers tell")
    pull_prefixes: list[str] = Field(
        [], description="beginnings of URLs that ARCHIVE may fetch: file:///incoming/, https://host/data/"
    )
    register_prefixes: list[str] = Field([], description="folders of this machine that REGISTER may read")
    deliver_to: list[Subscribers] = Field(
        [], description="where subscribers may be, in uraniborg.toml: [[ngas.deliver_to]]"
    )
    copies: int = Field(
        2, ge=1, le=10, description="sound copies that are left on other volumes when REMFILE removes one"
    )
    max_rows: int = Field(100_000, ge=1, le=10_000_000, description="rows of one answer that lists files")
    query_s: float = Field(60.0, gt=0, description="seconds that a list of files may take the database")
    drain_s: float = Field(
        60.0,
        ge=0,
        description="seconds for which the rest of a refused body is read, before its sender reads the answer",
    )
    deliver_s: float = Field(
        120.0, gt=0, description="seconds in which a subscriber, or a server that is pulled from, must answer"
    )


class Upkeep(Section):
    """Looking after the store: what its standing processes go by. Each *_at is cron's, UTC; empty: never by itself."""

    copies: int = Field(1, ge=1, le=10, description="volumes that every object is brought to; store.copies at least")
    sites: int = Field(1, ge=1, le=10, description="sites that these volumes stand on, at least")
    scrub_cycle_d: float = Field(30.0, gt=0, description="days within which every copy is read and verified again")
    scrub_mib_s: float = Field(50.0, gt=0, description="MiB a second that scrub reads, at the most")
    scrub_max_load: float = Field(
        1.0, gt=0, description="load average a processor, of one minute, above which scrub waits"
    )
    run_s: float = Field(540.0, gt=0, description="seconds after which a run begins no further object")
    delete_orphans: bool = Field(
        False, description="delete bytes without a row once they are past store.orphan_grace_h"
    )
    cache_max_gib: float | None = Field(None, ge=0, description="size of a volume of class cache, GiB; none: any")
    cache_max_age_d: float | None = Field(None, ge=0, description="days that a copy stays on a cache; none: any")
    cache_max_idle_d: float | None = Field(None, ge=0, description="days that an unused copy stays there; none: any")
    cache_keep_copies: int = Field(1, ge=1, description="copies that lie on other volumes before one leaves a cache")
    scrub_at: str = Field("*/10 * * * *", description="when copies are read and verified")
    reconcile_at: str = Field("17 2 * * *", description="when volumes are compared with the catalogue")
    replicate_all_d: float = Field(
        1.0,
        gt=0,
        description="days after which all objects are looked at for their copies, not only those that changed",
    )
    replicate_at: str = Field("*/5 * * * *", description="when objects are brought to their copies")
    drain_at: str = Field("*/10 * * * *", description="when draining volumes are emptied further")
    janitor_at: str = Field("41 * * * *", description="when what was broken off is cleared")
    evict_at: str = Field("*/10 * * * *", description="when caches are made room on")
    follow_at: str = Field("* * * * *", description="when other sites' feeds are gone on with")
    deliver_at: str = Field("* * * * *", description="when NGAS's subscribers are sent what came in")
    site_tokens: dict[str, SecretStr] = Field({}, description="access tokens, by the names of the sites that want one")
    site_retried_events: int = Field(
        10_000, ge=0, description="events that come after one that a site could not serve, before it is asked no more"
    )
    site_stall_s: float = Field(30.0, gt=0, description="seconds without a byte after which a site counts as gone")

    @field_validator(
        "scrub_at", "reconcile_at", "replicate_at", "drain_at", "janitor_at", "evict_at", "follow_at", "deliver_at"
    )
    @classmethod
    def _of_cron(cls, text: str) -> str:
        if text and len(text.split()) != 5:
            raise ValueError("expected five fields of cron: minute, hour, day, month, weekday")
        return text

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "sites", "copies")


class Tap(Section):
    """TAP 1.1."""

    default_maxrec: int = Field(100_000, ge=1, description="rows of a result if MAXREC is not given")
    hard_maxrec: int = Field(20_000_000, ge=1, description="rows of a result at the most")
    sync_timeout_s: float = Field(60.0, gt=0, description="seconds that a synchronous query may run")
    sync_estimate_s: float = Field(
        3600.0,
        gt=0,
        description="seconds, by the planner's estimate, from which a synchronous query is refused before it runs",
    )
    async_timeout_s: int = Field(3600, gt=0, description="seconds that an asynchronous query may run, by default")
    async_timeout_max_s: int = Field(
        86_400, gt=0, description="seconds that an asynchronous query may run, at the most"
    )
    cost_per_s: float = Field(
        100_000.0, gt=0, description="units of PostgreSQL's planner that a second of a query takes, for estimates"
    )
    batch_rows: int = Field(10_000, ge=100, description="rows held in memory at once while a result is streamed")
    upload_max_rows: int = Field(1_000_000, ge=1, description="rows of all uploaded tables of a query")
    upload_max_mib: int = Field(64, ge=1, description="bytes of all uploaded tables of a query, MiB")
    upload_timeout_s: float = Field(30.0, gt=0, description="seconds that fetching an upload by URL may take")
    upload_allowed_hosts: list[str] = Field(
        [], description="hosts that uploads may be fetched from though their addresses are private or loopback"
    )
    max_depth: int = Field(64, ge=10, le=500, description="nesting of a query")
    max_query_kib: int = Field(1024, ge=1, description="length of a query, KiB")
    keep_s: float = Field(
        0.0,
        ge=0,
        description="seconds that a web process answers the same anonymous GET again from memory, of searches too, "
        "unless anything has changed; 0: never",
    )
    keep_mib: int = Field(32, ge=1, description="all answers that a web process keeps, before compression, MiB")
    keep_answer_kib: int = Field(1024, ge=1, description="the largest answer that is kept, before compression, KiB")
    queue_max: int = Field(
        200, ge=0, description="synchronous queries and searches that wait in line in a web process, at most"
    )
    queue_timeout_s: float = Field(20.0, gt=0, description="seconds that one waits in line before 503")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _in_order(self, "default_maxrec", "hard_maxrec")
        return _in_order(self, "async_timeout_s", "async_timeout_max_s")


class OwnTables(Section):
    """Users' own tables."""

    max_tables: int = Field(100, ge=1, description="tables that a user may have")
    max_rows: int = Field(10_000_000, ge=1, description="rows that a user's tables may have in all")
    max_mib: int = Field(1024, ge=1, description="bytes of all cells of a user's tables, MiB; indexes are not counted")
    load_max_mib: int = Field(256, ge=1, description="bytes of one table, or of rows for one, as they are sent, MiB")
    loads: int = Field(2, ge=1, le=100, description="tables that a web process takes in at once; others wait")
    timeout_s: float = Field(600.0, gt=0, description="seconds that the database may take for a table, or for an index")


class Jobs(Section):
    """UWS jobs."""

    concurrency: int = Field(4, ge=1, le=256, description="jobs that a job process runs at once")
    wait_max_s: float = Field(50.0, gt=0, description="seconds that WAIT may block; keep below proxies' time-outs")
    retention_d: float = Field(7.0, gt=0, description="days that a job and its results are kept, by default")
    retention_max_d: float = Field(60.0, gt=0, description="days that a job and its results are kept, at the most")
    stalled_after_s: float = Field(
        30.0, gt=0, description="seconds without a sign of life after which a job's worker is dead"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "retention_d", "retention_max_d")


class Discovery(Section):
    """SIA, SSA and cone searches."""

    default_maxrec: int = Field(10_000, ge=1, description="rows of an answer if MAXREC is not given")
    hard_maxrec: int = Field(1_000_000, ge=1, description="rows of an answer at the most")
    timeout_s: float = Field(60.0, gt=0, description="seconds that a search may run")
    max_radius_deg: float = Field(180.0, gt=0, le=180, description="radius of a cone search at the most, degrees")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        return _in_order(self, "default_maxrec", "hard_maxrec")


class DataLink(Section):
    """DataLink 1.1."""

    max_ids: int = Field(5000, ge=1, description="IDs that one request for links may name before OVERFLOW")


class Registry(Section):
    """What harvesters and mirrors read."""

    max_events: int = Field(10_000, ge=1, description="events of one answer of the feed")


class Portal(Section):
    """The web pages."""

    description: str = Field(
        "Observations, catalogues and images of the sky, open to every program of the Virtual Observatory.",
        description="what the archive is, in a sentence, as the front page says it",
    )
    page_rows: int = Field(50, ge=1, le=500, description="data sets of a page of a search")
    facet_rows: int = Field(100_000, ge=100, description="data sets that a search counts, for its facets too, at most")
    timeout_s: float = Field(10.0, gt=0, description="seconds that a question of a page may run")
    names: int = Field(500_000, ge=0, description="names of targets and catalogued objects that a web process holds")
    coverage_order: int = Field(8, ge=3, le=11, description="order of the coverage's cells; 8: 14 arcmin")
    coverage_footprints: int = Field(200_000, ge=1, description="footprints of a coverage at the most")
    look_again_s: float = Field(300.0, ge=0, description="seconds after which names and coverages are made again")
    sesame_url: str | None = Field(
        None,
        description="a Sesame name resolver, up to /-oI/SNV, asked for names unknown here; none: nobody",
    )
    sesame_timeout_s: float = Field(5.0, gt=0, description="seconds that it may take")

    @field_validator("sesame_url")
    @classmethod
    def _of_the_web(cls, url: str | None) -> str | None:
        if url is not None and urlsplit(url).scheme not in ("http", "https"):
            raise ValueError("expected an http or https URL")
        return url


class Access(Section):
    """Who may have what."""

    authority: str = Field(
        "uraniborg.invalid",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{2,}$",
        description="IVOA authority of this archive: ivo://authority/...",
    )
    token_cache_s: float = Field(
        60.0, ge=0, description="seconds that a checked token is believed without asking again"
    )


class Ingest(Section):
    """From files to holdings."""

    mappings: Path | None = Field(None, description="folder of instrument mappings (TOML) read besides those shipped")
    default_collection: str = Field("default", min_length=1, description="collection of files that name none")
    max_file_gib: float = Field(64.0, gt=0, description="largest file that is taken in, GiB")
    workers: int = Field(2, ge=1, le=64, description="processes that share the work of one `ingest` command")


class Settings(BaseSettings):
    """The archive's settings, whole and checked."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, toml_file=None
    )

    data_dir: Path = Field(Path("data"), description="folder that holds everything the archive keeps")
    title: str = Field("Uraniborg archive", description="the archive's name, as people read it")
    server: Server = Server()
    database: Database = Database()
    store: Store = Store()
    ngas: Ngas = Ngas()
    upkeep: Upkeep = Upkeep()
    tap: Tap = Tap()
    own_tables: OwnTables = OwnTables()
    jobs: Jobs = Jobs()
    discovery: Discovery = Discovery()
    datalink: DataLink = DataLink()
    access: Access = Access()
    registry: Registry = Registry()
    portal: Portal = Portal()
    ingest: Ingest = Ingest()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: object, **__: object
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: it knows which source each key came from, which the library forgets."""
        return (init_settings,)

    @property
    def public_url(self) -> str:
        return self.server.public_url or self.server.base_url

    @property
    def store_path(self) -> Path:
        return self.store.path or self.data_dir / "store"

    @property
    def uploads_path(self) -> Path:
        return self.store.uploads_path or self.data_dir / "uploads"

    @property
    def hips_path(self) -> Path:
        """Where the surveys lie that this archive serves."""
        return self.data_dir / "hips"

    @property
    def embedded(self) -> bool:
        return self.database.owner_url is None


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each key that is not a default came from ("server.port" -> "URANIBORG_SERVER__PORT")."""

    settings: Settings
    origins: Mapping[str, str]

    @classmethod
    def load(cls, data_dir: Path | None = None, options: Mapping[str, Any] | None = None) -> Self:
        """Read all sources; ConfigurationError names the source, the key and what is expected.

        options: {"server.port": 8001}, from the command line; they win over everything.
        """
        values: dict[str, Any] = {}
        origins: dict[str, str] = {}

        def take(key: str, value: Any, origin: str) -> None:
            _check_known(key, origin)
            values[key] = value
            origins[key] = origin

        environment = dict(_from_environment())
        named = environment.get("data_dir", (None, ""))[0]
        folder = data_dir or (Path(named) if named else Settings.model_fields["data_dir"].default)
        for key, value, origin in _from_file(folder):
            take(key, value, origin)
        for key, (value, origin) in environment.items():
            take(key, value, origin)
        if data_dir is not None:
            take("data_dir", str(data_dir), "--data-dir")
        for key, value in (options or {}).items():
            if value is not None:
                take(key, value, "command line")
        try:
            settings = Settings(**_nested(values))
        except ValidationError as problem:
            raise ConfigurationError(_told(problem, values, origins)) from None
        return cls(settings.model_copy(update={"data_dir": settings.data_dir.absolute()}), origins)

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (key, value with secrets masked, origin, description), in order."""
        for key, field, value in _fields(self.settings):
            shown = "********" if isinstance(value, SecretStr) else "" if value is None else str(value)
            yield key, shown, self.origins.get(key, "default"), field.description or ""


def _fields(model: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Section):
            yield from _fields(value, f"{name}.")
        else:
            yield prefix + name, field, value


def known_keys() -> dict[str, Any]:
    """Every key with its field, for errors, for the docs and for `uraniborg settings`."""
    return {key: field for key, field, _ in _fields(Settings.model_construct())}


def _check_known(key: str, origin: str) -> None:
    keys = known_keys()
    if key not in keys:
        from difflib import get_close_matches

        near = get_close_matches(key, keys, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; `uraniborg settings` lists the keys"
        raise ConfigurationError(f"{origin}: unknown key {key}{hint}")


def _from_file(data_dir: Path) -> Iterator[tuple[str, Any, str]]:
    named = os.environ.get(CONFIG_VARIABLE)
    path = Path(named) if named else data_dir / CONFIG_NAME
    if not path.exists():
        if named:
            raise ConfigurationError(f"{CONFIG_VARIABLE}={named}: there is no such file")
        return
    try:
        with path.open("rb") as file:
            document = tomllib.load(file)
    except OSError as problem:
        raise ConfigurationError(f"{path}: cannot be read: {problem.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"{path}: not TOML: {problem}") from None
    for name, value in document.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", inner, str(path)) for key, inner in value.items())
        else:
            yield name, value, str(path)


def _from_environment() -> Iterator[tuple[str, tuple[str, str]]]:
    for name, value in os.environ.items():
        if name.startswith(PREFIX) and name not in (CONFIG_VARIABLE, TOKEN_VARIABLE):
            yield name.removeprefix(PREFIX).lower().replace("__", "."), (value, name)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    keys = known_keys()
    for key, value in values.items():
        section, _, name = key.rpartition(".")
        if isinstance(value, str) and str(keys[key].annotation).startswith("list"):
            value = [word.strip() for word in value.split(",") if word.strip()]
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


def _told(problem: ValidationError, values: Mapping[str, Any], origins: Mapping[str, str]) -> str:
    """One line a wrong value: where it stands, the key, what is expected. Values of secrets are not repeated."""
    keys = known_keys()
    lines = []
    for error in problem.errors():
        key = ".".join(str(part) for part in error["loc"][:2] if isinstance(part, str))
        field = keys.get(key)
        inner = "".join(f"[{part}]" for part in error["loc"][2:])  # of a table in a list: it may hold secrets
        secret = field is None or inner or "SecretStr" in str(field.annotation)
        given = "" if secret else f" {values.get(key)!r} is wrong:"
        about = f" ({field.description})" if field is not None else ""
        # What is wrong with a section as a whole came from wherever one of its keys did.
        origin = origins.get(key) or next((origins[one] for one in origins if one.startswith(f"{key}.")), "default")
        lines.append(f"{origin}: {key}{inner}:{given} {error['msg'].removeprefix('Value error, ')}{about}")
    return "\n".join(lines)
