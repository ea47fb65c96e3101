"""From a FITS file to its pictures: what it is by its content, read and drawn accordingly."""

import warnings
from pathlib import Path

import numpy as np

from ingest.describe import events, healpix, interferometry
from ingest.describe.header import FitsFile, open_fits
from ingest.preview import images, spectra
from ingest.preview.images import Check
from ingest.preview.orientation import Sight
from ingest.preview.pictures import Pictures, cube_pictures, image_pictures, spectrum_pictures

MAX_PLAIN_BYTES = 1 << 34  # of a decompressed file


def _go_on() -> None:
    """Nobody asks to stop."""


def draw_file(path: Path, *, scratch: Path | None = None, check: Check = _go_on) -> Pictures | None:
    """The pictures of a FITS file; None if it is nothing to look at (tables, visibilities, images without a value).

    scratch: folder for decompressed copies. check: called between pieces of work; raises to stop.
    RefusedError: the file is not FITS, damaged, or its data cannot be read.
    """
    with open_fits(path, scratch=scratch, max_plain_bytes=MAX_PLAIN_BYTES) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draw(file, check)


def draw(file: FitsFile, check: Check = _go_on) -> Pictures | None:
    """As draw_file, of an open file."""
    if interferometry.recognises(file) or events.recognises(file):
        return None
    if spectra.is_spectrum(file):
        trace = spectra.spectrum(file)
        return None if trace is None else spectrum_pictures(trace)
    if healpix.recognises(file):
        return None
    cube = images.cube_hdu(file)
    if cube is not None:
        values, means, axis = images.collapsed(file, cube, check)
        trace = spectra.mean_spectrum(file, cube, means, axis)
        sight = Sight.of(file, cube, values)
        if trace.is_drawable:
            return cube_pictures(sight, trace)
    else:
        sight = images.image(file, check) or Sight(np.empty((0, 0)))
    return image_pictures(sight) if np.isfinite(sight.values).any() else None
