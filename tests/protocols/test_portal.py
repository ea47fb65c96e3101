"""A person at the portal (journey vi), in a real browser, on the demo's sky."""

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvo
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from archive.portal import vendor
from archive.portal.vendor import NpmPackage
from tests.live import ROOT, Live
from tests.protocols.browser import Tab, browser, context, tab

__all__ = ["browser", "context", "tab"]
pytestmark = pytest.mark.parametrize("live", ["embedded"], indirect=True)

AXE = NpmPackage(
    "axe-core",
    "4.14.1",
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ("axe.min.js",),
)
DATASET = "/datasets/high-energy/puppisA_erosita.fits.gz"
PAGES = (
    "/",
    "/search",
    "/search?q=M+31&type=image",
    DATASET,
    "/collections/radio",
    "/connect",
    "/docs",
    "/datasets/none",
)
FOOTPRINT = (0xE0, 0xA4, 0x3A)  # sky.js


def shown_ids(tab: Tab) -> list[str]:
    return tab.page.eval_on_selector_all("tr[data-id]", "rows => rows.map(row => row.dataset.id)")


def test_from_the_front_page_to_the_bytes_of_a_file(tab: Tab) -> None:
    page = tab.go("/")
    page.fill("#q", "Puppis A")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=Puppis*")
    tab.wait_for_sky()
    page.click(".facet:has-text('Image')")
    page.wait_for_url("**type=image**")
    page.click("tr[data-id='high-energy/puppisA_erosita.fits.gz'] td.what a")
    page.wait_for_url(f"**{DATASET}")
    with page.expect_download() as begun:
        page.click("#download")
    fetched = Path(begun.value.path()).read_bytes()
    original = (ROOT / "demo/data/high-energy/puppisA_erosita.fits.gz").read_bytes()
    assert hashlib.sha256(fetched).digest() == hashlib.sha256(original).digest()
    assert begun.value.suggested_filename == "puppisA_erosita.fits.gz"


def test_table_facets_and_sky_stay_in_step(tab: Tab) -> None:
    page = tab.go("/search")
    tab.wait_for_sky()
    everything = len(shown_ids(tab))
    for facet, least in (("Image", 15), ("Cube", 1)):
        count = page.locator(f".facet:has-text('{facet}') .n").first.inner_text()
        page.click(f".facet:has-text('{facet}')")
        page.wait_for_selector(f".facet[aria-checked=true]:has-text('{facet}')")
        assert int(count) >= least
    ids = shown_ids(tab)
    assert 0 < len(ids) < everything
    assert page.inner_text("#count").startswith(f"{len(ids)} data sets")
    drawn = page.locator("tr[data-region]:not([data-region=''])").count()
    whole_sky = page.locator("tr[data-region$=' 180']").count()
    assert int(page.get_attribute("#sky", "data-shown") or 0) == drawn - whole_sky
    page.go_back()
    page.wait_for_selector(".facet[aria-checked=false]:has-text('Cube')")
    assert len(shown_ids(tab)) < len(ids), "one facet's values are alternatives: without cubes there are fewer"


def test_the_page_and_its_adql_find_the_same(tab: Tab, live: Live) -> None:
    for path in ("/search", "/search?q=83.63+22.01&radius=3&order=target",
                 "/search?type=spectrum&from=2010-01-01&to=2012-12-31"):  # fmt: skip
        page = tab.go(path)
        adql = page.locator(".copyable", has_text="ADQL").locator("code").first.text_content()
        found = pyvo.dal.TAPService(f"{live.url}/tap").search(adql)
        assert [str(each) for each in found["dp_id"]] == shown_ids(tab), path
        assert len(found) > 0, path


