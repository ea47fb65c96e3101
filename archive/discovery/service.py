"""Discovery in the order it happens: parameters, statement, rows. What each protocol means is its own module's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from archive.discovery import answer, scs, sia, sia1, sia1_columns, ssa, ssa_columns
from archive.discovery.answer import Prepared
from archive.discovery.metadata import metadata_document
from archive.discovery.parameters import Parameter
from archive.discovery.queries import OfferedValues
from archive.holdings.published import Published, PublishedTables
from archive.holdings.running import RunningQuery, Statement
from archive.holdings.sessions import Sessions
from archive.sphere.sphere import Sphere
from archive.vo.columns import Column
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input, links_descriptor, service_descriptor
from archive.vo.errors import NotFoundError
from archive.vo.markup import Markup
from archive.vo.votable import Info, field_ids, origin_infos

VOTABLE = "application/x-votable+xml"
SIA1, SSA = Info("SERVICE_PROTOCOL", "1.0", "SIAP"), Info("SERVICE_PROTOCOL", "1.1", "SSAP")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a search may cost. Rows, seconds, degrees; see archive.settings.Discovery."""

    default_maxrec: int = 10_000
    hard_maxrec: int = 1_000_000
    timeout_s: float = 60.0
    batch_rows: int = 10_000
    max_radius_deg: float = 180.0


class DiscoveryService:
    """Answers SIA, SSA and cone searches over what is published."""

    def __init__(
        self,
        pool: Sessions,
        published: PublishedTables,
        sphere: Sphere,
        limits: Limits,
        *,
        publisher: str,
    ) -> None:
        """publisher: the archive's name, as SSA's answers tell it."""
        rows = (limits.default_maxrec, limits.hard_maxrec)
        self.limits = limits
        self.sia = sia.parameters(*rows)
        self.sia1 = sia1.parameters(*rows)
        self.ssa = ssa.parameters(*rows)
        self.scs = scs.parameters(*rows, limits.max_radius_deg)
        self._pool = pool
        self._published = published
        self._sphere = sphere
        self._publisher = publisher
        self._images = OfferedValues(pool, _offered(self.sia), sia.TYPES)
        self._spectra = OfferedValues(pool, _offered(self.ssa), ssa.TYPES)

    def look_again(self) -> None:
        """Ask now what is published, whenever that was asked last."""
        self._published.look_again()

    def images(self, asked: Parameters, public_url: str) -> Prepared:
        """SIA 2.0: images and cubes."""
        maxrec = asked.maxrec(self.limits.default_maxrec, self.limits.hard_maxrec)
        writer = answer.writer(asked, VOTABLE)
        statement = sia.statement(self.sia, asked, self._sphere, maxrec + 1)
        this = _this_search(public_url, inputs_now(self.sia, self._images.now()))
        return Prepared(
            writer,
            self._running(statement, maxrec),
            maxrec,
            answer.infos([Info("standardID", sia.STANDARD_ID)], asked, maxrec, now(), self._publisher),
            (_links(statement.columns, public_url), this),
        )

    def older_images(self, asked: Parameters, public_url: str) -> Prepared:
        """SIA 1.0: the same images, by the columns of clients that know no SIA 2."""
        maxrec = asked.maxrec(self.limits.default_maxrec, self.limits.hard_maxrec)
        writer = answer.writer(asked, "text/xml")
        statement = sia1.statement(self.sia1, asked, self._sphere, maxrec + 1)
        return Prepared(
            writer,
            self._running(statement, maxrec),
            maxrec,
            answer.infos([SIA1], asked, maxrec, now(), self._publisher),
            (_links(statement.columns, public_url),),
        )

    def older_images_metadata(self) -> bytes:
        """SIA 1.0 §6.1: what the service takes and gives, without rows."""
        return metadata_document(inputs_now(self.sia1, {}), sia1_columns.COLUMNS, SIA1)

    def spectra(self, asked: Parameters, public_url: str) -> Prepared:
        """SSA 1.1: spectra."""
        ssa.check_request(asked)
        maxrec = asked.maxrec(self.limits.default_maxrec, self.limits.hard_maxrec)
        maxrec = ssa.top(asked, maxrec)
        writer = answer.writer(asked, VOTABLE)
        statement = ssa.statement(self.ssa, asked, self._sphere, maxrec + 1, publisher=self._publisher)
        return Prepared(
            writer,
            self._running(statement, maxrec),
            maxrec,
            answer.infos([SSA], asked, maxrec, now(), self._publisher),
            (_links(statement.columns, public_url),),
        )

    def spectra_metadata(self) -> bytes:
        """SSA 1.1 §4.2.7: what the service takes and gives, without rows."""
        return metadata_document(inputs_now(self.ssa, self._spectra.now()), ssa_columns.COLUMNS, SSA)

    def cone(self, table: str, asked: Parameters) -> Prepared:
        """SCS 1.03: rows of a table around a position."""
        published = self.searched(table)
        cone = scs.cone(asked, self.limits.max_radius_deg)
        maxrec = asked.maxrec(self.limits.default_maxrec, self.limits.hard_maxrec)
        writer = answer.writer(asked, "text/xml")
        shown = scs.shown(published, cone.verbosity)
        statement = scs.statement(published, cone, shown, self._sphere, maxrec + 1)
        return Prepared(
            writer,
            self._running(statement, maxrec),
            maxrec,
            (
                *answer.infos([Info("standardID", scs.STANDARD_ID)], asked, maxrec, now(), self._publisher),
                *origin_infos(published.table.name, published.table.origin),
            ),
            table_name=published.table.name,
        )

    def searched(self, table: str) -> Published:
        """A published table that has a cone search; NotFoundError names where they are listed."""
        found = self._published.tables().get(table.lower())
        if found is None or not scs.is_searched(found):
            raise NotFoundError(f"there is no cone search on a table {table}; /scs lists those there are")
        return found

    def all_searched(self) -> list[Published]:
        """Every published table that has a cone search, by name."""
        found = filter(scs.is_searched, self._published.tables().every())
        return sorted(found, key=lambda one: one.table.name.lower())

    def _running(self, statement: Statement, maxrec: int) -> RunningQuery:
        return RunningQuery(
            self._pool,
            statement,
            self._sphere,
            timeout_s=self.limits.timeout_s,
            batch_rows=self.limits.batch_rows,
            maxrec=maxrec,
            too_late="narrow it, or ask by TAP asynchronously (/tap/async)",
        )


def inputs_now(declared: Sequence[Parameter], values: Mapping[str, Sequence[str]]) -> tuple[Input, ...]:
    """The parameters as they are told now. values: of the offered columns."""
    return tuple(one.with_values(values) for one in declared)


@lru_cache(maxsize=16)  # the same in every answer, and a sixth of the work for it
def _this_search(public_url: str, inputs: tuple[Input, ...]) -> Markup:
    """SIA's description of itself (SIA 2.0 §3.1.2)."""
    return service_descriptor(
        f"{public_url}/sia2/query",
        inputs,
        standard_id=sia.STANDARD_ID,
        name="this",
        content_type=VOTABLE,
        description="This very search: images and cubes of the archive",
    )


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _offered(declared: Sequence[Parameter]) -> list[str]:
    return [one.offered for one in declared if one.offered is not None]


def _links(columns: Sequence[Column], public_url: str) -> Markup:
    names = [column.name for column in columns]
    return links_descriptor(public_url, field_ids(columns)[names.index("obs_publisher_did")])
