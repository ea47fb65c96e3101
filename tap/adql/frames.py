"""Frames of ivo_geom_transform (terms of the IVOA vocabulary refframe): rotations between them, by astropy."""

from functools import lru_cache

from archive.vo.errors import UsageError
from tap.adql.mistakes import did_you_mean

# The vocabulary's terms, and the frames of astropy that they are. FK4 is left out: with its terms of aberration it is
# no rotation.
FRAMES = {
    "ICRS": "icrs",
    "FK5": "fk5",
    "GALACTIC": "galactic",
    "SUPER_GALACTIC": "supergalactic",
    "ECLIPTIC": "barycentricmeanecliptic",
}


@lru_cache(maxsize=64)
def rotation(start: str, end: str) -> tuple[float, ...]:
    """The matrix, row by row, that turns unit vectors of one frame into those of another. UsageError: no such frame."""
    # astropy.coordinates takes half a second to import; queries that stay in ICRS do not wait for it.
    from astropy.coordinates import SkyCoord

    for name in (start, end):
        if name.upper() not in FRAMES:
            raise UsageError(f"{name!r} is no frame here ({', '.join(FRAMES)}){did_you_mean(name, FRAMES)}")
    axes = SkyCoord([0.0, 90.0, 0.0], [0.0, 0.0, 90.0], unit="deg", frame=FRAMES[start.upper()])
    turned = axes.transform_to(FRAMES[end.upper()]).cartesian.xyz.value
    return tuple(float(number) for number in turned.ravel())
