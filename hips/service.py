"""Making a HiPS, in the order it happens: gather the images, plan, build, publish."""

import os
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from archive.vo.errors import NotFoundError, UsageError
from hips import queries
from hips.build import PLAN_FILE, Advance, Build, Result, on_threads
from hips.images import FoundImage, ImageReader, Opener, find_images
from hips.plan import Plan, Source, make_plan
from hips.properties import About, Coverage, checked_name
from hips.shelf import Shelf
from storage.service import ObjectStore

FITS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2", ".fits.fz", ".fit.gz", ".fz")


@dataclass(frozen=True)
class Gathered:
    """Files that may hold images. refused: HDUs or files that hold none, each with the reason; withheld: how many
    images were left out because not everyone may have them."""

    openers: dict[str, Opener]
    sources: tuple[Source, ...]
    coverage: Coverage = field(default_factory=Coverage)
    collections: tuple[str, ...] = ()
    withheld: int = 0


@dataclass(frozen=True)
class Proposal:
    """A plan, with what is needed to carry it out."""

    plan: Plan
    gathered: Gathered
    about: About
    refused: tuple[str, ...]


def gathered_files(paths: Iterable[Path]) -> Gathered:
    """FITS files by name, those below folders too."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(each for each in path.rglob("*") if each.is_file() and each.name.lower().endswith(FITS))
        files += inside if path.is_dir() else [path]
    openers: dict[str, Opener] = {}
    sources = []
    above = os.path.commonpath([file.absolute().parent for file in files]) if files else ""
    for file in files:
        # Plans are kept beside tiles, and copied with them: where files lay here is nobody's business.
        name = f"./{file.absolute().relative_to(above)}"
        found = file.stat()
        openers[name] = _path_opener(file)
        sources.append(Source(name, f"{found.st_size} bytes, {found.st_mtime_ns}"))
    return Gathered(openers, tuple(sources))


def _path_opener(path: Path) -> Opener:
    return lambda: nullcontext(path)


def gathered_holdings(engine: Engine, store: ObjectStore, names: Sequence[str]) -> Gathered:
    """The public images of collections, or of files by file_id. NotFoundError: there is none of a name."""
    with engine.connect() as connection:
        for name in names:
            files, images = queries.counted(connection, name)
            if not images:
                held = f"{files} files, but no science image" if files else "nothing of that name, nor is it a file"
                raise NotFoundError(f"{name}: the archive holds {held}")
        found = queries.public_images(connection, names)
        withheld = sum(queries.counted(connection, name)[1] for name in set(names)) - len(found)
    if not found:
        raise UsageError(f"{', '.join(names)}: none of the images is public yet, and a HiPS is seen by everyone")
    return Gathered(
        {image.file_id: _object_opener(store, image.object_key) for image in found},
        tuple(Source(image.file_id, image.sha256) for image in found),
        _union([image.coverage for image in found]),
        tuple(sorted({image.obs_collection for image in found})),
        max(withheld, 0),
    )


def _object_opener(store: ObjectStore, key: str) -> Opener:
    return lambda: store.reader(key)


def _union(several: Sequence[Coverage]) -> Coverage:
    def ends(name: str, end: Any) -> float | None:
        values = [value for each in several if (value := getattr(each, name)) is not None]
        return end(values) if values else None

    return Coverage(ends("t_min", min), ends("t_max", max), ends("em_min", min), ends("em_max", max))


def both(first: Gathered, second: Gathered) -> Gathered:
    """Files from two places."""
    return Gathered(
        first.openers | second.openers,
        first.sources + second.sources,
        _union([first.coverage, second.coverage]),
        first.collections + second.collections,
        first.withheld + second.withheld,
    )


def propose(
    name: str,
    gathered: Gathered,
    about: About,
    *,
    order: int | None = None,
    width: int | None = None,
    threads: int = 2,
    max_tiles: int = 1_000_000,
) -> Proposal:
    """Look at every image's place on the sky, and plan."""
    checked_name(name)

    def look(source: Source) -> tuple[list[FoundImage], list[str]]:
        try:
            return find_images(source.name, gathered.openers[source.name])
        except OSError as problem:  # astropy's word for what is no FITS
            return [], [f"{source.name}: cannot be read as FITS ({problem})"]

    looked = on_threads(look, list(gathered.sources), threads)
    images = [image for found, _ in looked for image in found]
    refused = tuple(reason for _, reasons in looked for reason in reasons)
    if not images:
        raise UsageError(f"{name}: there is no image to make tiles of. " + "; ".join(refused[:5]))
    if about.collection is None and len(gathered.collections) == 1:
        about = replace(about, collection=gathered.collections[0])
    plan = make_plan(name, gathered.sources, images, order=order, width=width, max_tiles=max_tiles)
    return Proposal(plan, gathered, about, refused)


class HipsService:
    """Builds HiPS and publishes them on a shelf. authority: of the archive's IVOIDs."""

    def __init__(self, shelf: Shelf, *, authority: str) -> None:
        self._shelf = shelf
        self._authority = authority

    def build(
        self, proposal: Proposal, *, threads: int, memory_bytes: int, advance: Advance, again: bool = False
    ) -> Result | None:
        """Build and publish; None if what the plan makes is published already. again: make it anew."""
        plan = proposal.plan
        if not again and self._shelf.is_published(plan.name, plan.build_id):
            return None
        with self._shelf.workspace(plan.name, plan.build_id) as folder:
            result = self._built(proposal, folder, threads, memory_bytes, advance)
            for journal in folder.glob("*.done"):
                journal.unlink()
            self._shelf.publish(plan.name, plan.build_id)
        return result

    def build_into(
        self, proposal: Proposal, folder: Path, *, threads: int, memory_bytes: int, advance: Advance
    ) -> Result:
        """Build in a folder of the caller's, for another server. UsageError: something else lies there."""
        plan_file = folder / PLAN_FILE
        if folder.exists() and any(folder.iterdir()):
            known = plan_file.exists() and Plan.from_file(plan_file).build_id == proposal.plan.build_id
            if not known:
                raise UsageError(f"{folder}: something else lies there; name an empty folder, or remove it")
        return self._built(proposal, folder, threads, memory_bytes, advance)

    def _built(self, proposal: Proposal, folder: Path, threads: int, memory_bytes: int, advance: Advance) -> Result:
        reader = ImageReader(proposal.gathered.openers, memory_bytes=memory_bytes)
        did = f"ivo://{self._authority}/hips/{proposal.plan.name}"
        build = Build(proposal.plan, reader, folder, threads=threads, advance=advance)
        return build.run(proposal.about, proposal.gathered.coverage, did)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))
