"""A made archive for discovery: images, cubes and spectra whose values are known here, with gaps; and stars."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from archive.database.roles import RoleNames
from archive.holdings import catalogues
from archive.vo.regions import Polygon, from_array
from tests.contracts import sky_oracle
from tests.databases import Postgres
from tests.made.catalogue import star_table, stars
from tests.made.holdings import hold
from tests.served import Served, served

TABLE = "cat.stars"
STARS = 3_000
PAIRS = sky_oracle.random_pairs(seed=20_261_123, count=160)
FOOTPRINTS = [(array, body) for array, _, body, _ in PAIRS if len(array) == 3 or len(array) >= 6][:50]
QUESTIONS = [(array, body) for _, array, _, body in PAIRS if len(array) >= 3]


@dataclass(frozen=True, repr=False)
class Sky:
    """served: the archive; rows: what was put in, by file_id; bodies: its footprints as the oracle has them."""

    served: Served
    rows: dict[str, dict[str, Any]]
    bodies: dict[str, sky_oracle.Body]

    def ask(self, path: str, **parameters: Any) -> httpx.Response:
        return httpx.get(f"{self.served.url}{path}", params=parameters, timeout=60)

    def found(self, path: str, **parameters: Any) -> set[str]:
        """file_ids of the rows that a search gives, by the end of their publisher DIDs."""
        answer = self.ask(path, RESPONSEFORMAT="csv", **parameters)
        assert answer.status_code == 200, answer.text
        header, *lines = answer.text.splitlines()
        assert "ERROR" not in answer.text, answer.text
        place = header.split(",").index("obs_publisher_did")
        return {line.split(",")[place].partition("?")[2] for line in lines}


def _maybe(rng: np.random.Generator, value: Any) -> Any:
    return None if rng.random() < 0.2 else value


def made_rows() -> tuple[dict[str, dict[str, Any]], dict[str, sky_oracle.Body]]:
    rng = np.random.default_rng(20_261_122)
    rows: dict[str, dict[str, Any]] = {}
    bodies = {}
    kinds = ["image"] * 30 + ["cube"] * 10 + ["spectrum"] * 10
    for number, (kind, (array, body)) in enumerate(zip(kinds, FOOTPRINTS, strict=True)):
        name = f"made/{number:03d}.fits"
        region = from_array(array)
        t_min, em_min = float(rng.integers(55_000, 55_040)), float(rng.integers(1, 20)) * 1e-7
        has_time, has_band = rng.random() > 0.2, rng.random() > 0.2
        ra, dec = (float(x) for x in sky_oracle.degrees_of(body.centre))
        rows[name] = {
            "dataproduct_type": kind,
            "s_region": region.normalised() if isinstance(region, Polygon) else region,
            "s_ra": ra % 360,
            "s_dec": dec,
            "t_min": t_min if has_time else None,
            "t_max": t_min + float(rng.integers(0, 6)) if has_time else None,
            "em_min": em_min if has_band else None,
            "em_max": em_min + float(rng.integers(0, 5)) * 1e-7 if has_band else None,
            "s_fov": _maybe(rng, float(rng.integers(1, 9)) / 4),
            "s_resolution": _maybe(rng, float(rng.integers(1, 9)) / 4),
            "em_res_power": _maybe(rng, float(rng.integers(1, 9)) * 1000),
            "t_exptime": _maybe(rng, float(rng.integers(1, 9)) * 60),
            "t_resolution": _maybe(rng, float(rng.integers(1, 9))),
            "pol_states": _maybe(rng, str(rng.choice(["/I/", "/I/Q/U/V/", "/POLI/", "/XX/YY/"]))),
            "calib_level": int(rng.integers(1, 4)),
            "obs_collection": str(rng.choice(["Deep", "deep", "Wide % field"])),
            "facility_name": _maybe(rng, "Stjerneborg"),
            "instrument_name": _maybe(rng, str(rng.choice(["sextant", "Quadrant"]))),
            "target_name": _maybe(rng, str(rng.choice(["SN 1572", "C/1577 V1"]))),
            "snr": _maybe(rng, float(rng.integers(1, 100))),
            "s_xel1": None if kind == "spectrum" else 100,
            "s_xel2": None if kind == "spectrum" else 80,
            "s_pixel_scale": None if kind == "spectrum" else 0.5,
            "em_xel": 7 if kind == "cube" else None,
        }  # fmt: skip
        bodies[name] = body
    return rows, bodies


@contextmanager
def made_sky(postgres: Postgres, folder: Path) -> Iterator[Sky]:
    rows, bodies = made_rows()
    with served(postgres, folder, discovery__default_maxrec=2000) as archive:
        with archive.archive.engines.begin("writer") as connection:
            for name, values in rows.items():
                hold(connection, name, **values)
            hold(connection, "made/secret.fits", rights="secure", s_ra=1.0, s_dec=1.0, t_min=1.0, t_max=2.0)
            tomorrow = datetime(2999, 1, 1, tzinfo=UTC)
            hold(connection, "made/later.fits", rights="proprietary", release_date=tomorrow, calib_level=0)
            catalogues.create(
                connection,
                star_table(TABLE, STARS),
                stars(STARS, seed=7),
                archive.archive.sphere,
                reader=RoleNames().reader,
                file_id="made/stars",
            )
        yield Sky(archive, rows, bodies)
