"""What a product was made from, as its header names it: Phase 3's PROVi, ESO pipelines' PRO RECi RAWj and CALj.

Names only; which of them the archive holds is asked of the holdings.
"""

import re

from ingest.describe.header import FitsFile
from ingest.describe.identity import PRODUCT_NAME, RAW_NAME, archive_name

_PROV = re.compile(r"^PROV\d+$")
# A file's name, perhaps with an HDU's number; other pipelines write sentences under PROVi.
_FILE = re.compile(r"^\S+$")
_RECIPE = re.compile(r"^ESO PRO REC\d+ (RAW|CAL)\d+ NAME$")


def progenitors(file: FitsFile) -> tuple[str, ...]:
    """The names of the files a product was made from, each once: Phase 3's list, then raw frames, then calibrations.

    An archive name loses its ".fits" (it is a dp_id then); any other file name stays whole. Empty without provenance.
    Source: ESO SDP standard v8 §2.5 (PROVi); ESO Data Interface Control Document, PRO dictionary.
    """
    listed: dict[str, list[str]] = {"PROV": [], "RAW": [], "CAL": []}
    for hdu in file.hdus:
        for keyword, value in hdu.header.items():
            match = _RECIPE.match(keyword)
            if (match or _PROV.match(keyword)) and isinstance(value, str) and _FILE.match(value.strip()):
                listed[match[1] if match else "PROV"].append(_name(value.strip()))
    return tuple(dict.fromkeys([*listed["PROV"], *listed["RAW"], *listed["CAL"]]))


def _name(value: str) -> str:
    whole = re.sub(r"\[\d+\]$", "", value)
    plain = archive_name(whole)
    return plain if RAW_NAME.match(plain) or PRODUCT_NAME.match(plain) else whole
