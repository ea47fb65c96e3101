"""STILTS' validators and clients against the live demo (reference/validators.md)."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
from lxml import etree

from tests.live import Live

CAPABILITIES = "{http://www.ivoa.net/xml/VOSICapabilities/v1.0}capabilities"
NOT_KNOWN = ("cs", "sia", "ssap")


def stilts(*arguments: str, timeout_s: float = 240) -> str:
    """Run STILTS; its output. Its exit status says nothing of what a validator found."""
    done = subprocess.run(["stilts", *arguments], capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def complaints(report: str) -> list[str]:
    """Lines of level E and F, as datalinklint and votlint write them."""
    return [line for line in report.splitlines() if line.startswith(("E-", "F-", "ERROR"))]


def link_complaints(report: str) -> list[str]:
    """Those of datalinklint, but for #thumbnail: a term of the vocabulary (DataLink 1.1 §3.2.6) that STILTS 3.4.7, with
    a list of 2014, knows not: "E-SMCO-1 Unknown predicate 'thumbnail' from core DataLink vocabulary at row 3".
    """
    return [line for line in complaints(report) if "Unknown predicate 'thumbnail' from core DataLink" not in line]


def valid_capabilities(document: bytes, folder: Path) -> None:
    """Hold capabilities against the IVOA's schemas, but for what SimpleDALRegExt adds, whose schemas STILTS has not."""
    tree = etree.fromstring(document)
    for capability in tree:
        if str(capability.get("{http://www.w3.org/2001/XMLSchema-instance}type")).partition(":")[0] in NOT_KNOWN:
            capability.attrib.pop("{http://www.w3.org/2001/XMLSchema-instance}type")
            for child in [child for child in capability if child.tag not in ("description", "interface")]:
                capability.remove(child)
    path = folder / "capabilities.xml"
    path.write_bytes(etree.tostring(tree))
    stilts("xsdvalidate", f"doc={path}", f"topel={CAPABILITIES}", "uselocals=true")


def test_taplint_finds_no_error(live: Live) -> None:
    report: dict[str, Any] = json.loads(
        stilts("taplint", f"tapurl={live.url}/tap", "interface=tap1.1", "report=EWF", "maxrepeat=5", "format=json")
    )
    found = [entry for section in report["sections"] for entry in section["reports"]]
    wrong = [entry for entry in found if entry["level"] in ("ERROR", "FAILURE")]
    assert not wrong, json.dumps(wrong, indent=1)
    assert len(report["sections"]) >= 16, "taplint left stages out"
    # ADQL 2.1's feature types, which this STILTS does not know, and the columns that taplint itself uploads.
    assert {entry["code"] for entry in found} <= {"CULF", "YAR1"}


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_datalinklint_finds_no_error_in_one_many_unknown_and_no_ids(live: Live) -> None:
    query = "SELECT TOP 3 obs_publisher_did FROM ivoa.obscore"
    answer = httpx.get(f"{live.url}/tap/sync", params={"LANG": "ADQL", "FORMAT": "csv", "QUERY": query})
    dids = answer.text.split()[1:]
    assert len(dids) == 3
    for ids in ([dids[0]], dids, ["ivo://nowhere/ID?nothing"], []):
        url = str(httpx.URL(f"{live.url}/datalink/links", params=[("ID", did) for did in ids]))
        report = stilts("datalinklint", f"votable={url}")
        assert not link_complaints(report), report


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_votlint_finds_no_error_in_either_serialization(live: Live, tmp_path: Path) -> None:
    for form in ("votable/td", "votable/b2"):
        answer = httpx.get(
            f"{live.url}/tap/sync",
            params={"LANG": "ADQL", "RESPONSEFORMAT": form, "QUERY": "SELECT * FROM ivoa.obscore"},
        )
        document = tmp_path / "result.vot"
        document.write_bytes(answer.content)
        report = stilts("votlint", f"votable={document}", "ucd=true", "unit=true")
        assert not complaints(report), report


def test_stilts_uploads_a_table_chunked_and_matches_it_with_the_sky(live: Live, tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("name,ra,dec\ncentre,266.417,-29.008\n")
    out = stilts(
        "tapquery", f"tapurl={live.url}/tap", "sync=true", "nupload=1", f"upload1={mine}", "ufmt1=csv", "upname1=mine",
        "adql=SELECT m.name, COUNT(*) AS n FROM TAP_UPLOAD.mine AS m JOIN ivoa.obscore AS o "
        "ON DISTANCE(m.ra, m.dec, o.s_ra, o.s_dec) < 180 GROUP BY m.name",
        "ofmt=csv",
    )  # fmt: skip
    assert out.splitlines()[0] == "name,n"
    assert int(out.splitlines()[1].split(",")[1]) > 10


def test_stilts_matches_its_own_positions_with_the_sky_block_by_block(live: Live, tmp_path: Path) -> None:
    query = "SELECT TOP 7 s_ra AS ra, s_dec AS dec FROM ivoa.obscore WHERE s_ra IS NOT NULL ORDER BY dp_id"
    mine = tmp_path / "mine.csv"
    mine.write_text(httpx.get(f"{live.url}/tap/sync", params={"LANG": "ADQL", "FORMAT": "csv", "QUERY": query}).text)
    out = stilts(
        "tapskymatch", f"tapurl={live.url}/tap", "taptable=ivoa.obscore", "taplon=s_ra", "taplat=s_dec",
        "tapcols=dp_id", f"in={mine}", "ifmt=csv", "inlon=ra", "inlat=dec", "sr=1e-4", "find=best", "blocksize=3",
        "ofmt=csv",
    )  # fmt: skip
    assert len(out.splitlines()) == 8


def test_stilts_runs_an_async_query(live: Live) -> None:
    out = stilts("tapquery", f"tapurl={live.url}/tap", "adql=SELECT TOP 3 dp_id FROM ivoa.obscore", "ofmt=csv")
    assert len(out.split()) == 4


@pytest.mark.parametrize("live", ["embedded"], indirect=True)
def test_vosi_documents_are_valid(live: Live, tmp_path: Path) -> None:
    valid_capabilities(httpx.get(f"{live.url}/capabilities").content, tmp_path)
    elements = {
        "/tap/capabilities": CAPABILITIES,
        "/tap/availability": "{http://www.ivoa.net/xml/VOSIAvailability/v1.0}availability",
        "/tap/tables": "{http://www.ivoa.net/xml/VOSITables/v1.0}tableset",
        "/datalink/capabilities": CAPABILITIES,
    }
    for path, element in elements.items():
        stilts("xsdvalidate", f"doc={live.url}{path}", f"topel={element}", "uselocals=true")
