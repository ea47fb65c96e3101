"""What the files of one delivery say of each other: names, associations, precursors, cubes and their images, tiles of a
catalogue (F01, B01, B02, C02, K05). Pure: what is needed of each file is an Entry, read from it once.

Raw files and older products lie in the archive, which is not asked here: a PROVi with an archive's name is believed.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest.describe.facts import RefusedError
from ingest.findings import Level
from phase3.rules.breach import Breach
from phase3.rules.common import MULTI
from phase3.rules.model import Rules
from phase3.rules.product import FILE_LIST, Product
from phase3.rules.values import RAW_ID

ARCHIVE_ID = re.compile(RAW_ID + r"(\.fits(\.fz)?)?\Z")
MOMENT_D = 1e-6  # a tenth of a second
TILE_COLUMNS = ("TFIELDS", "TFORM", "TTYPE", "TUCD", "TNULL", "TUNIT")
Told = tuple[str, Breach]


@dataclass(frozen=True, slots=True)
class Entry:
    """What other files may ask of a file. key: its path in the delivery. name: its file name. size: nx, ny of the
    science image. columns: TILE_COLUMNS' values of its science table. tiles: ORIGFILE of a list of files.
    keywords: some."""

    key: str
    name: str
    prodcatg: str
    keywords: Mapping[str, Any] = field(default_factory=dict)
    provenance: tuple[str, ...] = ()
    associated: Mapping[int, tuple[str, str, str]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    size: tuple[int, ...] = ()
    columns: tuple[tuple[str, Any], ...] = ()
    tiles: tuple[str, ...] = ()


def entry(product: Product, key: str) -> Entry:
    """The entry of an open file."""
    files, kinds, sums = (product.indexed(stem) for stem in ("ASSON", "ASSOC", "ASSOM"))
    wanted = ("MJD-OBS", "MJD-END", "EXPTIME", "TEXPTIME", "NCOMBINE", "SKYSQDEG", "ORIGFILE", "ARCFILE")
    science = product.science[:1]
    shape = product.hdu(science[0]).shape if science and product.hdu(science[0]).kind == "image" else ()
    return Entry(
        key, product.name, product.prodcatg,
        keywords={keyword: product.get(keyword) for keyword in wanted if product.get(keyword) is not None},
        provenance=tuple(str(value) for value in product.indexed("PROV").values()),
        associated={i: (str(name), str(kinds.get(i) or ""), str(sums.get(i) or "")) for i, name in files.items()},
        names={**{keyword: _names(product, keyword, stem) for keyword, stem in MULTI.items()},
               "OBIDi": tuple(str(value) for value in product.indexed("OBID").values())},
        size=tuple(reversed(shape[-2:])),
        columns=_columns(product, science[0]) if science else (),
        tiles=_tiles(product),
    )  # fmt: skip


def _names(product: Product, keyword: str, stem: str) -> tuple[str, ...]:
    value = product.get(keyword)
    if value == "MULTI":
        return tuple(str(name) for name in product.indexed(stem).values())
    return () if value is None else (str(value),)


def _columns(product: Product, index: int) -> tuple[tuple[str, Any], ...]:
    if product.hdu(index).kind != "table":
        return ()
    return tuple(
        (keyword, value)
        for stem in TILE_COLUMNS
        for keyword, value in (
            [(stem, product.get(stem, index))]
            if stem == "TFIELDS"
            else [(f"{stem}{i}", v) for i, v in product.indexed(stem, index).items()]
        )
    )


def _tiles(product: Product) -> tuple[str, ...]:
    for hdu in product.file.hdus:
        if hdu.name == FILE_LIST and "ORIGFILE" in [name.upper() for name in hdu.columns]:
            try:
                table = product.file.table(hdu.index)
            except RefusedError:
                return ()
            return tuple(str(name).strip() for name in table.field("ORIGFILE"))
    return ()


@dataclass(frozen=True)
class Delivery:
    """All files of a delivery. others: names of the files that are not FITS, and their MD5 sums where a file gives one
    to compare with."""

    entries: Sequence[Entry]
    others: Mapping[str, str]
    rules: Rules

    def breaches(self) -> Iterator[Told]:
        """Key of a file, or name of one that is not FITS, with what is wrong with it among the others."""
        by_name: dict[str, Entry] = {each.name: each for each in self.entries}
        for each in self.entries:
            origfile = each.keywords.get("ORIGFILE")
            if isinstance(origfile, str):
                by_name.setdefault(origfile, each)
        yield from self._unique_names()
        for each in self.entries:
            yield from self._associations(each, by_name)
            yield from self._precursors(each, by_name)
            if each.prodcatg == "SCIENCE.CUBE.IFS":
                yield from self._white_light(each, by_name)
            if each.prodcatg == "SCIENCE.MCATALOG":
                yield from self._tiles_of(each, by_name)
        yield from self._unassociated(by_name)

    def _breach(
        self, of: Entry | str, rule: str, keyword: str, code: str, what: str, expected: str, mend: str,
        level: Level = "error",
    ) -> Told:  # fmt: skip
        key, name = (of, of) if isinstance(of, str) else (of.key, of.name)
        source = "SDP 8" if self.rules.checks[rule].source == "S1" else "checks of the validator (2025-03-27)"
        hdu = 0 if keyword else None
        where = f"[0] {keyword}" if keyword else name
        return key, Breach(
            level, code, where, what, mend, rule=rule, keyword=keyword, hdu=hdu, expected=expected, source=source
        )

    def _unique_names(self) -> Iterator[Told]:
        counts = Counter(each.name for each in self.entries)
        for each in self.entries:
            if counts[each.name] > 1:
                yield self._breach(
                    each, "F01", "", "file_name_twice", f"{counts[each.name]} files of the delivery have this name.",
                    "names unique in the delivery; folders do not count", "rename them.",
                )  # fmt: skip

    def _associations(self, each: Entry, by_name: Mapping[str, Entry]) -> Iterator[Told]:
        """B02: what is associated is there, is ancillary, and is what it was."""
        ancillary = each.prodcatg.startswith("ANCILLARY.")
        if ancillary and each.associated:
            yield self._breach(
                each, "B02", "ASSONi", "association_nested", "an ancillary file has files of its own.", "absent",
                "associate them with the science file.",
            )  # fmt: skip
        kinds = []
        for i, (name, kind, md5) in each.associated.items():
            other = by_name.get(name)
            if other is None and name not in self.others:
                yield self._breach(
                    each, "B02", f"ASSON{i}", "association_missing", f"{name!r} is not in the delivery.",
                    "the name of a file of the delivery", "deliver it, or remove ASSON, ASSOC and ASSOM.",
                )  # fmt: skip
            elif other is not None and not other.prodcatg.startswith("ANCILLARY."):
                yield self._breach(
                    each, "B02", f"ASSON{i}", "association_not_ancillary",
                    f"{name!r} is {other.prodcatg or 'no product'}.",
                    "a file with PRODCATG = ANCILLARY...", "give it its category, or remove the association.",
                )  # fmt: skip
            elif other is None and md5 and self.others[name] != md5.lower():
                yield self._breach(
                    each, "B02", f"ASSOM{i}", "association_md5", f"the MD5 sum of {name!r} is {self.others[name]}.",
                    f"ASSOM{i}, {md5}", "send the file again, or correct ASSOM.",
                )  # fmt: skip
            category = other.prodcatg if other is not None else kind
            kinds.append(category)
            yield from self._suits(each, i, name, category)
        if each.prodcatg == "SCIENCE.IMAGE.FLUXMAP" and not {"ANCILLARY.RMSMAP", "ANCILLARY.SNRMAP"} & set(kinds):
            yield self._breach(
                each, "B02", "ASSONi", "noise_map_missing", "no map of the noise is associated.",
                "an ANCILLARY.RMSMAP or an ANCILLARY.SNRMAP", "deliver and associate one.",
            )  # fmt: skip

    def _suits(self, each: Entry, i: int, name: str, category: str) -> Iterator[Told]:
        known = self.rules.ancillaries.get(category)
        ends = {end for end in (known.applies_to if known else ()) if end != "any"}
        if ends and each.prodcatg.removeprefix("SCIENCE.") not in ends and each.prodcatg.startswith("SCIENCE."):
            yield self._breach(
                each, "B02", f"ASSON{i}", "association_kind", f"{name!r} is {category}.",
                f"goes with {', '.join(sorted(ends))}", "check its category.", level="warning",
            )  # fmt: skip

    def _unassociated(self, by_name: Mapping[str, Entry]) -> Iterator[Told]:
        named: set[str] = set()
        for each in self.entries:
            if not each.prodcatg.startswith("ANCILLARY."):
                for name, _, _ in each.associated.values():
                    named.add(by_name[name].key if name in by_name else name)
        for each in self.entries:
            if each.prodcatg.startswith("ANCILLARY.") and each.key not in named:
                yield self._breach(
                    each, "B02", "", "ancillary_alone", "no science file of the delivery names this ancillary file.",
                    "a science file with its name in ASSONi", "name it there, or leave it out.",
                )  # fmt: skip
        for other in self.others:
            if other not in named:
                yield self._breach(
                    other, "B02", "", "ancillary_alone", "no science file of the delivery names this file.",
                    "a science file with its name in ASSONi", "name it there, or leave it out.", level="warning",
                )  # fmt: skip

    def _white_light(self, each: Entry, by_name: Mapping[str, Entry]) -> Iterator[Told]:
        """C02."""
        kind = "ANCILLARY.IMAGE.WHITELIGHT"
        names = [name for name, _, _ in each.associated.values()]
        found = [by_name[name] for name in names if name in by_name and by_name[name].prodcatg == kind]
        if len(found) != 1:
            if all(name in by_name or name in self.others for name in names):
                yield self._breach(
                    each, "C02", "ASSONi", "white_light", f"{len(found)} files {kind} are associated.", "exactly one",
                    "deliver the mean of the cube along its spectrum, and name it in ASSONi.",
                )  # fmt: skip
        elif found[0].size != each.size:
            yield self._breach(
                each, "C02", "ASSONi", "white_light_size", f"{found[0].name} has {found[0].size} pixels.",
                f"those of the cube, {each.size}", "make it from this cube.",
            )  # fmt: skip

    def _precursors(self, each: Entry, by_name: Mapping[str, Entry]) -> Iterator[Told]:
        """B01, as far as the precursors are in the delivery."""
        sources: list[Entry] = []
        unknown: list[str] = []
        for number, name in enumerate(each.provenance, start=1):
            other = by_name.get(name)
            if other is None:
                unknown.append(name)
                if not ARCHIVE_ID.match(name):
                    yield self._breach(
                        each, "B01", f"PROV{number}", "precursor_unknown", f"{name!r} is not in the delivery.",
                        "a raw file by the archive's name, or a file of the delivery",
                        "deliver it, or correct its name.",
                    )  # fmt: skip
                continue
            if other.key == each.key or other.prodcatg == "SCIENCE.MCATALOG":
                yield self._breach(
                    each, "B01", f"PROV{number}", "precursor_refused", f"{name!r} cannot be a precursor of this file.",
                    "a science file other than this one, and no SCIENCE.MCATALOG", "correct it.",
                )  # fmt: skip
            sources.append(other)
        if sources and not unknown:
            yield from self._consistent(each, sources)

    def _consistent(self, each: Entry, sources: Sequence[Entry]) -> Iterator[Told]:
        for keyword, choose in (("MJD-OBS", min), ("MJD-END", max)):
            value, theirs = _number(each, keyword), [_number(source, keyword) for source in sources]
            known = [moment for moment in theirs if moment is not None]
            if value is not None and len(known) == len(theirs) and abs(value - choose(known)) > MOMENT_D:
                yield self._breach(
                    each, "B01", keyword, "precursors_differ",
                    f"{keyword} is {value}, of its precursors {choose(known)}.",
                    f"the {choose.__name__} of its precursors", "correct it, or PROVi.",
                )  # fmt: skip
        for keyword in ("TELESCOP", "INSTRUME", "PROG_ID", "OBIDi", "FILTER"):
            mine = set(each.names.get(keyword, ()))
            theirs_too = set().union(*(source.names.get(keyword, ()) for source in sources))
            if mine and theirs_too and mine != theirs_too:
                yield self._breach(
                    each, "B01", keyword, "precursors_differ",
                    f"{', '.join(sorted(mine))} here, {', '.join(sorted(theirs_too))} in its precursors.",
                    "the same", "correct it, or PROVi.", level="warning" if keyword == "FILTER" else "error",
                )  # fmt: skip

    def _tiles_of(self, each: Entry, by_name: Mapping[str, Entry]) -> Iterator[Told]:
        """K05: a catalogue's metadata file and its tiles."""
        missing = [name for name in each.tiles if name not in by_name]
        tiles = [by_name[name] for name in each.tiles if name in by_name]
        if missing:
            yield self._breach(
                each, "K05", "", "tile_missing", f"tiles not in the delivery: {', '.join(missing[:6])}.",
                "every file of PHASE3FILELIST", "deliver them, or remove them from the list.",
            )  # fmt: skip
        columns = dict(each.columns)
        for tile in tiles:
            theirs = dict(tile.columns)
            wrong = sorted(key for key in columns.keys() | theirs.keys() if columns.get(key) != theirs.get(key))
            if wrong:
                yield self._breach(
                    tile, "K05", ", ".join(wrong[:6]), "tile_columns", "columns other than those of the metadata file.",
                    f"as in {each.name}", "write the same columns into all tiles.",
                )  # fmt: skip
        if not tiles or missing:
            return
        yield from self._consistent_tiles(each, tiles)

    def _consistent_tiles(self, each: Entry, tiles: Sequence[Entry]) -> Iterator[Told]:
        total: dict[str, float] = {}
        for keyword, choose in (("MJD-OBS", min), ("MJD-END", max), ("SKYSQDEG", sum)):
            values = [value for tile in tiles if (value := _number(tile, keyword)) is not None]
            if len(values) == len(tiles):
                total[keyword] = float(choose(values))
        for keyword, words in (("MJD-OBS", "min"), ("MJD-END", "max")):
            value = _number(each, keyword)
            if value is not None and keyword in total and abs(value - total[keyword]) > MOMENT_D:
                yield self._breach(
                    each, "K05", keyword, "tiles_differ", f"{keyword} is {value}, of its tiles {total[keyword]}.",
                    f"the {words} of its tiles", "correct it.",
                )  # fmt: skip
        area = _number(each, "SKYSQDEG")
        if area is not None and "SKYSQDEG" in total and area > total["SKYSQDEG"] * (1 + 1e-6):
            yield self._breach(
                each, "K05", "SKYSQDEG", "tiles_differ", f"SKYSQDEG is {area}, of all tiles {total['SKYSQDEG']:g}.",
                "at most the sum over the tiles", "correct it.",
            )  # fmt: skip
        mine, theirs_too = set(each.names["PROG_ID"]), set().union(*(tile.names["PROG_ID"] for tile in tiles))
        if mine != theirs_too:
            yield self._breach(
                each, "K05", "PROG_ID", "tiles_differ",
                f"runs {', '.join(sorted(mine))} here, {', '.join(sorted(theirs_too))} in the tiles.", "the same",
                "correct PROG_ID or PROGIDi.",
            )  # fmt: skip


def _number(of: Entry, keyword: str) -> float | None:
    value = of.keywords.get(keyword)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


DELIVERY_RULES = ("F01", "B01", "B02", "C02", "K05")
