"""SIA 2, SSA and cone searches by pyvo and STILTS against the live demo, and in the words that Aladin sends."""

import io
import subprocess
from pathlib import Path

import astropy.units as u
import httpx
import numpy as np
import pytest
import pyvo
from astropy.coordinates import SkyCoord
from astropy.io.votable import parse
from astropy.table import Table
from lxml import etree

from archive.discovery import sia, sia1, ssa
from archive.discovery.capabilities import sia1_capability, sia_capability, ssa_capability
from archive.discovery.service import Limits
from archive.vo.vosi import capabilities_document
from tests.live import Live
from tests.protocols.test_stilts import complaints, stilts, valid_capabilities

AVAILABILITY = "{http://www.ivoa.net/xml/VOSIAvailability/v1.0}availability"
TYCHO = "cat.tycho2_vt9_8"


def rows(live: Live, adql: str) -> Table:
    return pyvo.dal.TAPService(f"{live.url}/tap").search(adql).to_table()


def from_stilts(kind: str, url: str, ra: float, dec: float, radius: float, folder: Path) -> Table:
    """What `stilts cone` makes of a service."""
    out = folder / f"{kind}.vot"
    stilts("cone", f"servicetype={kind}", f"serviceurl={url}", f"lon={ra}", f"lat={dec}", f"radius={radius}",
           f"out={out}", "ofmt=votable-tabledata")  # fmt: skip
    return Table.read(out, format="votable")


@pytest.mark.filterwarnings("error::astropy.io.votable.exceptions.VOWarning")
def test_pyvo_finds_images_by_position_band_and_instrument(live: Live) -> None:
    service = pyvo.dal.SIA2Service(f"{live.url}/sia2")
    everything = service.search()
    expected = rows(live, "SELECT obs_publisher_did FROM ivoa.obscore WHERE dataproduct_type IN ('image', 'cube')")
    assert set(everything["obs_publisher_did"]) == set(expected["obs_publisher_did"])
    one = next(row for row in everything if row["instrument_name"] == "EFOSC")
    found = service.search(pos=(one["s_ra"] * u.deg, one["s_dec"] * u.deg, 0.01 * u.deg), instrument="EFOSC")
    assert one["obs_publisher_did"] in set(found["obs_publisher_did"])
    assert set(found["instrument_name"]) == {"EFOSC"}
    optical = service.search(band=(500e-9 * u.m, 600e-9 * u.m))
    assert 0 < len(optical) < len(everything)
    assert all(row["em_min"] <= 600e-9 and row["em_max"] >= 500e-9 for row in optical)


def test_pyvo_follows_the_links_of_images_to_their_files(live: Live) -> None:
    found = pyvo.dal.sia2.search(f"{live.url}/sia2", maxrec=3)
    links = [next(iter(one.bysemantics("#this", include_narrower=False))) for one in found.iter_datalinks()]
    assert len(links) == 3
    assert all(httpx.head(one["access_url"]).status_code == 200 for one in links)


def test_pyvo_finds_spectra_and_their_files_open(live: Live) -> None:
    service = pyvo.dal.SSAService(f"{live.url}/ssa/query")
    everything = service.search()
    expected = rows(live, "SELECT obs_publisher_did FROM ivoa.obscore WHERE dataproduct_type = 'spectrum'")
    assert set(everything["obs_publisher_did"]) == set(expected["obs_publisher_did"])
    one = everything[0]
    assert httpx.head(one.getdataurl()).headers["content-type"] == one["access_format"]
    around = service.search(pos=SkyCoord(one["s_ra"], one["s_dec"], unit="deg"), diameter=0.01 * u.deg)
    assert one["obs_publisher_did"] in set(around["obs_publisher_did"])
    [links, *_] = everything.iter_datalinks()
    assert links[0]["ID"] == one["obs_publisher_did"]