def test_what_a_page_says_to_type_works_as_it_is(tab: Tab, tmp_path: Path) -> None:
    page = tab.go("/search?collection=radio&q=M17SW")
    page.click(".asked summary")
    search = dict(zip(*copyables(tab), strict=True))
    ids = shown_ids(tab)
    page = tab.go("/datasets/radio/m17sw_alma_unittest.fits")
    dataset = dict(zip(*copyables(tab), strict=True))
    found = python(f'{search["pyvo"]}\nprint(*found["dp_id"], sep="\\n")')
    assert found.decode().split() == ids == ["radio/m17sw_alma_unittest.fits"]
    rows = subprocess.run(["bash", "-c", search["curl"]], capture_output=True, check=True).stdout.decode().splitlines()
    assert [row.split(",")[0] for row in rows[1:]] == ids
    original = (ROOT / "demo/data/radio/m17sw_alma_unittest.fits").read_bytes()
    assert python(f"{dataset['pyvo']}\nimport sys; sys.stdout.buffer.write(data)") == original
    subprocess.run(["bash", "-c", dataset["curl"]], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "m17sw_alma_unittest.fits").read_bytes() == original


def copyables(tab: Tab) -> tuple[list[str], list[str]]:
    return tab.page.locator(".copyable h3").all_text_contents(), tab.page.locator(".copyable code").all_text_contents()


def python(text: str) -> bytes:
    return subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout


def test_without_scripts_the_search_is_the_same(browser: Browser, live: Live, tab: Tab) -> None:
    plain = browser.new_context(java_script_enabled=False)
    try:
        page = plain.new_page()
        page.goto(f"{live.url}/search?q=Veil&radius=1")
        without = page.locator("tr[data-id] td.what a").all_inner_texts()
        page.click(".facet:has-text('Image')")
        assert "type=image" in page.url
        assert page.locator(".facet[aria-checked=true]").count() == 1
    finally:
        plain.close()
    tab.go("/search?q=Veil&radius=1")
    assert tab.page.locator("tr[data-id] td.what a").all_inner_texts() == without != []


def test_a_name_is_completed_and_found_in_a_catalogue(tab: Tab) -> None:
    page = tab.go("/")
    page.locator("#q").press_sequentially("ngc 22")
    page.wait_for_selector("#known option:nth-child(5)", state="attached")
    page.fill("#q", "M31")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=M31")
    told = page.inner_text("#count")
    assert "00ʰ 42ᵐ 44.3" in told  # NED: 00h42m44.35s +41d16m08.6s
    assert "+41° 16′" in told


def test_the_header_of_a_dataset_is_searched_as_one_types(tab: Tab) -> None:
    page = tab.go("/datasets/EFOSC.2022-01-28T05:05:25.843")
    page.fill("#card", "exptime")
    page.wait_for_selector("#header span:has-text('of')")
    rows = page.locator("table.header tbody tr:visible")
    assert rows.count() >= 1
    assert all("exptime" in text.lower() for text in rows.all_inner_texts())


def test_what_the_map_shows_can_be_searched(tab: Tab) -> None:
    page = tab.go("/search?q=83.63+22.01&radius=1")
    tab.wait_for_sky()
    page.click("#here")
    page.wait_for_url(re.compile("radius=1.3"))
    assert "by coordinates" in page.inner_text("#count")


def test_keys_alone_narrow_a_search(tab: Tab) -> None:
    page = tab.go("/search")
    tab.wait_for_sky()
    page.locator(".facet").first.focus()
    page.keyboard.press("Space")
    page.wait_for_selector(".facet[aria-checked=true]")
    assert page.evaluate("document.activeElement.classList.contains('facet')"), "the focus stays with the facet"


