"""The form of a file, F01 to F06: its name, its sums, its cards, its HDUs, its world coordinates.

What makes bytes untrustworthy ingest.checks knows; here its findings become those of a delivery, where sums are strict.
"""

import re
from collections import Counter
from collections.abc import Iterator

from ingest.checks import check_open
from ingest.describe.blocks import CARD
from ingest.findings import Finding
from phase3.rules.breach import Breach
from phase3.rules.product import CATALOGUE, PROVENANCE, Product

LONGEST = 68
SUMS = ("sums_stale", "datasum_wrong")
OTHER_WCS = re.compile(r"(CDELT[1-3]|CROTA\d+|PC\d+_\d+)\Z")
ALTERNATE_WCS = re.compile(r"CTYPE\d+[A-Z]\Z")
KEYWORD = re.compile(rb"[A-Z0-9_-]*\Z")


def check_name(product: Product) -> Iterator[Breach]:
    """F01, of one file: length, suffix, compression."""
    if len(product.name) > LONGEST:
        yield product.breach(
            "F01", None, "", "file_name_long", f"the name has {len(product.name)} characters.",
            f"at most {LONGEST} characters", "rename the file, and whatever names it in ASSONi or PROVi.",
        )  # fmt: skip
    packed = any(hdu.compressed for hdu in product.file.hdus)
    wanted = ".fits.fz" if packed else ".fits"
    if not product.name.endswith(wanted) or (wanted == ".fits" and product.name.endswith(".fits.fz")):
        state = "tile-compressed" if packed else "not tile-compressed"
        yield product.breach(
            "F01", None, "", "file_suffix", f"the file is {state} and its name does not end in {wanted}.",
            f"a name in {wanted}", "rename it; a file packed by gzip or bzip2 must be unpacked (images: use fpack).",
        )  # fmt: skip
    for hdu in product.file.hdus:
        if hdu.raw_header.get("ZTABLE") is True:
            yield product.breach(
                "F01", hdu.index, "ZTABLE", "table_compressed", "a compressed binary table is refused.",
                "a plain binary table", "uncompress it (funpack).",
            )  # fmt: skip


def check_bytes(product: Product) -> Iterator[Breach]:
    """F02 and the form of FITS: structure, sums, tables, world coordinates that no reader understands."""
    found: list[Finding] = [*product.file.findings, *check_open(product.file, strict_sums=True)]
    for finding in found:
        if finding.code != "no_data":  # F04 says it
            yield Breach.of(finding, "F02" if finding.code in SUMS else "FITS")
    if product.category is not None:
        return  # the keyword table asks for the sums
    for index in (product.primary, *product.extensions):
        missing = [keyword for keyword in ("CHECKSUM", "DATASUM") if not product.has(keyword, index)]
        if missing:
            names = ", ".join(missing)
            yield product.breach(
                "F02", index, names, "sums_missing", f"{names} missing.", "CHECKSUM and DATASUM in every HDU",
                "write them (astropy: writeto(..., checksum=True)).",
            )  # fmt: skip


def check_cards(product: Product) -> Iterator[Breach]:
    """F03: no long strings, keywords in capitals."""
    with product.file.plain.open("rb") as stream:
        for hdu in product.file.hdus:
            stream.seek(hdu.header_start)
            header = stream.read(hdu.span[0] - hdu.header_start)
            starts = [header[i : i + 10] for i in range(0, len(header), CARD)]
            if any(start.startswith((b"CONTINUE  ", b"LONGSTRN")) for start in starts):
                yield product.breach(
                    "F03", hdu.index, "CONTINUE", "string_long", "a string goes on over several cards.",
                    f"strings of at most {LONGEST} characters", "shorten it; remove CONTINUE and LONGSTRN.",
                )  # fmt: skip
            lower = sorted({
                start[:8].decode("latin-1").rstrip()
                for start in starts
                if start[8:9] == b"=" and not KEYWORD.match(start[:8].rstrip())
            })  # fmt: skip
            if lower:
                names = ", ".join(lower[:6])
                yield product.breach(
                    "F03", hdu.index, names, "keyword_form", f"keywords not in capitals, digits, - and _: {names}.",
                    "upper-case keywords", "rename them.",
                )  # fmt: skip


def check_data(product: Product) -> Iterator[Breach]:
    """F04: there is something in the file."""
    if not any(hdu.span[1] > hdu.span[0] for hdu in product.file.hdus):
        yield product.breach(
            "F04", None, "", "no_data", "no HDU has data.", "at least one HDU with data", "deliver the data.",
        )  # fmt: skip


def check_hdus(product: Product) -> Iterator[Breach]:
    """F05: what belongs to the file stands in its primary HDU; extensions have names, each its own."""
    for index in product.extensions:
        for keyword in ("PRODCATG", "ORIGFILE"):
            if product.has(keyword, index):
                yield product.breach(
                    "F05", index, keyword, "keyword_misplaced", f"{keyword} stands in an extension.",
                    "in the primary HDU only", f"remove {keyword} from this header.",
                )  # fmt: skip
        if not str(product.hdu(index).raw_header.get("EXTNAME", "")).strip():
            yield product.breach(
                "F05", index, "EXTNAME", "extname_missing", "the extension has no name.", "EXTNAME in every extension",
                "write EXTNAME.",
            )  # fmt: skip
    hdus = [product.hdu(index) for index in product.extensions]
    names = Counter(hdu.name for hdu in hdus if hdu.name in (PROVENANCE, CATALOGUE))
    # Interferometers repeat OI_VIS2 with another EXTVER: the pair is the name (FITS 4.0 §4.4.2.6).
    names.update(
        str(name)
        for (name, _), count in Counter((hdu.name, hdu.header.get("EXTVER", 1)) for hdu in hdus if hdu.name).items()
        for _ in range(count - 1)
        if name not in (PROVENANCE, CATALOGUE)
    )
    for name, count in names.items():
        if count > 1 or name not in (PROVENANCE, CATALOGUE):
            yield product.breach(
                "F05", None, "EXTNAME", "extname_twice", f"more than one extension is called {name}.",
                "a name of its own for each extension", "rename or merge them.",
            )  # fmt: skip


def check_wcs_form(product: Product) -> Iterator[Breach]:
    """F06: the CD matrix is the only linear form, and there is one WCS (SDP 8 §5.4)."""
    for index in (product.primary, *product.extensions):
        names = [keyword for keyword in product.values[index] if OTHER_WCS.match(keyword)]
        if names:
            told = ", ".join(names[:6])
            yield product.breach(
                "F06", index, told, "wcs_form", f"{told} refused.", "CDi_j, and no CDELTi, CROTAi, PCi_j",
                "write the same matrix as CDi_j = CDELTi * PCi_j, and remove these.",
            )  # fmt: skip
        names = [keyword for keyword in product.values[index] if ALTERNATE_WCS.match(keyword)]
        if names:
            yield product.breach(
                "F06", index, ", ".join(names), "wcs_second", "the header has a second WCS.", "one WCS in a header",
                "remove the alternative one.",
            )  # fmt: skip
