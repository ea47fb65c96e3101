"""VOTable as a stream (TABLEDATA, BINARY2, BINARY), error documents, and reading an uploaded one.

Columns are declared in archive.vo.columns; rows travel as Arrow record batches (archive.vo.arrow). Which media type
asks for which serialization is in archive.vo.formats.
"""

from archive.vo.arrow import arrow_schema, arrow_type
from archive.vo.votable.document import Serialization, failure, field_ids, votable_error, votable_header, write_votable
from archive.vo.votable.info import Info, origin_infos
from archive.vo.votable.reading import UploadedTable, read_votable

__all__ = [
    "Info",
    "Serialization",
    "UploadedTable",
    "arrow_schema",
    "arrow_type",
    "failure",
    "field_ids",
    "origin_infos",
    "read_votable",
    "votable_error",
    "votable_header",
    "write_votable",
]
