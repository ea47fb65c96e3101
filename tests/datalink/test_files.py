"""Files in parts and under conditions, held to RFC 9110: no client ever puts a wrong file together."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archive.holdings.queries import HeldFile
from datalink.files import answer
from storage.web.conditional import disposition

ARRIVED = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
DATE = "Wed, 04 Mar 2026 05:06:07 GMT"
BYTES = bytes(range(100))
ETAG = f'"{hashlib.sha256(BYTES).hexdigest()}"'


def held(content: bytes = BYTES, name: str = "a.fits", **changes: Any) -> HeldFile:
    values: dict[str, Any] = {
        "file_id": "x/a.fits", "version": 1, "kind": "product", "obs_publisher_did": "ivo://x/ID?x/a.fits",
        "obs_collection": "x", "proposal_id": None, "dataproduct_type": "image", "instrument_name": None,
        "object_key": "k", "file_name": name, "media_type": "image/fits", "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest(), "arrived": ARRIVED,
        "last_mod": ARRIVED, "release_date": None, "rights": "public", "source": "s", "superseded": False,
    }  # fmt: skip
    return HeldFile(**(values | changes))


def status(method: str = "GET", **headers: str) -> int:
    return answer(held(), {name.replace("_", "-"): value for name, value in headers.items()}, method).status


# ---- ranges


def meant(text: str, size: int) -> tuple[int, int] | str | None:
    """RFC 9110 §14.1.2 in plain words: the bytes (stop excluded), None for the whole, "416" for none."""
    unit, equals, specs = text.strip().partition("=")
    parts = specs.split(",")
    if unit.lower() != "bytes" or not equals or len(parts) != 1 or not re.fullmatch("[0-9]*-[0-9]*", parts[0]):
        return None
    first, last = parts[0].split("-")
    if not first and not last:
        return None
    if not first:
        wanted = list(range(size))[-int(last):] if int(last) else []  # fmt: skip
    elif last and int(last) < int(first):
        return None
    else:
        wanted = [n for n in range(size) if n >= int(first) and (not last or n <= int(last))]
    return (wanted[0], wanted[-1] + 1) if wanted else "416"


positions = st.one_of(st.just(""), st.integers(0, 130).map(str), st.integers(0, 30).map(lambda n: f"00{n}"))
ranges = st.one_of(
    st.builds("{}={}-{}".format, st.sampled_from(["bytes", "Bytes", "items", ""]), positions, positions),
    st.builds("bytes={}-{},{}-{}".format, positions, positions, positions, positions),
    st.text(max_size=12),
)


@settings(deadline=None)
@given(ranges, st.integers(0, 120))
def test_a_range_gives_the_bytes_that_it_names_and_says_so(text: str, size: int) -> None:
    content = bytes(n % 256 for n in range(size))
    got, wanted = answer(held(content), {"range": text}), meant(text, size)
    sent = content[got.start : got.stop]
    if wanted is None:
        assert (got.status, sent) == (200, content)
        assert "content-range" not in got.headers
    elif wanted == "416":
        assert (got.status, sent) == (416, b"")
        assert got.headers["content-range"] == f"bytes */{size}"
    else:
        start, stop = wanted
        assert (got.status, sent) == (206, content[int(start) : int(stop)])
        assert got.headers["content-range"] == f"bytes {start}-{int(stop) - 1}/{size}"
    assert int(got.headers["content-length"]) == len(sent)


@settings(deadline=None)
@given(st.lists(st.integers(0, 100), max_size=5).map(sorted))
def test_a_download_taken_up_again_and_again_is_the_file(cuts: list[int]) -> None:
    edges, whole = [0, *cuts], b""
    for start, stop in zip(edges, [*cuts, 100], strict=True):
        if start < 100 and stop > start:
            got = answer(held(), {"range": f"bytes={start}-{stop - 1}", "if-range": ETAG})
            whole += BYTES[got.start : got.stop]
    assert whole == BYTES


@pytest.mark.parametrize("digits", ["9" * 19, "9" * 5000, "0" * 5000 + "5"])
def test_numbers_of_any_length_are_read(digits: str) -> None:
    got = answer(held(), {"range": f"bytes=0-{digits}"})
    assert got.status == 206
    assert got.stop == (6 if digits.endswith("5") else 100)
    assert answer(held(), {"range": f"bytes=-{digits}"}).start == (95 if digits.endswith("5") else 0)
    assert answer(held(), {"range": f"bytes={digits}-"}).status == (206 if digits.endswith("5") else 416)


def test_a_range_is_for_get_alone() -> None:
    assert status("HEAD", range="bytes=0-1") == 200


def test_if_range_gives_the_whole_file_unless_it_is_still_these_bytes() -> None:
    later, earlier = (format_datetime(ARRIVED + timedelta(days=days), usegmt=True) for days in (1, -1))
    expected = {ETAG: 206, f"W/{ETAG}": 200, '"other"': 200, DATE: 206, later: 200, earlier: 200, "": 200}
    for condition, wanted in expected.items():
        assert status(range="bytes=0-1", if_range=condition) == wanted, condition


# ---- conditions (RFC 9110 §13.2.2: in their order)


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"if_none_match": ETAG}, 304),
        ({"if_none_match": f'"a", W/{ETAG}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"a"'}, 200),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": "Wed, 04 Mar 2026 05:06:06 GMT"}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_none_match": '"a"', "if_modified_since": DATE}, 200),
        ({"if_match": ETAG}, 200),
        ({"if_match": f'"a", {ETAG}'}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"a"'}, 412),
        ({"if_match": f"W/{ETAG}"}, 412),
        ({"if_match": '"a"', "if_none_match": ETAG}, 412),
        ({"if_unmodified_since": DATE}, 200),
        ({"if_unmodified_since": "Wed, 04 Mar 2026 05:06:06 GMT"}, 412),
        ({"if_match": ETAG, "if_unmodified_since": "Wed, 04 Mar 2026 05:06:06 GMT"}, 200),
        ({"if_none_match": ETAG, "range": "bytes=0-1"}, 304),
        ({"if_match": ETAG, "range": "bytes=0-1"}, 206),
    ],
)
def test_conditions_are_weighed_as_the_standard_says(headers: dict[str, str], wanted: int) -> None:
    assert status(**headers) == wanted


@settings(deadline=None)
@given(st.dictionaries(
    st.sampled_from(["range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since"]),
    st.one_of(st.text(st.characters(max_codepoint=255)), st.sampled_from([ETAG, DATE, "bytes=0-5", "*"]),
              st.from_regex(r"(Wed, )?[0-9]{1,2} (Jan|Mar) [0-9]{1,6} [0-9]{1,3}:[0-9]{1,3}(:[0-9]{1,3})? "
                            r"([+-][0-9]{1,9}|GMT|UTC|EST)", fullmatch=True)),
))  # fmt: skip
def test_no_header_brings_it_down_and_what_is_sent_is_what_is_announced(headers: dict[str, str]) -> None:
    got = answer(held(), headers)
    assert got.status in (200, 206, 304, 412, 416)
    assert (got.stop > got.start) == (got.status in (200, 206))
    assert got.headers["etag"] == ETAG
    if got.status != 304:
        assert int(got.headers["content-length"]) == got.stop - got.start


# ---- what else is told


def test_digests_and_dates_are_those_of_the_bytes() -> None:
    headers = answer(held(), {}).headers
    sha256 = base64.b64encode(hashlib.sha256(BYTES).digest()).decode()
    assert f"sha-256=:{sha256}:" in headers["repr-digest"]
    assert headers["last-modified"] == DATE
    assert headers["accept-ranges"] == "bytes"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60))
def test_any_name_survives_the_journey_and_none_ends_the_header(name: str) -> None:
    told = disposition(name)
    assert not re.search(r"[\x00-\x1f\x7f]", told)
    told.encode("latin-1")
    extended = re.search(r"filename\*=UTF-8''(\S+)$", told)
    assert extended is not None
    assert unquote(extended.group(1)) == name