@pytest.mark.parametrize(
    ("scheme", "rules", "pages"),
    [("light", None, PAGES), ("dark", ["color-contrast"], ("/", "/search", DATASET, "/docs"))],
    ids=["light", "dark"],
)
def test_no_page_has_a_serious_fault_of_accessibility(
    browser: Browser, live: Live, scheme: Any, rules: list[str] | None, pages: Sequence[str]
) -> None:
    """All rules by day; by night those that colours can break."""
    vendor.fetch([AXE])
    script = vendor.file_of(AXE, "axe.min.js")
    assert script is not None
    # The policy of the pages lets no script in that is not theirs.
    opened = browser.new_context(color_scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    try:
        page = opened.new_page()
        for path in pages:
            page.goto(f"{live.url}{path}")
            page.add_script_tag(path=script)
            # What Aladin Lite draws is not ours to mend.
            found = page.evaluate("rules => axe.run({exclude: [['#sky']]}, rules ? {runOnly: rules} : {})", rules)
            serious = [
                f"{path}: {each['id']}: {each['nodes'][0]['html'][:200]}"
                for each in found["violations"]
                if each["impact"] in ("serious", "critical")
            ]
            assert serious == []
            assert len(found["passes"]) > (0 if rules else 10)
    finally:
        opened.close()


def test_every_page_fits_a_telephone(browser: Browser, live: Live) -> None:
    opened = browser.new_context(viewport={"width": 400, "height": 800})
    try:
        page = opened.new_page()
        for path in PAGES:
            page.goto(f"{live.url}{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 400, path
    finally:
        opened.close()


# The query page


def ask(page: Page, query: str, button: str) -> None:
    """Type a query into the editor and press a button."""
    page.wait_for_selector("#ask[data-editor=ready]")
    page.click(".cm-content")
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(query)
    page.click(button)


def answered(page: Page) -> list[list[str]]:
    page.wait_for_selector("#answer td")
    return page.eval_on_selector_all(
        "#answer tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )


def test_a_query_is_answered_as_a_table_that_can_be_sorted_and_on_the_sky(tab: Tab, live: Live) -> None:
    page = tab.go("/query")
    query = "SELECT TOP 40 name, ra_deg, dec_deg, v_mag FROM cat.openngc_ngc WHERE v_mag IS NOT NULL ORDER BY v_mag"
    ask(page, query, "#run")
    rows = answered(page)
    found = pyvo.dal.TAPService(f"{live.url}/tap").search(query)
    assert [row[0] for row in rows] == [str(name) for name in found["name"]]
    assert [float(row[1]) for row in rows] == pytest.approx(list(found["ra_deg"]))
    page.click("#answer th:nth-child(3) button")
    decs = [float(row[2]) for row in answered(page)]
    assert decs == sorted(float(dec) for dec in found["dec_deg"])
    page.wait_for_selector("#sky[data-ready=true]")
    assert page.get_attribute("#sky", "data-shown") == "40"


def test_a_job_is_run_and_its_result_shown(tab: Tab) -> None:
    page = tab.go("/query")
    ask(page, "SELECT COUNT(*) AS n FROM cat.tycho2_vt9_8", "#run-async")
    assert answered(page) == [["231224"]]
    assert "COMPLETED" in page.inner_text("#state")


def test_tables_and_columns_are_completed(tab: Tab) -> None:
    page = tab.go("/query")
    page.wait_for_selector("#ask[data-editor=ready]")
    page.click(".cm-content")
    page.keyboard.press("Control+a")
    page.keyboard.type("SELECT * FROM ivoa.obs")
    page.wait_for_selector(".cm-tooltip-autocomplete li:has-text('obscore')")


def test_an_answer_is_downloaded_in_the_form_that_was_chosen(tab: Tab) -> None:
    page = tab.go("/query?adql=SELECT+TOP+2+dp_id+FROM+ivoa.obscore+ORDER+BY+dp_id")
    page.wait_for_selector("#ask[data-editor=ready]")
    page.select_option("#format", "text/csv;header=present")
    with page.expect_download() as begun:
        page.click("button[type=submit]")
    assert Path(begun.value.path()).read_text().splitlines()[0] == "dp_id"


def test_a_mistake_is_told_with_its_place_and_the_cursor_goes_there(browser: Browser, live: Live) -> None:
    opened = browser.new_context()
    try:
        page = opened.new_page()
        page.goto(f"{live.url}/query")
        ask(page, "SELECT dp_id\nFORM ivoa.obscore", "#run")
        assert "line 2, column 6" in page.inner_text("#problem pre")
        assert "did you mean FROM for FORM" in page.inner_text("#problem pre")
        page.keyboard.insert_text("!")
        assert page.inner_text(".cm-content").splitlines()[-1] == "FORM !ivoa.obscore"
    finally:
        opened.close()


# What Aladin Lite shows, against a rendering of our own of the very files that the HiPS were made of


def picture_of_sky(tab: Tab) -> NDArray[np.float64]:
    """What is seen in the map's place: shape (height, width, 3)."""
    tab.wait_for_sky()
    tab.page.wait_for_timeout(4_000)  # tiles come and are faded in; the canvas tells nobody
    return np.asarray(Image.open(io.BytesIO(tab.page.locator("#sky").screenshot())).convert("RGB"), dtype=float)


def tangent_plane(shape: tuple[int, int], ra: float, dec: float, fov_deg: float) -> WCS:
    """The map's pixels: a gnomonic projection as wide as the field of view."""
    height, width = shape
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [width / 2 + 0.5, height / 2 + 0.5]
    scale = np.degrees(2 * np.tan(np.radians(fov_deg) / 2)) / width
    wcs.wcs.cdelt = [-scale, -scale]  # rows run downwards on a screen
    return wcs


@pytest.mark.parametrize(
    ("survey", "source", "ra", "dec", "radius"),
    [
        ("WHAM: the sky in H-alpha", "all-sky/wham_halpha_int_car.fits.gz", 84.0, -3.0, 15.0),
        ("Puppis A in X-rays", "high-energy/puppisA_erosita.fits.gz", 125.56, -42.96, 0.3),
    ],
)
def test_aladin_lite_shows_the_hips_as_the_images_are(
    tab: Tab, survey: str, source: str, ra: float, dec: float, radius: float
) -> None:
    tab.go(f"/search?q={ra}+{dec}&radius={radius}")
    tab.wait_for_sky()
    tab.page.select_option("#survey", label=survey)
    seen = picture_of_sky(tab)
    with fits.open(ROOT / "demo/data" / source) as hdus:
        hdu = next(hdu for hdu in hdus if hdu.data is not None)
        data, image = np.squeeze(np.asarray(hdu.data, dtype=float)), WCS(hdu.header).celestial
    shape = (seen.shape[0], seen.shape[1])
    rows, columns = np.indices(shape)
    sky = tangent_plane(shape, ra, dec, 2.6 * radius).pixel_to_world(columns, rows)
    x, y = (np.rint(each).astype(int) for each in image.world_to_pixel(sky))
    inside = (x >= 0) & (y >= 0) & (x < data.shape[1]) & (y < data.shape[0])
    values = np.where(inside, data[y.clip(0, data.shape[0] - 1), x.clip(0, data.shape[1] - 1)], np.nan)
    is_ours = np.ptp(seen, axis=2) < 12  # the HiPS are grey; footprints and buttons are not
    middle = np.zeros(shape, bool)
    middle[shape[0] // 5 : -shape[0] // 5, shape[1] // 5 : -shape[1] // 5] = True
    used = middle & is_ours & np.isfinite(values)
    assert used.sum() > 20_000
    low, high = np.nanpercentile(values[used], [0.5, 99.5])
    stretched = np.arcsinh(10 * np.clip((values[used] - low) / (high - low), 0, 1))
    assert np.corrcoef(stretched, seen.mean(axis=2)[used])[0, 1] > 0.9


def test_a_footprint_is_drawn_where_the_image_lies(tab: Tab) -> None:
    tab.go(DATASET)
    seen = picture_of_sky(tab)
    region = tab.page.get_attribute("#place", "data-region") or ""
    fov = 2 * float(tab.page.get_attribute("#place", "data-fov") or 0)
    ra, dec = (float(tab.page.get_attribute("#place", f"data-{name}") or "nan") for name in ("ra", "dec"))
    corners = np.array(region.split()[2:], dtype=float).reshape(-1, 2)
    x, y = tangent_plane((seen.shape[0], seen.shape[1]), ra, dec, fov).wcs_world2pix(
        *np.vstack([corners, corners[:1]]).T, 0
    )
    is_line = np.abs(seen - FOOTPRINT).max(axis=2) < 70
    steps = np.linspace(0, 1, 50)
    met = total = 0
    for (x0, x1), (y0, y1) in zip(pairwise(x), pairwise(y), strict=True):
        for column, row in zip(x0 + steps * (x1 - x0), y0 + steps * (y1 - y0), strict=True):
            left, top = round(column), round(row)
            if 3 <= left < seen.shape[1] - 3 and 3 <= top < seen.shape[0] - 3:
                total += 1
                met += bool(is_line[top - 3 : top + 4, left - 3 : left + 4].any())
    assert total > 100
    assert met / total > 0.9
