"""Simple Cone Search 1.03: rows against numpy on the same table, the three UCDs, errors as it has them."""

import io
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from archive.discovery import scs
from archive.holdings.published import Published
from archive.vo.columns import Column, Table
from tests.discovery.made_sky import STARS, TABLE, Sky
from tests.made.catalogue import stars

PATH = f"/scs/{TABLE}/query"
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
[MADE] = stars(STARS, seed=7)
IDS, RA, DEC = (MADE.column(name).to_numpy() for name in ("source_id", "ra", "dec"))
CAPABILITY = "{http://www.w3.org/2001/XMLSchema-instance}type"


def document(answer: httpx.Response) -> VOTableFile:
    assert answer.headers["content-type"].startswith("text/xml")
    return parse(io.BytesIO(answer.content))


def complaint(sky: Sky, status: int = 200, path: str = PATH, **parameters: Any) -> str:
    answer = sky.ask(path, **parameters)
    assert answer.status_code == status
    [info] = [one for one in document(answer).resources[0].infos if one.name == "Error"]
    return str(info.value)


def distances(ra: float, dec: float) -> np.ndarray:
    """Degrees from every star, by vectors."""

    def unit(a: Any, d: Any) -> np.ndarray:
        a, d = np.radians(a), np.radians(d)
        return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=-1)

    one, all_ = unit(ra, dec), unit(RA, DEC)
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(all_, one), axis=-1), all_ @ one))


@QUICK
@given(ra=st.floats(0, 360), dec=st.floats(-90, 90), radius=st.floats(0, 40))
@example(ra=0.0, dec=90.0, radius=5.0)
@example(ra=360.0, dec=0.0, radius=10.0)
@example(ra=float(RA[0]), dec=float(DEC[0]), radius=0.0)
def test_a_cone_holds_what_numpy_finds_in_it(sky: Sky, ra: float, dec: float, radius: float) -> None:
    answer = sky.ask(PATH, RA=repr(ra), DEC=repr(dec), SR=repr(radius), VERB=1, RESPONSEFORMAT="csv")
    header, *lines = answer.text.splitlines()
    assert header == "source_id,ra,dec"
    found = {int(line.split(",")[0]) for line in lines}
    far = distances(ra, dec)
    assert set(IDS[far < radius - 1e-7].tolist()) <= found <= set(IDS[far < radius + 1e-7].tolist())


