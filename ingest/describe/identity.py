"""Who a file is: its file_id, its observation, its kind and its level of calibration.

file_id names the content for ever, so it comes from the header only where the header's name is the file's own: a
product that inherited the ARCFILE of its raw frame is another file.
"""

import re

from ingest.describe.facts import Facts
from ingest.describe.keywords import Keywords
from ingest.findings import Finding

RAW_NAME = re.compile(r"^[A-Z0-9_]+\.\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}$")
PRODUCT_NAME = re.compile(r"^(ADP|M|SAF)\.[\w.:-]+$")
SAFE_NAME = re.compile(r"^[\w.:+-]{3,100}$")
SUFFIXES = (".gz", ".bz2", ".fz", ".Z")


def archive_name(text: str) -> str:
    """An ESO file name without its suffixes: the dp_id."""
    name = text.strip()
    for suffix in (*SUFFIXES, ".fits", ".tfits"):
        name = name.removesuffix(suffix)
    return name


def add_identity(facts: Facts, keywords: Keywords, collection: str, relative_path: str) -> None:
    """Add file_id and obs_collection.

    file_id: DP.ID, or ARCFILE if it is this file's own name, else collection and relative path with '/'.
    """
    facts.add("obs_collection", collection, "caller", "the collection it was ingested into")
    own = keywords.text("DP.ID", "DP_ID", "ESO DP ID")
    if own is not None and SAFE_NAME.match(archive_name(own[0])):
        facts.add("file_id", archive_name(own[0]), own[1], "the archive's own name for this file")
    arcfile = keywords.text("ARCFILE")
    if arcfile is not None and "file_id" not in facts:
        _from_arcfile(facts, keywords, archive_name(arcfile[0]), arcfile[1], relative_path)
    facts.add(
        "file_id", f"{collection}/{relative_path}", "path", "collection and relative path: the header has no name"
    )


def _from_arcfile(facts: Facts, keywords: Keywords, name: str, source: str, relative_path: str) -> None:
    # A piece of a raw frame (an extracted spectrum, a converted copy) keeps its ARCFILE but not its DPR keywords.
    raw = RAW_NAME.match(name) and not is_pipeline_product(keywords)
    own = raw and (keywords.find("ESO DPR CATG") is not None or name in relative_path)
    if PRODUCT_NAME.match(name) or own:
        facts.add("file_id", name, source, "the archive's own name for this file")
        return
    facts.found(
        Finding(
            "info", "arcfile_inherited", source,
            f"ARCFILE {name!r} names the raw frame that this file was made from, not this file; the path is its name.",
        )
    )  # fmt: skip


def is_pipeline_product(keywords: Keywords) -> bool:
    """ESO's mark of a pipeline product (HIERARCH ESO PRO ...), or of a Phase 3 product."""
    return keywords.find("ESO PRO CATG", "ESO PRO REC1 ID", "PRODCATG") is not None


def add_kind(facts: Facts, keywords: Keywords) -> None:
    """Add kind, calib_level and obs_id where nobody has.

    kind: raw by ESO DPR without PRO; ancillary by PRODCATG; else a product. calib_level: 1 for raw data in a standard
    form, 2 for calibrated data; mappings and describers know better where they do (ObsCore 1.1 §4.2).
    obs_id: the OB, then the observation's own number, then a name made of instrument and start, else the file_id.
    """
    prodcatg = keywords.text("PRODCATG")
    category = keywords.text("ESO DPR CATG")
    if prodcatg is not None and prodcatg[0].upper().startswith("ANCILLARY"):
        facts.add("kind", "ancillary", prodcatg[1], "PRODCATG says ANCILLARY")
    elif category is not None and not is_pipeline_product(keywords):
        facts.add("kind", "raw", category[1], "ESO DPR without ESO PRO")
        facts.add("calib_level", 1, category[1], "raw data in a standard form")
    facts.add("kind", "product", "rule", "neither raw nor ancillary")
    level = 1 if facts.get("kind") == "raw" else 2
    facts.add("calib_level", level, "rule", "calibrated data unless the header or the mapping says otherwise")
    ob = facts.get("ob_id")
    if ob:
        facts.add("obs_id", str(ob), "ob_id", "the observation block")
    found = keywords.text("OBS_ID", "OBSID", "OBSNUM", "EXPID", "PLATEID")
    if found is not None and found[0] != "0":
        facts.add("obs_id", found[0], found[1], "the observation's number")
    facts.add("obs_id", facts.get("file_id"), "file_id", "one file, one observation: no number in the header")
