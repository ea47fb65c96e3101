"""From a file to a Description: what would be recorded about it, and why. Pure: no database, no store, no HTTP.

describe() takes an open FITS file, describe_path() any file. Each kind of data has a module that recognises it by
content; the first that does, describes it. Instruments are mappings (ingest.instruments), given as a value.
"""

from ingest.describe.facts import Description, Fact, Facts, RefusedError
from ingest.describe.frame import describe, describe_path
from ingest.describe.header import FitsFile, Hdu, header_json, open_fits

__all__ = [
    "Description", "Fact", "Facts", "FitsFile", "Hdu", "RefusedError", "describe", "describe_path", "header_json",
    "open_fits",
]  # fmt: skip
