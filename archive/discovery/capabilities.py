"""What the discovery protocols say of themselves: capabilities with the very parameters that are parsed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archive.discovery import scs, sia, sia1, ssa
from archive.discovery.parameters import Parameter
from archive.discovery.service import VOTABLE, Limits
from archive.vo.capability import Capability, Interface
from archive.vo.columns import Table
from archive.vo.descriptors import Input
from archive.vo.markup import Markup, element


def inputs(declared: Sequence[Parameter]) -> tuple[Input, ...]:
    return tuple(one.told for one in declared)


def sia_capability(declared: Sequence[Parameter]) -> Capability:
    """SIA 2.0 §2.2; pyvo finds the query's URL by it (SIA2-09)."""
    interface = Interface(
        "/sia2/query",
        version="2.0",
        query_types=("GET",),  # POST too, but of a second one pyvo 1.9 warns its users
        result_type=VOTABLE,
        inputs=inputs(declared),
        test_query="MAXREC=1",
    )
    return Capability(sia.STANDARD_ID, (interface,), "Images and cubes by position, wavelength, time and more")


def sia1_capability(declared: Sequence[Parameter], limits: Limits) -> Capability:
    """SIA 1.0 §7 (SIA1-01)."""
    interface = Interface(
        "/sia/query",
        version="1.0",
        query_types=("GET",),
        result_type="text/xml",
        inputs=inputs(declared),
    )
    about = "Images and cubes around a position, for clients that know no SIA 2"
    return Capability(sia1.STANDARD_ID, (interface,), about, SimpleImageAccess(limits.hard_maxrec))


def ssa_capability(declared: Sequence[Parameter], limits: Limits) -> Capability:
    """SSA 1.1 §7."""
    interface = Interface(
        "/ssa/query",
        version="1.1",
        query_types=("GET",),
        result_type=VOTABLE,
        inputs=inputs(declared),
        test_query="REQUEST=queryData&MAXREC=1",
    )
    return Capability(
        ssa.STANDARD_ID, (interface,), "Spectra by position, wavelength, time and more", SpectralAccess(limits)
    )


def cone_capability(table: Table, declared: Sequence[Parameter], limits: Limits) -> Capability:
    """Of one table (SCS-06)."""
    interface = Interface(
        f"/scs/{table.name}/query",
        version="1.03",
        query_types=("GET",),
        result_type="text/xml",
        inputs=inputs(declared),
    )
    about = f"Rows of {table.title or table.name} around a position"
    return Capability(scs.STANDARD_ID, (interface,), about, ConeSearch(limits.max_radius_deg, limits.hard_maxrec))


@dataclass(frozen=True, slots=True)
class ConeSearch:
    """What a cone search says beyond its interface (SimpleDALRegExt 1.1 §3.1). max_radius_deg: degrees."""

    max_radius_deg: float
    max_records: int

    @property
    def xsi_type(self) -> str:
        return "cs:ConeSearch"

    @property
    def namespace(self) -> tuple[str, str]:
        return "cs", "http://www.ivoa.net/xml/ConeSearch/v1.0"

    def markup(self) -> Iterable[Markup]:
        yield element("maxSR", None, f"{self.max_radius_deg:g}")
        yield element("maxRecords", None, str(self.max_records))
        yield element("verbosity", None, "true")
        # All round the sky and one row: it finds something wherever the table's rows lie.
        query = (("ra", "0"), ("dec", "0"), ("sr", f"{self.max_radius_deg:g}"), ("extras", "MAXREC=1"))
        yield element("testQuery", None, [element(name, None, value) for name, value in query])


@dataclass(frozen=True, slots=True)
class SimpleImageAccess:
    """What SIA 1 says beyond its interface (SimpleDALRegExt 1.1 §3.2): images as they were taken, asked all round."""

    max_records: int

    @property
    def xsi_type(self) -> str:
        return "sia:SimpleImageAccess"

    @property
    def namespace(self) -> tuple[str, str]:
        return "sia", "http://www.ivoa.net/xml/SIA/v1.1"

    def markup(self) -> Iterable[Markup]:
        yield element("imageServiceType", None, "Pointed")
        yield element("maxQueryRegionSize", None, _pair(360, 180))
        yield element("maxRecords", None, str(self.max_records))
        asked = (element("pos", None, _pair(0, 0)), element("size", None, _pair(360, 180)))
        yield element("testQuery", None, *asked, element("extras", None, "MAXREC=1"))


@dataclass(frozen=True, slots=True)
class SpectralAccess:
    """What SSA says beyond its interface (SimpleDALRegExt 1.1 §3.3).

    complianceLevel: all of the protocol but spectra in one of its own formats, which not every file here has.
    """

    limits: Limits

    @property
    def xsi_type(self) -> str:
        return "ssap:SimpleSpectralAccess"

    @property
    def namespace(self) -> tuple[str, str]:
        return "ssap", "http://www.ivoa.net/xml/SSA/v1.1"

    def markup(self) -> Iterable[Markup]:
        told = (
            ("complianceLevel", "query"), ("dataSource", "pointed"), ("creationType", "archival"),
            ("supportedFrame", "ICRS"), ("supportedFrame", "FK5"), ("supportedFrame", "GALACTIC_II"),
            ("maxSearchRadius", f"{ssa.MAX_SIZE_DEG / 2:g}"), ("maxRecords", str(self.limits.hard_maxrec)),
            ("defaultMaxRecords", str(self.limits.default_maxrec)),
        )  # fmt: skip
        yield from (element(name, None, value) for name, value in told)
        yield element("testQuery", None, element("queryDataCmd", None, "MAXREC=1"))


def _pair(longitude: float, latitude: float) -> tuple[Markup, Markup]:
    return element("long", None, f"{longitude:g}"), element("lat", None, f"{latitude:g}")
