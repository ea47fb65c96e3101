"""A SIA 2 search over HTTP against the same SQL asked of PostgreSQL directly, in one run: `python benchmarks/sia.py`.

Floor: the statement that the archive makes of the request, by psycopg as the reader role, rows fetched in binary. The
two take turns. Of 20,000 made images all over the sky each search finds two or three: POS a circle of 1 degree, BAND.
"""

import argparse
import random
from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

import numpy as np
from helpers import SEED, Client, in_turns, served, show_turns
from sqlalchemy import insert, select

from archive.app.opened import OpenedArchive
from archive.discovery import sia
from archive.holdings.running import Statement
from archive.holdings.tables import arc
from archive.vo.dali import Parameters
from archive.vo.regions import Polygon
from tests.made.holdings import hold
from uraniborg import discovery_service

RADIUS_DEG = 1.0
SIDE_DEG = 0.5
Search = dict[str, str]


def hold_images(archive: OpenedArchive, count: int) -> None:
    """Images half a degree wide, anywhere: all but place and time as of one that was held in the usual way."""
    rng = np.random.default_rng(SEED)
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-0.99, 0.99, count)))
    mjd = rng.uniform(50_000, 60_000, count)
    with archive.engines.begin("writer") as connection:
        hold(connection, "made/0.fits", em_min=4e-7, em_max=7e-7, t_exptime=60.0, s_fov=0.7, instrument_name="sextant")
        row = dict(connection.execute(select(arc.file)).mappings().one())
        connection.execute(
            insert(arc.file),
            [row | one(number, *place) for number, place in enumerate(zip(ra, dec, mjd, strict=True), 1)],
        )


def one(number: int, ra: float, dec: float, mjd: float) -> dict[str, object]:
    """What tells one made image from the others."""
    half = SIDE_DEG / 2
    wide = half / np.cos(np.radians(dec))
    corners = ((ra - wide, dec - half), (ra + wide, dec - half), (ra + wide, dec + half), (ra - wide, dec + half))
    text = " ".join(f"{lon % 360} {lat}" for lon, lat in corners)
    return {
        "file_id": f"made/{number}.fits",
        "file_id_encoded": f"made/{number}.fits",
        "obs_publisher_did": f"ivo://uraniborg.invalid/ID?made/{number}.fits",
        "obs_id": f"made/{number}",
        "object_key": f"made-{number}",
        "s_ra": float(ra),
        "s_dec": float(dec),
        "s_region": Polygon.from_dali(text).normalised().as_array(),
        "t_min": float(mjd),
        "t_max": float(mjd) + 60 / 86_400,
    }


def searches(count: int) -> list[Search]:
    """What is asked, all over the sky."""
    random_ = random.Random(SEED)
    return [
        {
            "POS": f"CIRCLE {random_.uniform(0, 360)} {random_.uniform(-70, 70)} {RADIUS_DEG}",
            "BAND": "500e-9 600e-9",
        }
        for _ in range(count)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--searches", type=int, default=300)
    chosen = parser.parse_args()
    with served(0, web_workers=2, fill=partial(hold_images, count=chosen.images)) as bench:
        service = discovery_service(bench.archive)
        limit = service.limits.default_maxrec + 1
        client = Client(bench)
        found = []
        with bench.reader() as reader:
            cursor = reader.cursor(binary=True)

            def ask(statement: Statement) -> None:
                found.append(len(cursor.execute(statement.sql.encode(), statement.parameters).fetchall()))
                reader.rollback()

            def ways(search: Search) -> dict[str, Callable[[], object]]:
                asked = Parameters(search.items())
                return {
                    "raw SQL": partial(ask, sia.statement(service.sia, asked, bench.archive.sphere, limit)),
                    "in process": lambda: b"".join(service.images(asked, bench.live.url).open()),
                    "HTTP": partial(client.get, f"/sia2/query?{urlencode(search)}"),
                }

            spent = in_turns(ways, searches(chosen.searches))
    show_turns(
        f"SIA 2: a circle of {RADIUS_DEG} deg and a band, {chosen.images} images, {sum(found) / len(found):.1f} found, "
        f"{chosen.searches} searches, 1 client",
        spent,
    )


if __name__ == "__main__":
    main()
