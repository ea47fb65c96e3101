"""Which way is up: an image turned by quarters, and mirrored, so that its north is nearest to up and its east to the
left; what is left of the angle is told by two arms. Pure, but for the header that says it.

North is that of the image's own coordinates: a map of the Galaxy has its plane level.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ingest.describe.header import FitsFile, Hdu
from ingest.describe.wcs import Celestial, WcsError, celestial

ARM_PX, BOX_PX, LETTER_PX = 30, 104, 14
LEAST_PX = 250  # a smaller picture would be covered by its arms
LETTERS = {"GLON": ("b", "l"), "SLON": ("b", "l"), "ELON": ("lat", "lon")}


@dataclass(frozen=True, slots=True)
class Compass:
    """Where latitude and longitude grow in a picture: degrees, from up over left. letters: of the two arms."""

    north: float = 0.0
    east: float = 90.0
    letters: tuple[str, str] = ("N", "E")

    def drawn_on(self, picture: Image.Image) -> Image.Image:
        """The picture with two arms in its lower left corner, if it is large enough for them."""
        if min(picture.size) < LEAST_PX:
            return picture
        with_arms = picture.copy()
        draw = ImageDraw.Draw(with_arms)
        font = ImageFont.load_default(LETTER_PX)
        light, dark = ((255, 255), (0, 255)) if picture.mode == "LA" else (255, 0)
        x, y = BOX_PX / 2, picture.height - BOX_PX / 2
        for width, ink in ((5, dark), (2, light)):  # light on dark, so that it is seen on either
            for angle in (self.north, self.east):
                draw.line([(x, y), _end(x, y, angle, ARM_PX)], ink, width)
        for angle, letter in zip((self.north, self.east), self.letters, strict=True):
            draw.text(
                _end(x, y, angle, ARM_PX + LETTER_PX / 2 + 3), letter, light, font, "mm", stroke_width=2,
                stroke_fill=dark,
            )  # fmt: skip
        return with_arms


def _end(x: float, y: float, angle: float, length: float) -> tuple[float, float]:
    return x - length * float(np.sin(np.radians(angle))), y - length * float(np.cos(np.radians(angle)))


@dataclass(frozen=True, slots=True)
class Sight:
    """What is to be drawn: values, shape (rows, columns), row 0 below, and where north is; None if nobody says."""

    values: NDArray[np.float64]
    compass: Compass | None = None

    @classmethod
    def of(cls, file: FitsFile, hdu: Hdu, values: NDArray[np.float64]) -> Self:
        """The last two axes of an HDU, reduced or not, the right way up as far as its header tells."""
        try:
            sky = celestial(file, hdu)
        except WcsError:
            sky = None
        if sky is None or sky.axes != (len(hdu.shape) - 1, len(hdu.shape) - 2):
            return cls(values)
        steps = _steps(sky)
        return cls(values) if steps is None else cls(*_upright(values, *steps, _letters(sky)))


def _letters(sky: Celestial) -> tuple[str, str]:
    return LETTERS.get(str(sky.wcs.wcs.ctype[sky.wcs.wcs.lng])[:4].upper(), ("N", "E"))


def _steps(sky: Celestial) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The ways, to the east and to the north, that a step along x and one along y lead in the image's middle."""
    x, y = (sky.shape[1] - 1) / 2, (sky.shape[0] - 1) / 2
    with np.errstate(all="ignore"):
        world = np.array(sky.wcs.all_pix2world([x, x + 0.1, x], [y, y, y + 0.1], 0))
    lon, lat = world[sky.wcs.wcs.lng], world[sky.wcs.wcs.lat]
    east = ((lon[1:] - lon[0] + 180) % 360 - 180) * np.cos(np.radians(lat[0]))
    ways = np.column_stack([east, lat[1:] - lat[0]])
    lengths = np.linalg.norm(ways, axis=1, keepdims=True)
    if not np.isfinite(ways).all() or not lengths.all():
        return None
    along_x, along_y = ways / lengths
    return None if abs(along_x[0] * along_y[1] - along_x[1] * along_y[0]) < 0.1 else (along_x, along_y)


def _upright(
    values: NDArray[np.float64], along_x: NDArray[np.float64], along_y: NDArray[np.float64], letters: tuple[str, str]
) -> tuple[NDArray[np.float64], Compass]:
    columns, rows = along_x, along_y
    if abs(along_y[0]) + abs(along_x[1]) > abs(along_x[0]) + abs(along_y[1]):
        values, columns, rows = values.T, along_y, along_x
    if columns[0] > 0:
        values, columns = values[:, ::-1], -columns
    if rows[1] < 0:
        values, rows = values[::-1], -rows
    right, up = np.linalg.inv(np.column_stack([columns, rows]))  # per step east, per step north
    east, north = (float(np.degrees(np.arctan2(-right[way], up[way]))) for way in (0, 1))
    return values, Compass(north, east, letters)
