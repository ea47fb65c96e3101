"""The order in which a file is described: identity, the operator's mapping, its kind's describer, what is common.

Which module describes which kind is the table DESCRIBERS; the modules are loaded when first asked.
"""

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archive.holdings.model import DataProduct
from archive.vo.errors import ArchiveError
from ingest import checks
from ingest.describe.facts import Description, Facts, RefusedError
from ingest.describe.header import BZIP2, GZIP, LZW, Fill, FitsFile, header_json, nothing, open_fits
from ingest.describe.identity import add_identity, add_kind
from ingest.describe.keywords import Keywords
from ingest.describe.others import describe_other
from ingest.describe.provenance import progenitors
from ingest.describe.science import science_hdus
from ingest.describe.times import add_times, creation_date
from ingest.findings import Finding, errors
from ingest.instruments.mapping import Mapping, MatchedMapping

# First that recognises a file describes it. MOCs are tables and HiPS tiles images, hence healpix before those.
DESCRIBERS = ("interferometry", "events", "raw_eso", "spectra", "healpix", "cubes", "images", "catalogues")


def describe(
    file: FitsFile, *, collection: str, relative_path: str, mappings: Sequence[Mapping], authority: str
) -> Description:
    """Describe an open FITS file.

    collection: what obs_collection becomes. relative_path: with '/', part of the identity where the header has none.
    authority: of the archive's IVOIDs; for progenitors and creators that a header names by file name.

    RefusedError: it cannot be described; its findings say why.
    """
    facts = Facts()
    facts.findings.extend(file.findings)
    keywords = file.keywords(*_informative(file))
    add_identity(facts, keywords, collection, relative_path)
    matched = MatchedMapping.of(mappings, file)
    indices = _informative(file)
    for fact in matched.explicit(file, indices):
        facts.add(fact.field, fact.value, fact.source, fact.why)
    module = _describer(file)
    if module is None:
        facts.found(
            Finding(
                "warning", "kind_unknown", "file", "neither image, cube, spectrum, events nor a table: kept as it is.",
            )
        )  # fmt: skip
        facts.add("kind", "ancillary", "rule", "no describer recognises the content")
    else:
        module.describe(file, facts)
    _common(file, facts, keywords, matched, indices, authority)
    return Description(
        product(facts, file.relative_path), tuple(facts), tuple(facts.findings), facts.catalogue, facts.media_type
    )


def describe_path(
    path: Path, *, collection: str, relative_path: str, mappings: Sequence[Mapping], authority: str,
    scratch: Path | None = None, verify_sums: bool = True, fill: Fill = nothing,
) -> Description:  # fmt: skip
    """Check and describe any file: FITS by its content; catalogues in other forms; pictures, logs, documents by type.

    scratch: folder for decompressed copies. verify_sums: False leaves out CHECKSUM and DATASUM. fill: brings the bytes
    of path, of which only those that are asked for need be there.
    RefusedError: as describe, or a check found an error (ingest.checks).
    """
    fill(0, 4096)
    with path.open("rb") as stream:
        head = stream.read(4096)
    if _maybe_fits(path, head):
        with open_fits(path, relative_path, scratch=scratch, fill=fill) as file:
            file.findings.extend(checks.check_open(file, verify_sums=verify_sums))
            if errors(file.findings):
                raise RefusedError(relative_path, tuple(file.findings))
            return _described(file, collection, relative_path, mappings, authority)
    fill(0, path.stat().st_size)
    facts = Facts()
    add_identity(facts, Keywords(()), collection, relative_path)
    catalogues = _module("catalogues")
    if catalogues is not None and catalogues.recognises_path(path, head):
        catalogues.describe_path(path, facts)
    else:
        describe_other(path, relative_path, head, facts)
    add_kind(facts, Keywords(()))
    return Description(
        product(facts, relative_path), tuple(facts), tuple(facts.findings), facts.catalogue, facts.media_type
    )


def _described(
    file: FitsFile, collection: str, relative_path: str, mappings: Sequence[Mapping], authority: str
) -> Description:
    """describe(), for files from outside: whatever nonsense a header makes a library trip over, the run goes on."""
    try:
        return describe(
            file, collection=collection, relative_path=relative_path, mappings=mappings, authority=authority
        )
    except ArchiveError:
        raise
    except Exception as error:
        what = f"describing it failed ({type(error).__name__}: {' '.join(str(error).split())[:200]})."
        finding = Finding("error", "description_failed", "header", what, "correct the header, and report this to us.")
        raise RefusedError(relative_path, (*file.findings, finding)) from error


def product(facts: Facts, name: str) -> DataProduct:
    """The DataProduct of these facts. RefusedError: they contradict each other (the model says how)."""
    try:
        return DataProduct(**{"dataproduct_type": None, **facts.values()})
    except (ValueError, ArchiveError) as error:
        finding = Finding(
            "error",
            "metadata_contradictory",
            "header",
            str(error),
            "correct the keywords, or the instrument's mapping.",
        )
        raise RefusedError(name, (finding,)) from error


def _maybe_fits(path: Path, head: bytes) -> bool:
    """FITS, or what claims to be: a .fits that is an HTML page must be told so, not filed as a document."""
    name = path.name.lower()
    for suffix in (".gz", ".bz2", ".z"):
        name = name.removesuffix(suffix)
    claims = name.endswith((".fits", ".fit", ".fts", ".fits.fz", ".fz", ".mt", ".ffits"))
    packed = head.startswith((GZIP, BZIP2, LZW)) and "." not in name
    # A header printed as lines of text is a document about a FITS file.
    cards = head.startswith((b"SIMPLE  =", b"XTENSION=")) and b"\n" not in head[:160]
    return cards or claims or packed or not head


def _informative(file: FitsFile) -> list[int]:
    """HDUs whose keywords describe the observation, in the order in which they are asked: science, then the first."""
    indices = science_hdus(file)
    return indices or [hdu.index for hdu in file.hdus[1:2]]


def _describer(file: FitsFile) -> Any:
    for name in DESCRIBERS:
        module = _module(name)
        if module is not None and module.recognises(file):
            return module
    return None


def _module(name: str) -> Any:
    known = importlib.util.find_spec(f"ingest.describe.{name}")
    return None if known is None else importlib.import_module(f"ingest.describe.{name}")


def _common(
    file: FitsFile, facts: Facts, keywords: Keywords, matched: MatchedMapping, science: Sequence[int], authority: str
) -> None:
    """What every kind of file may have: defaults of the mapping, times, creation date, kind, header."""
    for fact in matched.defaults(file, science):
        # A range has two ends of one origin: half of a filter's range never completes a measured one.
        if fact.field in ("em_min", "em_max") and _other_end(facts, fact.field, fact.source):
            continue
        facts.add(fact.field, fact.value, fact.source, fact.why)
    add_times(facts, keywords)
    facts.add("obs_creation_date", creation_date(keywords), "DATE", "when the file was made")
    add_kind(facts, keywords)
    origfile = facts.get("origfile")
    if origfile:
        facts.add("obs_creator_did", f"ivo://{authority}/origfile?{origfile}", "ORIGFILE", "the creator's name for it")
    facts.add("progenitors", progenitors(file) or None, "PROVi, ESO PRO RECi", "what it was made from")
    facts.add("header", header_json(file), "all HDUs", "kept as it is")


def _other_end(facts: Facts, name: str, source: str) -> bool:
    other = "em_max" if name == "em_min" else "em_min"
    return any(fact.field == other and fact.source != source for fact in facts)
