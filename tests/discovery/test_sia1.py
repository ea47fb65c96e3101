"""SIA 1.0: how image and region lie, against an oracle; columns by UCD; errors and METADATA in its form."""

import io
from typing import Any

import numpy as np
import pytest
from astropy.io.votable import parse
from astropy.io.votable.tree import VOTableFile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archive.discovery.sia1 import INTERSECTS, region
from archive.vo.dali import Parameters
from tests.contracts import sky_oracle
from tests.discovery.made_sky import Sky

PATH = "/sia/query"
CLOSE = 1e-9  # radians: how near an edge may pass before nobody can tell
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
IMAGES = ("image", "cube")


def document(sky: Sky, **parameters: Any) -> VOTableFile:
    answer = sky.ask(PATH, **parameters)
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/xml")
    return parse(io.BytesIO(answer.content))


def complaint(sky: Sky, **parameters: Any) -> str:
    [info] = [one for one in document(sky, **parameters).resources[0].infos if one.name == "QUERY_STATUS"]
    assert info.value == "ERROR"
    return str(info.content)


@QUICK
@given(
    ra=st.floats(0, 360), dec=st.floats(-90, 90), width=st.floats(0.5, 120), height=st.floats(0.5, 120),
    how=st.sampled_from(INTERSECTS),
)  # fmt: skip
@example(ra=0.0, dec=0.0, width=90.0, height=60.0, how="ENCLOSED")
@example(ra=359.0, dec=85.0, width=20.0, height=20.0, how="OVERLAPS")
@example(ra=200.0, dec=-90.0, width=50.0, height=50.0, how="ENCLOSED")
def test_images_lie_as_intersect_says(sky: Sky, ra: float, dec: float, width: float, height: float, how: str) -> None:
    asked = {"POS": f"{ra!r},{dec!r}", "SIZE": f"{width!r},{height!r}", "INTERSECT": how}
    found = sky.found(PATH, **asked)
    centre, around = region(Parameters(asked.items()))
    assert around is not None
    roi = sky_oracle.Patch(*map(np.longdouble, (around.ra_min, around.width, around.dec_min, around.dec_max)))
    middle = sky_oracle.Disc(sky_oracle.unit(centre.ra, centre.dec), np.longdouble(0))
    for name, row in sky.rows.items():
        image = sky.bodies[name]
        lies, margin = {
            "OVERLAPS": lambda image=image: sky_oracle.intersects(image, roi),
            "COVERS": lambda image=image: sky_oracle.contains(roi, image),
            "ENCLOSED": lambda image=image: sky_oracle.contains(image, roi),
            "CENTER": lambda image=image: sky_oracle.contains(middle, image),
        }[how]()
        if row["dataproduct_type"] not in IMAGES:
            assert name not in found
        elif margin > CLOSE:
            assert (name in found) == lies, (name, margin)


def test_a_size_is_an_angle_on_the_sky_and_goes_all_round_at_a_pole() -> None:
    def around(pos: str, size: str) -> list[float] | None:
        found = region(Parameters([("POS", pos), ("SIZE", size)]))[1]
        return None if found is None else found.as_array()

    assert around("10,0", "2") == pytest.approx([9, 11, -1, 1])
    assert around("1,60", "4,2") == pytest.approx([357, 5, 59, 61])
    assert around("1,89.5", "2") == [0, 360, 88.5, 90]
    assert around("0,0", "360") == [0, 360, -90, 90]
    assert around("1,1", "0") is around("1,1", "0,0") is None


def test_no_size_asks_for_images_of_the_position(sky: Sky) -> None:
    name = next(name for name, row in sky.rows.items() if row["dataproduct_type"] in IMAGES)
    row = sky.rows[name]
    found = sky.found(PATH, POS=f"{row['s_ra']},{row['s_dec']}", SIZE="0")
    point = sky_oracle.Disc(sky_oracle.unit(row["s_ra"], row["s_dec"]), np.longdouble(0))
    wanted = {
        other for other, image in sky.bodies.items()
        if sky.rows[other]["dataproduct_type"] in IMAGES and sky_oracle.contains(point, image)[0]
    }  # fmt: skip
    assert name in found and found == wanted


def test_each_of_the_columns_that_clients_look_for_is_there_once(sky: Sky) -> None:
    table = document(sky, POS="0,0", SIZE="360").resources[0].tables[0]
    ucds = [field.ucd for field in table.fields]
    for ucd in (
        "VOX:Image_Title", "POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN", "VOX:Image_Naxes", "VOX:Image_Naxis",
        "VOX:Image_Scale", "VOX:Image_Format", "VOX:Image_AccessReference",
    ):  # fmt: skip
        assert ucds.count(ucd) == 1
    assert len(table.array) == sum(row["dataproduct_type"] in IMAGES for row in sky.rows.values())
    for row in table.to_table():
        made = sky.rows[str(row["obs_publisher_did"]).partition("?")[2]]
        axes = [100, 80, 7] if made["dataproduct_type"] == "cube" else [100, 80]
        assert row["naxes"] == len(axes) and list(row["naxis"]) == axes
        assert list(row["scale"]) == pytest.approx([0.5 / 3600] * 2)


def test_formats_are_kinds_or_media_types(sky: Sky) -> None:
    everywhere = {"POS": "0,0", "SIZE": "360"}
    everything = sky.found(PATH, **everywhere)
    for text in ("ALL", "all", "image/fits", "image/png,image/fits", "", " "):
        assert sky.found(PATH, FORMAT=text, **everywhere) == everything, text
    for text in ("GRAPHIC", "GRAPHIC-jpeg", "image/png"):
        assert not sky.found(PATH, FORMAT=text, **everywhere)


def test_metadata_tells_inputs_and_outputs_and_no_rows(sky: Sky) -> None:
    result = document(sky, FORMAT="METADATA").resources[0]
    params = {param.name: param for param in result.params} | {p.name: p for p in result.tables[0].params}
    assert {"INPUT:POS", "INPUT:SIZE", "INPUT:INTERSECT", "INPUT:FORMAT"} <= set(params)
    assert params["OUTPUT:access_url"].ucd == "VOX:Image_AccessReference"
    assert len(result.tables[0].array) == 0


@pytest.mark.parametrize(
    "parameters",
    [{}, {"POS": "1,1"}, {"SIZE": "1"}, {"POS": "1", "SIZE": "1"}, {"POS": "1,91", "SIZE": "1"},
     {"POS": "1,1", "SIZE": "-1"}, {"POS": "1,1", "SIZE": "1,2,3"}, {"POS": "1,1", "SIZE": "1,200"},
     {"POS": "1,1", "SIZE": "x"}, {"POS": "1,1", "SIZE": "1", "INTERSECT": "TOUCHES"},
     {"POS": "1,1", "SIZE": "1", "FORMAT": "paper"}],
)  # fmt: skip
def test_a_wrong_or_missing_value_is_told(sky: Sky, parameters: dict[str, str]) -> None:
    assert any(name in complaint(sky, **parameters) for name in ("POS", "SIZE", "INTERSECT", "FORMAT"))
