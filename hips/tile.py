"""A tile's number and the name of its file: HEALPix in the NESTED scheme (HiPS 1.0 §4.1). Pure, no arrays."""

import re
from dataclasses import dataclass

MAX_ORDER = 29
_TILES_A_FOLDER = 10_000
_FILE = re.compile(r"Norder([0-9]{1,2})/Dir([0-9]+)/Npix([0-9]+)\.[a-z]+")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A HEALPix cell that is drawn. order: 0..29; npix: its number in the NESTED scheme, below 12 * 4**order."""

    order: int
    npix: int

    def __post_init__(self) -> None:
        if not (0 <= self.order <= MAX_ORDER and 0 <= self.npix < 12 * 4**self.order):
            raise ValueError(f"not a tile: order {self.order}, npix {self.npix}")

    @property
    def parent(self) -> "Tile":
        """The tile of the order above that this one is a quarter of."""
        return Tile(self.order - 1, self.npix >> 2)

    @property
    def children(self) -> "tuple[Tile, Tile, Tile, Tile]":
        """The four quarters, southern, eastern, western and northern."""
        first = self.npix << 2
        return tuple(Tile(self.order + 1, first + k) for k in range(4))  # type: ignore[return-value]

    def path(self, extension: str) -> str:
        """Where its file lies below the HiPS's root (HIPS-01, §4.1.1). extension: "fits", "png"."""
        folder = self.npix // _TILES_A_FOLDER * _TILES_A_FOLDER
        return f"Norder{self.order}/Dir{folder}/Npix{self.npix}.{extension}"


def is_tile_path(path: str) -> bool:
    """Whether a path names a tile that can exist: the right folder, a number within its order."""
    match = _FILE.fullmatch(path)
    if match is None:
        return False
    order, folder, npix = (int(digits) for digits in match.groups())
    return order <= MAX_ORDER and npix < 12 * 4**order and folder == npix // _TILES_A_FOLDER * _TILES_A_FOLDER
