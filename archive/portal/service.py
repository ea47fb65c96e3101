"""What each page shows. Everything is asked of what any client could ask: ADQL, links, surveys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from archive.access.identity import User
from archive.holdings.published import PublishedTables
from archive.portal import wording
from archive.portal.coverage import Coverage, Coverages
from archive.portal.names import ArchiveNames, position
from archive.portal.search import FACETS, LEVELS, NEAREST, ORDERS, Facet, Place, Search, literal
from archive.portal.sesame import Sesame
from archive.portal.sources import Sources
from archive.vo.columns import Column
from archive.vo.errors import NotFoundError

LATEST = 8  # data sets that a page shows as the latest
NEIGHBOURS = 6
MOST_COLLECTIONS = 1_000
# The dataset's page: what belongs together, in ObsCore's columns.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Observation": (
        "target_name", "target_class", "obs_collection", "facility_name", "instrument_name", "filter", "obstech",
        "obs_id", "proposal_id", "calib_level", "n_obs",
    ),
    "Sky": ("s_ra", "s_dec", "gal_lon", "gal_lat", "s_fov", "s_resolution", "s_pixel_scale", "s_xel1", "s_xel2"),
    "Time": ("t_min", "t_max", "t_exptime", "t_resolution"),
    "Spectrum": ("em_min", "em_max", "em_res_power", "em_xel", "pol_states"),
    "Quantity": ("o_ucd", "o_unit", "o_calib_status", "snr", "abmaglim", "strehl"),
    "Publication": (
        "obs_creator_name", "bib_reference", "obs_release_date", "publication_date", "data_rights", "dp_version",
        "obs_publisher_did",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What a page may cost; see archive.settings.Portal."""

    page_rows: int = 50
    facet_rows: int = 100_000
    facet_values: int = 30


@dataclass(frozen=True, slots=True)
class Survey:
    """A HiPS as pages show it. path: below the archive's root; ra, dec, fov: degrees, a view that holds all of it."""

    path: str
    title: str
    collection: str | None
    sky_fraction: float
    ra: float
    dec: float
    fov: float


