"""Names by which columns of positions go, where no UCD says it."""

from typing import Literal

Frame = Literal["icrs", "fk5", "fk4", "galactic"]

# Pairs of names, lower case, in the order in which they are tried; the frame where the names tell it.
EQUATORIAL: tuple[tuple[str, str, Frame | None], ...] = (
    ("ra_icrs", "de_icrs", "icrs"), ("raicrs", "deicrs", "icrs"), ("ra_icrs", "dec_icrs", "icrs"),
    ("ra", "dec", None), ("ra", "de", None),
    ("raj2000", "dej2000", None), ("raj2000", "decj2000", None), ("_raj2000", "_dej2000", None),
    ("ra_j2000", "dec_j2000", None), ("ra2000", "dec2000", None), ("ra2000", "de2000", None),
    ("alpha_j2000", "delta_j2000", None), ("alphawin_j2000", "deltawin_j2000", None),
    ("radeg", "dedeg", None), ("radeg", "decdeg", None), ("ra_deg", "dec_deg", None),
    ("target_ra", "target_dec", None), ("s_ra", "s_dec", "icrs"), ("right_ascension", "declination", None),
    ("rightascension", "declination", None), ("_ra", "_de", None), ("ramean", "decmean", None),
    ("rarad", "derad", None), ("rahms", "dedms", None),
    ("rab1950", "deb1950", "fk4"), ("ra1950", "dec1950", "fk4"),
)  # fmt: skip
