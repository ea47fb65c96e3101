"""What people type, and the place it stands for."""

import http.server
import threading
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from archive.portal.names import NameIndex, Names, normalised, position
from archive.portal.sesame import Sesame
from archive.portal.wording import sexagesimal

CRAB = SkyCoord("05h34m31.94s +22d00m52.2s")


@pytest.mark.parametrize(
    "text",
    [
        "83.63308 22.01450", "83.63308, +22.01450", "83.63308d +22.0145d", "05 34 31.94 +22 00 52.2",
        "05:34:31.94 +22:00:52.2",
        "5h34m31.94s +22d00m52.2s", "05 34 31.94, +22 00 52.2", "05h 34m 31.94s +22° 00′ 52.2″", "gal 184.5575 -5.7843",
        "l=184.5575 b=-5.7843",
    ],
)  # fmt: skip
def test_coordinates_in_the_forms_that_people_write(text: str) -> None:
    place = position(text)
    assert place is not None
    assert SkyCoord(place.ra, place.dec, unit="deg").separation(CRAB) < 0.5 * u.arcsec


@pytest.mark.parametrize(
    "text", ["M 31", "NGC 4", "2MASS J0534", "1 2 3", "10 91", "25 00 00 +10 00 00", "1.2.3 4", "l=1 b=91", ""]
)
def test_what_is_no_position_is_a_name(text: str) -> None:
    assert position(text) is None


@given(st.floats(0, 359.999), st.floats(-89.999, 89.999))
def test_a_position_as_a_page_writes_it_is_read_again(ra: float, dec: float) -> None:
    text = sexagesimal(ra, dec).translate(str.maketrans("ʰᵐˢ", "hms"))
    place = position(text)
    assert place is not None
    there = SkyCoord(place.ra, place.dec, unit="deg")
    assert there.separation(SkyCoord(ra, dec, unit="deg")) < 0.1 * u.arcsec  # 0.01 s and 0.1 arcsec, rounded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("M 31", "m031"),
        ("Messier 31", "M31"),
        ("NGC 224", "NGC0224"),
        ("BD+01 2916", "bd+012916"),
        ("alp_Eri", "Alp Eri"),
    ],
)
def test_spellings_of_one_name_are_one(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(("one", "other"), [("J1050+3040", "J1050-3040"), ("M 3", "M 30"), ("NGC 10", "NGC 100")])
def test_names_of_different_objects_stay_different(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@given(st.lists(st.text("abM 01+-", min_size=1, max_size=6), max_size=60), st.text("abM 01+-", min_size=1, max_size=6))
def test_the_index_finds_what_a_search_of_all_names_finds(names: list[str], asked: str) -> None:
    half = len(names) // 2
    number = np.arange(len(names), dtype=float)
    parts = [
        Names("targets", pa.array(names[:half], pa.string()), number[:half], -number[:half] / 10),
        Names("catalogue", pa.array(names[half:], pa.string()), number[half:], -number[half:] / 10),
    ]
    index = NameIndex.made_of(parts)
    key = normalised(asked)
    same = [at for at, name in enumerate(names) if key and normalised(name) == key]
    expected = [min(group) for group in ([at for at in same if at < half], [at for at in same if at >= half]) if group]
    assert [place.ra for place in index.places(asked)] == expected
    begun = {normalised(name) for name in names if key and normalised(name).startswith(key)}
    assert [normalised(place.name) for place in index.beginning_with(asked, 50)] == sorted(begun)[:50]


@pytest.fixture
def resolver() -> Iterator[tuple[str, list[str]]]:
    """A server that answers as Sesame does in its plain text form, and what it was asked."""
    asked: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            known = "Barnard" in self.path
            text = (
                "# Barnard star\n%@ 2\n%J 269.4520749 +4.6933641 = 17 57 48.49  +04 41 36.1\n"
                if known
                else "#!SIMBAD: nothing\n"
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/-oI/SNV", asked
        server.shutdown()


def test_sesame_is_asked_once_for_each_name(resolver: tuple[str, list[str]]) -> None:
    url, asked = resolver
    sesame = Sesame(url, timeout_s=5)
    for _ in range(2):
        (place,) = sesame.places("Barnard's star")
        assert (place.ra, place.dec, place.source) == (269.4520749, 4.6933641, "Sesame")
        assert sesame.places("no such thing") == []
    assert asked == ["/-oI/SNV?Barnard%27s%20star", "/-oI/SNV?no%20such%20thing"]


def test_a_resolver_that_does_not_answer_knows_nothing() -> None:
    assert Sesame("http://127.0.0.1:9", timeout_s=1).places("M 31") == []
