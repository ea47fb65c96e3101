"""A search as a page reads it, and the ADQL that means it."""

from datetime import date
from urllib.parse import parse_qsl

import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from archive.portal.search import FACETS, ORDERS, SHOWN, Place, Search, mjd
from archive.vo.errors import UsageError
from tap.adql.parser import parse

texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40).filter(
    lambda t: t.strip() == t
)
dates = st.dates(date(1900, 1, 1), date(2100, 1, 1))
searches = st.builds(
    Search,
    text=texts,
    place=st.none() | st.builds(Place, texts, st.floats(0, 360), st.floats(-90, 90), st.just("test")),
    radius_deg=st.floats(1e-4, 180),
    since=st.none() | dates,
    chosen=st.dictionaries(
        st.sampled_from([facet.name for facet in FACETS if not facet.is_number]),
        st.lists(texts, min_size=1, max_size=3, unique=True).map(tuple),
    ),
    order=st.sampled_from(["", *ORDERS]),
    page=st.integers(1, 1000),
)


@given(searches)
def test_whatever_is_typed_and_chosen_is_a_query_and_never_more_than_a_value_of_it(search: Search) -> None:
    tree = parse(search.adql(top=50, offset=100))
    assert len(tree.body.items) == len(SHOWN)  # type: ignore[attr-defined]
    for facet in FACETS:
        parse(search.facet_adql(facet, 1000))
    parse(search.count_adql(1000))


@given(searches)
def test_a_pages_address_says_all_of_its_search(search: Search) -> None:
    again = Search.from_items(parse_qsl(search.query(page=search.page)))
    assert sorted(parse_qsl(again.query())) == sorted(parse_qsl(search.query()))
    assert again.page == search.page
    assert again.chosen == search.chosen
    assert abs(again.radius_deg / search.radius_deg - 1) < 1e-5


@given(dates)
def test_days_are_those_of_astropy(day: date) -> None:
    assert mjd(day) == Time(day.isoformat(), scale="utc").mjd


def test_a_value_that_is_chosen_twice_is_not_chosen() -> None:
    once = Search.from_items(parse_qsl(Search().toggled("type", "image")))
    assert once.chosen == {"type": ("image",)}
    assert Search.from_items(parse_qsl(once.toggled("type", "image"))).is_empty


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([("radius", "nan")], "radius takes degrees"),
        ([("radius", "181")], "radius takes degrees"),
        ([("from", "yesterday")], "from takes a date"),
        ([("from", "2020-02-01"), ("to", "2020-01-01")], "the first date is the later one"),
        ([("page", "0")], "page takes a number"),
        ([("q", "x" * 201)], "is no name"),
        ([("type", f"t{number}") for number in range(51)], "50 are taken at once"),
    ],
)
def test_what_makes_no_sense_is_told(items: list[tuple[str, str]], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Search.from_items(items)


def test_a_level_that_is_no_number_is_told() -> None:
    with pytest.raises(UsageError, match="level takes numbers"):
        Search.from_items([("level", "2) OR (1=1")]).adql()


def test_the_last_day_of_the_calendar_is_a_day() -> None:
    assert "t_min < 2973484" in Search.from_items([("to", "9999-12-31")]).adql()