@pytest.mark.parametrize("verbosity", [None, 1, 2, 3])
@pytest.mark.parametrize("path", [PATH, "/scs/arc.file/query"])
def test_one_field_each_has_the_three_ucds(sky: Sky, path: str, verbosity: int | None) -> None:
    asked = {"RA": 10, "DEC": 10, "SR": 180, "MAXREC": 20} | ({} if verbosity is None else {"VERB": verbosity})
    table = document(sky.ask(path, **asked)).resources[0].tables[0]
    by_ucd: dict[str, list[Any]] = {}
    for field in table.fields:
        by_ucd.setdefault(field.ucd, []).append(field)
    [identifier], [ra], [dec] = (by_ucd[ucd] for ucd in ("ID_MAIN", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN"))
    assert (identifier.datatype, ra.datatype, dec.datatype) == ("char", "double", "double")
    assert not any("meta.main" in (ucd or "") for ucd in by_ucd)
    ids = [str(one) for one in table.array[identifier.ID]]
    assert len(set(ids)) == len(ids) == 20
    if path == PATH:
        assert len(table.fields) == (3 if verbosity == 1 else 15)
    else:
        assert len(table.fields) == {1: 3, 3: 33}.get(verbosity or 2, len(table.fields))
        assert 3 < len(table.fields) < 33 or verbosity in (1, 3)


def test_no_radius_and_no_rows_are_no_errors_and_give_the_columns(sky: Sky) -> None:
    for asked in ({"RA": 1, "DEC": 1, "SR": 0}, {"RA": -350, "DEC": -1, "SR": 1e-9}, {"RA": 370, "DEC": 1, "SR": 0}):
        result = document(sky.ask(PATH, **asked)).resources[0]
        assert len(result.tables[0].array) == 0
        assert [one.value for one in result.infos if one.name == "QUERY_STATUS"] == ["OK"]


def test_more_rows_than_the_limit_are_cut_and_told(sky: Sky) -> None:
    result = document(sky.ask(PATH, RA=0, DEC=0, SR=180)).resources[0]
    assert len(result.tables[0].array) == 2000
    assert [one.value for one in result.infos if one.name == "QUERY_STATUS"] == ["OK", "OVERFLOW"]


@pytest.mark.parametrize(
    ("asked", "about"),
    [
        ({"DEC": 1, "SR": 1}, "RA"), ({"RA": 1, "SR": 1}, "DEC"), ({"RA": 1, "DEC": 1}, "SR"),
        ({"RA": "x", "DEC": 1, "SR": 1}, "RA"), ({"RA": 1, "DEC": 91, "SR": 1}, "DEC"),
        ({"RA": 1, "DEC": 1, "SR": -1}, "SR"), ({"RA": 1, "DEC": 1, "SR": 181}, "SR"),
        ({"RA": "NaN", "DEC": 1, "SR": 1}, "RA"), ({"RA": "1e999", "DEC": 1, "SR": 1}, "RA"),
        ({"RA": "1 2 3", "DEC": 1, "SR": 1}, "RA"), ({"RA": 1, "DEC": 1, "SR": 1, "VERB": 4}, "VERB"),
        ({"RA": [1, 2], "DEC": 1, "SR": 1}, "RA"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_an_info_named_error(sky: Sky, asked: dict[str, Any], about: str) -> None:
    assert complaint(sky, **asked).startswith(about)


@pytest.mark.parametrize("table", ["cat.nothing", "ivoa.obscore", "tap_schema.tables", 'cat.stars"', "acl.token"])
def test_a_table_without_positions_or_unknown_is_not_found(sky: Sky, table: str) -> None:
    assert table in complaint(sky, 404, f"/scs/{table}/query", RA=1, DEC=1, SR=1)
    assert sky.ask(f"/scs/{table}/capabilities").status_code == 404


def test_rows_that_nobody_named_are_named_by_their_place_and_a_view_of_such_is_not_searched() -> None:
    columns = (Column("ra", "float", ucd="pos.eq.ra;meta.main"), Column("dec", "float", ucd="pos.eq.dec;meta.main"))
    row_id = Column("Row_ID", "int")
    table = Published(Table("cat.x", (*columns, row_id)), '"cat"."x"')
    shown = [(one.column.name, one.column.datatype, one.column.ucd) for one in scs.shown(table, 2)]
    assert shown == [
        ("row_id_", "char", "ID_MAIN"), ("ra", "double", "POS_EQ_RA_MAIN"), ("dec", "double", "POS_EQ_DEC_MAIN"),
        ("Row_ID", "int", None),
    ]  # fmt: skip
    assert scs.is_searched(table)
    assert not scs.is_searched(Published(replace(table.table, kind="view"), table.sql_name))
    in_hours = (replace(columns[0], unit="h"), columns[1])
    assert not scs.is_searched(Published(replace(table.table, columns=in_hours), table.sql_name))


def test_every_cone_search_tells_its_capability_and_is_available(sky: Sky) -> None:
    listed = sky.ask("/scs").text
    for name in (TABLE, "arc.file"):
        assert f"/scs/{name}/query" in listed
        document = etree.fromstring(sky.ask(f"/scs/{name}/capabilities").content)
        cone, capabilities, availability = document
        assert cone.get(CAPABILITY) == "cs:ConeSearch"
        assert cone.nsmap["cs"] == "http://www.ivoa.net/xml/ConeSearch/v1.0"
        assert cone.get("standardID") == "ivo://ivoa.net/std/ConeSearch"
        names = [child.tag for child in cone]
        # SimpleDALRegExt 1.1 §3.1: in this order.
        assert names == ["description", "interface", "maxSR", "maxRecords", "verbosity", "testQuery"]
        test = {child.tag: child.text for child in cone.find("testQuery")}
        assert [child.tag for child in cone.find("testQuery")] == ["ra", "dec", "sr", "extras"]
        query = f"RA={test['ra']}&DEC={test['dec']}&SR={test['sr']}&{test['extras']}"
        answer = httpx.get(f"{cone.findtext('interface/accessURL')}?{query}")
        assert len(parse(io.BytesIO(answer.content)).resources[0].tables[0].array) == 1
        url = availability.findtext("interface/accessURL")
        assert b"true" in httpx.get(url).content
        assert capabilities.findtext("interface/accessURL").endswith(f"/scs/{name}/capabilities")
