"""Arrays to pictures: the stretch, the size, what has no value. Pure: numpy in, Pillow's images out."""

from dataclasses import dataclass

import numpy as np
from astropy.visualization import AsinhStretch, ZScaleInterval
from numpy.typing import NDArray
from PIL import Image

from ingest.preview.orientation import Sight
from ingest.preview.plot import Trace, plot, sparkline

PREVIEW_PX = 1024  # longest side
THUMBNAIL_PX = 256
ENLARGED_PX = 512  # what a small image is enlarged to, by whole pixels
SLIMMEST = 8.0  # aspect ratio above which pixels are drawn oblong: nobody sees a line one pixel high
CUBE_IMAGE_PX = (820, 560)
CUBE_PLOT_PX = (820, 400)
BEND = 0.1
OUTLIERS = 0.03  # of the pixels: more than these beyond ZScale's upper limit are no outliers
WHITE, EMPTY = (255, 255, 255), (226, 230, 236)


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is drawn of one file: preview, 1024 pixels at most, and thumbnail, 256 at most, on their longest sides."""

    preview: Image.Image
    thumbnail: Image.Image


def stretched(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Grey levels of an array of any shape: ZScale limits, asinh between them; 0 where there is no value.

    ZScale as IRAF's display has it (astropy.visualization.ZScaleInterval): the sky's slope, outliers left out. A sky
    without noise gives it nothing to hold on to; then the limits are the 1st and 99.5th percentile, and else the
    extremes. What fills more of the image than outliers do (a nebula, a bright star) must not be burnt out: then the
    upper limit is the 99.5th percentile too, and asinh bends where it would have bent. A constant array is of one
    middle grey.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high, bend = _limits(values[finite])
    if not high > low:
        return np.where(finite, 128, 0).astype(np.uint8)
    scaled = np.clip((np.where(finite, values, low) - low) / (high - low), 0.0, 1.0)
    return np.where(finite, np.rint(255 * AsinhStretch(a=bend)(scaled)), 0).astype(np.uint8)


def _limits(values: NDArray[np.floating]) -> tuple[float, float, float]:
    """The values drawn black and white, and where asinh turns from linear to logarithmic, as a part of the range."""
    low, high = (float(limit) for limit in ZScaleInterval().get_limits(values))
    bright = float(np.percentile(values, 99.5))
    if not high > low:
        low, high = float(np.percentile(values, 1.0)), bright
    elif np.mean(values > high) > OUTLIERS:
        return low, bright, BEND * (high - low) / (bright - low)
    if not high > low:
        low, high = float(values.min()), float(values.max())
    return low, high, BEND


def grey(values: NDArray[np.floating]) -> Image.Image:
    """A picture of an image in FITS's order (row 0 below), pixel for pixel; transparent where there is no value."""
    levels = stretched(values)
    alpha = np.where(np.isfinite(values), 255, 0).astype(np.uint8)
    if alpha.all():
        return Image.fromarray(np.ascontiguousarray(levels[::-1]))
    return Image.fromarray(np.ascontiguousarray(np.dstack([levels, alpha])[::-1]))


def sized(picture: Image.Image, width: int, height: int, *, enlarged: int = 0) -> Image.Image:
    """The picture within width x height, its proportions kept up to SLIMMEST.

    enlarged: a smaller one grows by whole pixels, so that each of them is seen, up to this longest side.
    """
    wide, high = picture.size
    drawn_wide, drawn_high = max(wide, high / SLIMMEST), max(high, wide / SLIMMEST)
    factor = min(width / drawn_wide, height / drawn_high)
    if factor > 1:
        factor = max(1, min(int(factor), int(enlarged / max(drawn_wide, drawn_high))))
    size = (max(1, round(drawn_wide * factor)), max(1, round(drawn_high * factor)))
    if size == picture.size:
        return picture
    shrinks = size[0] <= wide and size[1] <= high
    return picture.resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)


def image_pictures(sight: Sight) -> Pictures:
    """Pictures of an image; the preview shows where north is."""
    drawn = grey(sight.values)
    return Pictures(
        _with_arms(sized(drawn, PREVIEW_PX, PREVIEW_PX, enlarged=ENLARGED_PX), sight),
        sized(drawn, THUMBNAIL_PX, THUMBNAIL_PX, enlarged=THUMBNAIL_PX),
    )


def _with_arms(picture: Image.Image, sight: Sight) -> Image.Image:
    return picture if sight.compass is None else sight.compass.drawn_on(picture)


def spectrum_pictures(trace: Trace) -> Pictures:
    """A labelled plot, and its bare line for the thumbnail."""
    return Pictures(plot(trace, (PREVIEW_PX, 600)), sparkline(trace, (THUMBNAIL_PX, 160)))


def cube_pictures(sight: Sight, trace: Trace) -> Pictures:
    """The collapsed image over the mean spectrum; the image alone for the thumbnail."""
    image = grey(sight.values)
    above = _with_arms(sized(image, *CUBE_IMAGE_PX, enlarged=CUBE_IMAGE_PX[1]), sight)
    below = plot(trace, CUBE_PLOT_PX)
    sheet = Image.new("RGB", (below.width, above.height + below.height + 24), WHITE)
    at = ((sheet.width - above.width) // 2, 16)
    sheet.paste(EMPTY, (*at, at[0] + above.width, at[1] + above.height))
    sheet.paste(above.convert("RGB"), at, above.getchannel("A") if above.mode == "LA" else None)
    sheet.paste(below, (0, above.height + 24))
    return Pictures(sheet, sized(image, THUMBNAIL_PX, THUMBNAIL_PX, enlarged=THUMBNAIL_PX))
