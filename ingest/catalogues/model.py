"""A catalogue between its file and the table it becomes: values only.

A reader (archive.vo.tables, votable) makes a `SourceTable`: columns named and typed as the file has them.
`publish.published` turns it into a `Catalogue`: legal names, VOUnits, UCD1+, one main position in ICRS degrees.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from archive.vo.columns import Table
from archive.vo.regions import Circle
from ingest.findings import Finding


@dataclass(frozen=True, slots=True)
class Coverage:
    """Where the rows lie.

    rows: how many; placed: how many have a position. circle: the smallest we can say round all of them, ICRS degrees,
    None where they reach over more than a hemisphere (whole_sky is then True) or none has a position.
    """

    rows: int
    placed: int
    circle: Circle | None
    whole_sky: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A table ready to be published.

    table: what TAP_SCHEMA, VOTable and VOSI will tell; table.rows is exact.
    batches: Arrow record batches with the table's column names and order, each `chunk_rows` rows at most. May be
    iterated again: each time the file is read from its beginning.
    ra, dec: the names of the two columns (double or float) that hold ICRS degrees, 0 <= ra < 360; None without one.
    """

    table: Table
    batches: Iterable[pa.RecordBatch]
    coverage: Coverage
    ra: str | None = None
    dec: str | None = None
    findings: tuple[Finding, ...] = field(default=())