def test_pyvo_and_stilts_cones_find_what_adql_finds(live: Live, tmp_path: Path) -> None:
    service = pyvo.dal.SCSService(f"{live.url}/scs/{TYCHO}/query")
    expected = rows(live, f"SELECT ra, dec FROM {TYCHO} WHERE 1 = CONTAINS(POINT(ra, dec), CIRCLE(359.9, -0.5, 5))")
    assert len(expected) > 10
    found = service.search(pos=(359.9, -0.5), radius=5)
    by_stilts = from_stilts("cone", f"{live.url}/scs/{TYCHO}/query", 359.9, -0.5, 5, tmp_path)
    for table in (found.to_table(), by_stilts):
        assert np.array_equal(np.sort(table["ra"]), np.sort(expected["ra"]))
    assert isinstance(found[0].pos, SkyCoord)


def test_pyvo_finds_images_as_of_sia_1(live: Live) -> None:
    [all_sky] = rows(live, "SELECT * FROM ivoa.obscore WHERE obs_collection = 'all-sky'")
    found = pyvo.dal.SIAService(f"{live.url}/sia/query").search(pos=(125.5, -43.0), size=1.0)
    assert {"Puppis A", "all-sky"} <= {one.title for one in found}
    one = next(one for one in found if one["obs_publisher_did"] == all_sky["obs_publisher_did"])
    assert one.format == "image/fits" and [n.value for n in one.naxis] == [all_sky["s_xel1"], all_sky["s_xel2"]]
    assert httpx.head(one.getdataurl()).headers["content-type"] == "application/fits"
    assert next(iter(found.iter_datalinks()))[0]["ID"] == found[0]["obs_publisher_did"]


def test_stilts_finds_images_and_spectra(live: Live, tmp_path: Path) -> None:
    for kind, url, types in (
        ("sia2", "/sia2/query", "('image', 'cube')"), ("sia", "/sia/query", "('image', 'cube')"),
        ("ssa", "/ssa/query", "('spectrum')"),
    ):  # fmt: skip
        one = rows(live, f"SELECT TOP 1 * FROM ivoa.obscore WHERE dataproduct_type IN {types} AND s_region IS NOT NULL")
        found = from_stilts(kind, f"{live.url}{url}", one["s_ra"][0], one["s_dec"][0], 0.05, tmp_path)
        assert one["obs_publisher_did"][0] in set(found["obs_publisher_did"])