@dataclass(frozen=True, slots=True)
class FacetValues:
    """A facet with its values: (value, as people read it, count or None, chosen)."""

    facet: Facet
    values: Sequence[tuple[str, str, int | None, bool]]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a search. total: of data sets, `more`: it is only known that there are more than that."""

    search: Search
    rows: Sequence[Mapping[str, Any]]
    total: int
    more: bool
    facets: Sequence[FacetValues]
    facets_are_of: int | None
    adql: str
    first: int
    last_page: int
    known_as: Sequence[Place]


class PortalService:
    """Answers the portal's pages."""

    def __init__(
        self,
        sources: Sources,
        names: ArchiveNames,
        coverages: Coverages,
        published: PublishedTables,
        sesame: Sesame | None,
        limits: Limits,
    ) -> None:
        self._ask = sources.ask
        self._links = sources.links
        self._surveys = sources.surveys
        self._names = names
        self._coverages = coverages
        self._published = published
        self._sesame = sesame
        self._limits = limits

    # What a name stands for

    def places(self, text: str) -> list[Place]:
        """What a name or coordinates stand for: the archive's own word first, Sesame's only where it knows none."""
        if place := position(text):
            return [place]
        found = self._names.index().places(text)
        if not found and self._sesame:
            found = self._sesame.places(text)
        return found

    def suggested(self, text: str, most: int) -> list[Place]:
        return self._names.index().beginning_with(text, most)

    # Pages

    def front(self, user: User) -> dict[str, Any]:
        """What the archive holds."""
        totals = self._one("SELECT COUNT(*) AS files, SUM(file_size) AS size_bytes FROM arc.file")
        datasets = self._one("SELECT COUNT(*) AS n, MIN(t_min) AS since, MAX(t_max) AS until FROM ivoa.obscore")
        return {
            "files": totals["files"],
            "size_bytes": totals["size_bytes"] or 0,
            "datasets": datasets["n"],
            "since": datasets["since"],
            "until": datasets["until"],
            "collections": self.collections(),
            "latest": self.rows(Search(), user, LATEST),
            "catalogues": self.catalogues(),
            "surveys": self.surveys(),
            "coverage": self.coverage(),
        }

    def collections(self) -> list[dict[str, Any]]:
        """Each collection of data sets: how many, of what kinds."""
        found = self._rows(
            "SELECT obs_collection, dataproduct_type, COUNT(*) AS n "
            "FROM ivoa.obscore GROUP BY obs_collection, dataproduct_type ORDER BY obs_collection, n DESC",
            MOST_COLLECTIONS * 10,
        )
        made: dict[str, dict[str, Any]] = {}
        for row in found:
            one = made.setdefault(row["obs_collection"], {"name": row["obs_collection"], "n": 0, "kinds": []})
            one["n"] += row["n"]
            one["kinds"].append((row["dataproduct_type"], row["n"]))
        return list(made.values())

    def collection(self, name: str, user: User) -> dict[str, Any]:
        """One collection; NotFoundError if nothing of it may be seen."""
        of = f"FROM ivoa.obscore WHERE obs_collection = {literal(name)}"
        summary = self._one(
            "SELECT COUNT(*) AS n, MIN(t_min) AS since, MAX(t_max) AS until, MIN(em_min) AS em_min, "
            f"MAX(em_max) AS em_max, SUM(access_estsize) AS size_kb, SUM(t_exptime) AS exposure {of}"
        )
        if not summary["n"]:
            raise NotFoundError(f"there is no collection {name} in this archive; its front page lists those there are")
        search = Search(chosen={"collection": (name,)})
        return {
            "name": name,
            **summary,
            "facets": self._facets(search, [facet for facet in FACETS if facet.name != "collection"]),
            "search": search,
            "latest": self.rows(search, user, LATEST),
            "surveys": [survey for survey in self.surveys() if survey.collection == name],
            "coverage": self.coverage(name),
            "references": [
                row["bib_reference"]
                for row in self._rows(
                    f"SELECT DISTINCT bib_reference {of} AND bib_reference IS NOT NULL ORDER BY bib_reference", 20
                )
            ],
        }

    def search(self, search: Search, user: User) -> Page:
        """The data sets that are looked for, with the facets that narrow them."""
        known_as: list[Place] = []
        if search.text:
            known_as = self.places(search.text)
            search = search.at(known_as[0] if known_as else None)
        limits = self._limits
        total = self._one(search.count_adql(limits.facet_rows))["n"]
        offset = (search.page - 1) * limits.page_rows
        counted = min(total, limits.facet_rows)
        return Page(
            search=search,
            rows=self.rows(search, user, limits.page_rows, offset) if offset < total else [],
            total=counted,
            more=total > limits.facet_rows,
            facets=self._facets(search, FACETS),
            facets_are_of=limits.facet_rows if total > limits.facet_rows else None,
            adql=search.adql(),
            first=offset + 1,
            last_page=max(1, -(-counted // limits.page_rows)),
            known_as=known_as,
        )

    def dataset(self, dp_id: str, user: User) -> dict[str, Any]:
        """One data set, with its links for this user; NotFoundError if there is none, or none that may be known of."""
        row = self._first(f"SELECT * FROM ivoa.obscore WHERE dp_id = {literal(dp_id)}")
        if row is None:
            raise NotFoundError(f"there is no data set {dp_id} in this archive; /search finds those there are")
        return {
            "row": row,
            "groups": [(title, self._facts(names, row)) for title, names in GROUPS.items()],
            "links": self._links([row["obs_publisher_did"]], user).get(row["obs_publisher_did"], ()),
            "neighbours": self._neighbours(row),
            "surveys": self.surveys(),
        }

    def file(self, file_id: str) -> Mapping[str, Any] | None:
        """A file that is no data set of its own: a calibration, a document."""
        return self._first(f"SELECT * FROM arc.file WHERE file_id = {literal(file_id)}")

    def catalogues(self) -> list[dict[str, Any]]:
        """The published catalogues."""
        tables = [table for table in self._published.tables().heads() if table.schema == "cat"]
        return [
            {"name": table.name, "title": table.title or table.name, "rows": table.rows, "about": table.description}
            for table in sorted(tables, key=lambda table: table.name)
        ]

    def surveys(self) -> list[Survey]:
        """The archive's HiPS, the one that shows most of the sky first."""
        made = [
            Survey(
                path=f"/hips/{quote(name)}",
                title=told.get("obs_title", name),
                collection=told.get("obs_collection"),
                sky_fraction=_number(told, "moc_sky_fraction"),
                ra=_number(told, "hips_initial_ra"),
                dec=_number(told, "hips_initial_dec"),
                fov=_number(told, "hips_initial_fov"),
            )
            for name, told in self._surveys()
        ]
        return sorted(made, key=lambda survey: -survey.sky_fraction)

    def coverage(self, collection: str | None = None) -> Coverage:
        return self._coverages.of(collection)

    # Rows

    def rows(self, search: Search, user: User, most: int, offset: int = 0) -> list[dict[str, Any]]:
        """The data sets looked for, each with the thumbnail that this user may see, if there is one."""
        found = self._rows(search.adql(top=most, offset=offset), most)
        links = self._links([row["obs_publisher_did"] for row in found], user)
        for row in found:
            pictures = (link for link in links.get(row["obs_publisher_did"], ()) if link.means("#thumbnail"))
            picture = next(pictures, None)
            row["thumbnail"] = picture.access_url if picture and picture.authorized else None
        return found

    def _rows(self, adql: str, most: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(adql, maxrec=most).to_pylist()
        return found

    def _first(self, adql: str) -> dict[str, Any] | None:
        return next(iter(self._rows(adql, 1)), None)

    def _one(self, adql: str) -> dict[str, Any]:
        return self._rows(adql, 1)[0]

    def _facets(self, search: Search, facets: Sequence[Facet]) -> list[FacetValues]:
        made = []
        for facet in facets:
            found = self._rows(search.facet_adql(facet, self._limits.facet_rows), self._limits.facet_values)
            counts: dict[str, int | None] = {str(row["v"]): row["n"] for row in found if row["v"] not in (None, "")}
            chosen = search.chosen.get(facet.name, ())
            # What was chosen stays to be seen: nothing has it any more, or so few that it is not among those told.
            unlisted = 0 if len(found) < self._limits.facet_values else None
            for value in chosen:
                counts.setdefault(value, unlisted)
            values = [(value, _told(facet, value), count, value in chosen) for value, count in counts.items()]
            if values:
                made.append(FacetValues(facet, values))
        return made

    def _facts(self, names: Sequence[str], row: Mapping[str, Any]) -> list[tuple[Column, str]]:
        columns = {column.name: column for column in self._published.tables()["ivoa.obscore"].table.columns}
        return [(columns[name], _shown(name, row)) for name in names if row.get(name) is not None and name in columns]

    def _neighbours(self, row: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Other data sets that show its centre."""
        if row["s_ra"] is None or row["s_dec"] is None:
            return []
        place = Place("", row["s_ra"], row["s_dec"], "")
        search = Search(place=place, radius_deg=1 / 3600, chosen={"type": ("image", "cube", "spectrum")})
        found = self._rows(search.adql(top=NEIGHBOURS + 1), NEIGHBOURS + 1)
        return [other for other in found if other["dp_id"] != row["dp_id"]][:NEIGHBOURS]


def order_names(search: Search) -> list[tuple[str, str]]:
    """The orders that can be chosen: their names, and as people read them."""
    offered = [(name, words) for name, (words, _) in ORDERS.items()]
    return [(NEAREST, "Nearest"), *offered] if search.place else offered


def root_of(public_url: str) -> str:
    """What paths within the archive begin with, where it is served below another's root: "" or "/archive"."""
    return urlsplit(public_url).path.rstrip("/")


def _number(told: Mapping[str, str], key: str) -> float:
    try:
        return float(told.get(key, 0))
    except ValueError:
        return 0.0


def _told(facet: Facet, value: str) -> str:
    match facet.name:
        case "type":
            return wording.kind(value)
        case "level":
            return LEVELS.get(value, value)
    return value


def _shown(name: str, row: Mapping[str, Any]) -> str:
    value = row[name]
    match name:
        case "t_min" | "t_max":
            return f"{wording.moment(value, to_the_minute=True)} UTC  (MJD {value:.5f})"
        case "calib_level":
            return LEVELS.get(str(value), str(value))
        case "obs_release_date" | "publication_date":
            return wording.day(value)
        case "s_fov":
            return wording.angle(value)
    return f"{value:.8g}" if isinstance(value, float) else str(value)
