"""What a HiPS asks of the holdings: which images may be shown to everyone, and where their bytes are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, or_, select

from archive.access.identity import ANONYMOUS
from archive.access.visible import may_download_clause
from archive.holdings.tables import arc
from hips.properties import Coverage


@dataclass(frozen=True, slots=True)
class HeldImage:
    """A file of images. object_key: its bytes in the store; coverage: when and at which wavelengths it was taken."""

    file_id: str
    sha256: str
    object_key: str
    obs_collection: str
    coverage: Coverage


def public_images(connection: Connection, names: Sequence[str]) -> list[HeldImage]:
    """The current files of images that anyone may have now, of collections or by file_id, in the order of file_id.

    Others never enter a HiPS: nobody can be kept from seeing a tile (domain 6.1).
    """
    c = arc.file.c
    statement = (
        select(c.file_id, c.sha256, c.object_key, c.obs_collection, c.t_min, c.t_max, c.em_min, c.em_max)
        .where(
            or_(c.obs_collection.in_(names), c.file_id.in_(names)),
            *_images(),
            may_download_clause(ANONYMOUS, arc.file),
        )
        .order_by(c.file_id)
    )
    return [
        HeldImage(
            row.file_id, row.sha256, row.object_key, row.obs_collection,
            Coverage(row.t_min, row.t_max, row.em_min, row.em_max),
        )
        for row in connection.execute(statement)
    ]  # fmt: skip


def counted(connection: Connection, name: str) -> tuple[int, int]:
    """How many current files, and how many images among them, a collection or file_id names, whoever may have them."""
    c = arc.file.c
    named = (c.superseded_at.is_(None), or_(c.obs_collection == name, c.file_id == name))
    files = connection.execute(select(func.count()).where(*named)).scalar_one()
    images = connection.execute(select(func.count()).where(*named, *_images())).scalar_one()
    return files, images


def _images() -> tuple[ColumnElement[bool], ...]:
    c = arc.file.c
    return (
        c.superseded_at.is_(None),
        c.kind.in_(("raw", "product")),
        c.dataproduct_type == "image",
        func.coalesce(c.dp_cat, "SCIENCE") == "SCIENCE",
    )