def test_mistakes_reach_people_in_pyvo_and_stilts(live: Live) -> None:
    with pytest.raises(pyvo.dal.DALQueryError, match="UsageFault: "):
        pyvo.dal.SIA2Service(f"{live.url}/sia2").search(data_type="spectrum")
    with pytest.raises(pyvo.dal.DALQueryError, match="TIME takes dates"):
        pyvo.dal.SSAService(f"{live.url}/ssa/query").search(TIME="never")
    with pytest.raises(pyvo.dal.DALQueryError, match="SR takes 0 to 180"):
        pyvo.dal.SCSService(f"{live.url}/scs/{TYCHO}/query").search(pos=(1, 1), radius=400)
    for kind, path, about in (("cone", f"/scs/{TYCHO}/query", "SR takes 0 to 180"), ("ssa", "/ssa/query", "SIZE")):
        done = subprocess.run(
            ["stilts", "cone", f"servicetype={kind}", f"serviceurl={live.url}{path}", "lon=1", "lat=1", "radius=190"],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert about in done.stderr


def test_the_requests_of_aladin_are_understood(live: Live) -> None:
    """As captured (reference: clients): with a wide cone, without REQUEST, with parameters that are there but empty."""
    for request, at_least in (
        ("/scs/arc.file/query?RA=0&DEC=0&SR=179.9", 20),
        (f"/scs/{TYCHO}/query?RA=10.5&DEC=-20&SR=14.142135", 100),
        ("/sia2/query?POS=CIRCLE+0+0+180&BAND=&TIME=&FORMAT=", 15),
        ("/ssa/query?POS=0,0&SIZE=360&REQUEST=queryData", 5),
        ("/ssa/query?POS=0%2c0&SIZE=360", 5),
        ("/sia/query?POS=0,0&SIZE=360", 15),
        ("/sia/query?POS=125.5,-43&SIZE=1.414213", 1),
        ("/sia/query?POS=125.5,-43&SIZE=1,1&FORMAT=", 1),
        ("/tap/sync?REQUEST=doQuery&LANG=ADQL&MAXREC=50000&QUERY=SELECT+*+FROM+TAP_SCHEMA.columns", 100),
        ("/tap/sync?REQUEST=doQuery&LANG=ADQL&MAXREC=50000&QUERY=SELECT+*+FROM+TAP_SCHEMA.tables", 5),
        ("/tap/sync?REQUEST=doQuery&LANG=ADQL&MAXREC=50000&QUERY=SELECT+*+FROM+TAP_SCHEMA.keys", 5),
    ):
        answer = httpx.get(f"{live.url}{request}", headers={"Accept-Encoding": "gzip", "User-Agent": "Aladin/12"})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert len(parse(io.BytesIO(answer.content)).resources[0].tables[0].array) >= at_least, request


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_votlint_finds_no_error_in_any_answer(live: Live, tmp_path: Path) -> None:
    document = tmp_path / "answer.vot"
    for request in (
        "/sia2/query", "/sia2/query?MAXREC=0", "/sia2/query?CALIB=9x", "/ssa/query", "/ssa/query?FORMAT=METADATA",
        "/sia/query?POS=0,0&SIZE=360", "/sia/query?FORMAT=METADATA", "/sia/query?POS=0,0",
        "/ssa/query?BAND=x", "/scs/arc.file/query?RA=0&DEC=0&SR=180&VERB=3", f"/scs/{TYCHO}/query?RA=0&DEC=0&SR=9",
        "/scs/arc.file/query?RA=0", "/sia2/query?RESPONSEFORMAT=votable/b2",
    ):  # fmt: skip
        document.write_bytes(httpx.get(f"{live.url}{request}").content)
        report = stilts("votlint", f"votable={document}", "ucd=true", "unit=true")
        assert not complaints(report), f"{request}: {report}"


def test_capabilities_are_valid_by_the_ivoas_schemas(live: Live, tmp_path: Path) -> None:
    declared = (
        sia_capability(sia.parameters(10, 100)), sia1_capability(sia1.parameters(10, 100), Limits()),
        ssa_capability(ssa.parameters(10, 100), Limits()),
    )  # fmt: skip
    in_full = capabilities_document(declared, live.url, in_full=True)
    assert in_full.count(b"<param ") > 40
    valid_capabilities(in_full, tmp_path)
    for path in ("/sia2", "/sia", "/ssa", f"/scs/{TYCHO}"):
        valid_capabilities(httpx.get(f"{live.url}{path}/capabilities").content, tmp_path)
    for path in ("/sia2", f"/scs/{TYCHO}"):
        stilts("xsdvalidate", f"doc={live.url}{path}/availability", f"topel={AVAILABILITY}", "uselocals=true")


# SimpleDALRegExt 1.1 §3.2, §3.3: these, in this order.
EXTENSIONS = {
    "/sia": ["imageServiceType", "maxQueryRegionSize", "maxRecords", "testQuery"],
    "/ssa": ["complianceLevel", "dataSource", "creationType", *["supportedFrame"] * 3, "maxSearchRadius", "maxRecords",
             "defaultMaxRecords", "testQuery"],
}  # fmt: skip


def test_sia_1_and_ssa_tell_what_registries_want_to_know(live: Live) -> None:
    for path, names in EXTENSIONS.items():
        capability = etree.fromstring(httpx.get(f"{live.url}{path}/capabilities").content)[0]
        assert [child.tag for child in capability if child.tag not in ("description", "interface")] == names


def test_the_pages_for_people_name_every_search(live: Live) -> None:
    front, api, listed = (httpx.get(f"{live.url}{path}").text for path in ("/", "/docs", "/scs"))
    for path in ("/sia2", "/sia", "/ssa", "/scs"):
        assert f"{live.url}{path}" in front
    assert "<code>SPATRES</code>" in api
    assert "<code>SR</code>" in api
    assert f"{live.url}/scs/{TYCHO}/query" in listed
