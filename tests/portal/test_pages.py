"""Pages of a small archive, on both databases: rights, hostile text, and an archive below another site's root."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

import httpx
import pytest
from lxml import html

from archive.access import service as access
from archive.access.rights import Grant
from archive.vo.regions import Circle
from tests.databases import Postgres
from tests.made.holdings import hold
from tests.served import Served, beside, served

TOMORROW = datetime.now(UTC) + timedelta(days=1)
ODD = "surveys/it's <b>& %"
HOSTILE = "<script>alert('x')</script>\" onload=\"y"


@pytest.fixture(scope="module")
def archive(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(postgres, tmp_path_factory.mktemp("portal"), portal__page_rows=2, portal__look_again_s=0) as made:
        writer = made.archive.engines.writer
        image = {
            "dataproduct_type": "image",
            "s_region": Circle(10.0, 20.0, 0.2),
            "s_ra": 10.0,
            "s_dec": 20.0,
            "s_fov": 0.4,
        }
        with writer.begin() as connection:
            for number in range(5):
                hold(
                    connection,
                    f"p/open{number}.fits",
                    f"{number}".encode(),
                    **image,
                    target_name="M 31",
                    t_min=55_000.0 + number,
                )
            hold(
                connection,
                "p/closed.fits",
                b"c",
                rights="proprietary",
                release_date=TOMORROW,
                **image,
                target_name="Closed",
            )
            hold(
                connection, "p/secret.fits", b"s", rights="secure", release_date=TOMORROW, **image, target_name="Secret"
            )
            hold(connection, "p/it's <b>& %.fits", b"h", **image, target_name=HOSTILE, obs_collection=ODD)
            hold(connection, "p/calibration.fits", b"k", kind="mcalib", header=[])
        access.add_user(writer, "tycho")
        access.add_grant(writer, Grant("user:tycho", "all", "", "data", None, None), granted_by="test")
        yield made


def got(archive: Served, path: str, status: int = 200, **headers: str) -> html.HtmlElement:
    answer = httpx.get(f"{archive.url}{path}", headers=headers, timeout=60)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return html.fromstring(answer.text)


def listed(page: html.HtmlElement) -> list[str]:
    return [row.get("data-id") for row in page.iterfind(".//tr[@data-id]")]


def test_what_is_proprietary_is_shown_and_what_is_secret_is_not(archive: Served) -> None:
    assert "p/closed.fits" in listed(got(archive, "/search?q=Closed"))
    assert listed(got(archive, "/search?q=Secret")) == []
    page = got(archive, "/datasets/p/closed.fits")
    assert page.find(".//a[@id='download']") is None
    assert "proprietary until" in page.text_content()
    got(archive, "/datasets/p/secret.fits", 404)
    token = access.create_token(archive.archive.engines.writer, "tycho").text
    page = got(archive, "/datasets/p/closed.fits", Authorization=f"Bearer {token}")
    assert page.find(".//a[@id='download']").get("href") == "/files/p/closed.fits"


def test_hostile_text_is_only_text(archive: Served) -> None:
    for path in ("/", "/search?q=10+20&radius=1", f"/search?{urlencode({'q': HOSTILE})}", f"/collections/{quote(ODD)}"):
        page = got(archive, path)
        assert HOSTILE in page.text_content() or HOSTILE in page.xpath("//input[@id='q']/@value"), path
        assert all(script.get("src") and not script.text for script in page.iter("script")), path
        assert page.xpath("//@*[starts-with(name(), 'on')]") == [], path
    page = got(archive, "/datasets/p/it%27s%20%3Cb%3E%26%20%25.fits")
    assert page.findtext(".//h1") == HOSTILE
    assert page.find(".//a[@id='download']").get("href") == "/files/p/it%27s%20%3Cb%3E%26%20%25.fits"


def test_a_collection_of_any_name_has_its_page(archive: Served) -> None:
    (link,) = got(archive, "/").xpath("//section[@id='collections']//a[contains(text(), 'surveys/')]/@href")
    page = got(archive, link)
    assert page.findtext(".//h1") == ODD
    (found,) = page.xpath("//a[@class='button']/@href")
    assert listed(got(archive, found)) == ["p/it's <b>& %.fits"]


def test_pages_follow_each_other_without_a_gap(archive: Served) -> None:
    found: list[str] = []
    path = "/search?q=10+20&radius=1&order=observed"
    while path:
        page = got(archive, path)
        found += listed(page)
        following = page.find(".//a[@rel='next']")
        path = following.get("href") if following is not None else ""
    assert len(found) == len(set(found)) == 7
    assert found[:5] == [f"p/open{number}.fits" for number in (4, 3, 2, 1, 0)]


def test_a_calibration_has_its_header_for_a_page(archive: Served) -> None:
    answer = httpx.get(f"{archive.url}/datasets/p/calibration.fits", follow_redirects=False, timeout=60)
    assert (answer.status_code, answer.headers["location"]) == (303, "/headers/p/calibration.fits")


def test_mistakes_are_told_on_a_page(archive: Served) -> None:
    assert "radius takes degrees" in got(archive, "/search?radius=north", 400).text_content()
    assert "there is no data set" in got(archive, "/datasets/nothing", 404).text_content()
    assert "there is no collection" in got(archive, "/collections/none", 404).text_content()
    assert "There are 4 pages" in got(archive, "/search?page=10").text_content()


def test_the_page_of_a_fault_of_ours_names_the_request(archive: Served) -> None:
    def broken() -> None:
        raise KeyError("gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive.archive.published, "tables", broken)
        answer = httpx.get(f"{archive.url}/", timeout=60)
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in html.fromstring(answer.text).findtext(".//p[@class='lead']")


def test_what_no_route_answers_is_a_page_for_browsers_alone(archive: Served) -> None:
    browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    assert "Not here" in got(archive, "/nowhere", 404, Accept=browser).text_content()
    java = {"Accept": "text/html, image/gif, image/jpeg, */*; q=0.2"}
    assert (
        httpx.get(f"{archive.url}/nowhere", headers=java, timeout=60).headers["content-type"].startswith("text/plain")
    )


def test_a_door_has_a_page_for_people_and_browsers_find_an_icon_beside_it(archive: Served) -> None:
    page = got(archive, "/tap", Accept="text/html")
    assert page.findtext(".//h1") == "Table Access Protocol"
    assert page.findtext(".//code") == f"{archive.archive.settings.public_url}/tap"
    assert httpx.get(f"{archive.url}/favicon.ico", timeout=60).headers["content-type"].startswith("image/svg+xml")


def test_resolver_names_and_coverage_are_for_everybody(archive: Served) -> None:
    found = httpx.get(f"{archive.url}/resolve", params={"name": "messier 031"}, timeout=60).json()
    assert found["places"] == [{"name": "M 31", "ra": 10.0, "dec": 20.0, "source": "targets of this archive"}]
    assert httpx.get(f"{archive.url}/resolve", params={"name": "Secret"}, timeout=60).status_code == 404
    assert [each["name"] for each in httpx.get(f"{archive.url}/names?prefix=cl", timeout=60).json()] == ["Closed"]
    moc = httpx.get(f"{archive.url}/coverage?format=json", timeout=60).json()
    assert moc
    assert httpx.get(f"{archive.url}/coverage?format=ascii&collection=none", timeout=60).text.strip() in ("", "8/")


def test_below_another_sites_root_every_address_has_its_place(archive: Served) -> None:
    with beside(archive, server__public_url="https://observatory.example/archive") as other:
        for path in ("/", "/search?q=10+20", "/datasets/p/open1.fits", "/collections/made", "/connect", "/docs"):
            page = got(other, path)
            addresses = page.xpath("//@href | //@src | //@action | //@data-url | //@data-root")
            assert len(addresses) > 10
            assert all(address.startswith(("/archive", "#")) for address in addresses), (path, addresses)
