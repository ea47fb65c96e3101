"""A result as a VOTable document, streamed (DALI 1.1 §4.4, TAP 1.1 §3.1, VOTable 1.4).

Head and tail of the document are here; rows are in tabledata.py and binary.py. Version 1.4 is written because the
STILTS and TOPCAT of today report 1.5 as an error (VOT-01).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import pyarrow as pa
import structlog

from archive.vo.arrow import is_timestamp, slices
from archive.vo.columns import Column
from archive.vo.errors import ArchiveError
from archive.vo.markup import Markup, element, start_tag
from archive.vo.votable.binary import NULLS, Binary, Binary2
from archive.vo.votable.info import Info
from archive.vo.votable.tabledata import Tabledata

logger = structlog.get_logger(__name__)

Serialization = Literal["tabledata", "binary2", "binary"]
ENCODERS: Mapping[Serialization, type[Tabledata | Binary2]] = {
    "tabledata": Tabledata,
    "binary2": Binary2,
    "binary": Binary,
}
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
ROOT = {
    "version": "1.4",
    "xmlns": "http://www.ivoa.net/xml/VOTable/v1.3",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
MJD_ORIGIN = 2400000.5
OVERFLOW = Info("QUERY_STATUS", "OVERFLOW", "MAXREC, or the service's own limit, cut this table: there are more rows.")
BROKEN = "The service failed while it wrote this table: the rows above are not all. Please ask again."


def write_votable(
    columns: Sequence[Column],
    batches: Iterable[pa.RecordBatch],
    *,
    serialization: Serialization = "binary2",
    infos: Sequence[Info | Markup] = (),
    overflow: Callable[[], bool] | None = None,
    table_name: str | None = None,
    description: str | None = None,
    resources: Sequence[Markup] = (),
    coosys: str | None = "ICRS",
    late_failures: Literal["told", "raised"] = "told",
    trailing: Callable[[], Sequence[Info]] | None = None,
) -> Iterator[bytes]:
    """The document, piece by piece, as the batches come; the memory used does not grow with the number of rows.

    batches: of `arrow_schema(columns)`, or what casts to it without loss. infos: echoed before the table (TAP-25);
    markup, such as PARAMs, stands there as it is.
    overflow: asked after the last row; True adds QUERY_STATUS=OVERFLOW after the table (TAP-11).
    resources: RESOURCE type="meta" elements, such as service descriptors; they refer to columns by `field_ids`.
    coosys: frame of the celestial columns (found by UCD), None if it is not known.
    late_failures: "told" ends the document with QUERY_STATUS=ERROR (for a client that has its 200 already, TAP-20);
    "raised" lets the exception out, for a job that can still fail as a whole.
    trailing: asked after the last row, if none failed, for what is known only then.
    """
    yield _head(columns, infos, table_name, description, coosys, with_nulls=serialization == "binary").encode()
    encoder = ENCODERS[serialization](columns)
    yield b"<DATA>" + encoder.opening
    last: list[Info] = []
    try:
        for batch in batches:
            for part in slices(batch):
                yield encoder.encode(part)
        if overflow is not None and overflow():
            last.append(OVERFLOW)
        if trailing is not None:
            last += trailing()
    except Exception as error:
        if late_failures == "raised":
            raise
        last = [failure(error)]
    yield encoder.finish() + b"</DATA>\n</TABLE>\n"
    yield _tail((*encoder.notes(), *last), resources).encode()


def votable_header(
    columns: Sequence[Column],
    *,
    infos: Sequence[Info | Markup] = (),
    overflow: bool = False,
    table_name: str | None = None,
    description: str | None = None,
    resources: Sequence[Markup] = (),
    coosys: str | None = "ICRS",
) -> bytes:
    """The document without DATA: what describes a table whose rows lie beside it (VOParquet 1.0 §2.1, FITS-plus)."""
    head = _head(columns, infos, table_name, description, coosys)
    return f"{head}</TABLE>\n{_tail([OVERFLOW] if overflow else [], resources)}".encode()


def _tail(told: Iterable[Info], resources: Sequence[Markup]) -> str:
    return "".join([*(info.markup() + "\n" for info in told), "</RESOURCE>\n", *resources, "</VOTABLE>\n"])


def failure(error: Exception) -> Info:
    """What a client is told whose document has begun: an ArchiveError's own text, else no details."""
    if isinstance(error, ArchiveError):
        logger.warning("a table ended early", error=str(error))
        return Info("QUERY_STATUS", "ERROR", str(error))
    logger.error("a table ended early", exc_info=error)
    return Info("QUERY_STATUS", "ERROR", BROKEN)


def votable_error(message: str, *, infos: Sequence[Info] = ()) -> bytes:
    """The error document of TAP, SIA and DataLink (DALI 1.1 §4.4.2)."""
    status = Info("QUERY_STATUS", "ERROR", message)
    content = [info.markup() for info in (status, *infos)]
    return f"{DECLARATION}{element('VOTABLE', ROOT, element('RESOURCE', {'type': 'results'}, content))}\n".encode()


def field_ids(columns: Sequence[Column]) -> list[str]:
    """The XML ID of each column's FIELD, for descriptors that refer to it: the name, made an NCName and unique."""
    taken = {"coosys", "timesys_mjd", "timesys_timestamp"}
    ids = []
    for column in columns:
        stem = re.sub(r"[^A-Za-z0-9_.-]", "_", column.name)
        stem = stem if re.match(r"[A-Za-z_]", stem) else f"_{stem}"
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name.lower())
        ids.append(name)
    return ids


def _head(
    columns: Sequence[Column],
    infos: Sequence[Info | Markup],
    table_name: str | None,
    description: str | None,
    coosys: str | None,
    *,
    with_nulls: bool = False,
) -> str:
    """All that comes before the rows; COOSYS and TIMESYS precede the FIELDs that refer to them (VOT-03, VOT-04).

    with_nulls: VALUES names the integers that stand for missing ones, as BINARY needs (VOT-05).
    """
    fields, systems = _fields(tuple(columns), coosys, with_nulls)
    lines = [
        start_tag("VOTABLE", ROOT),
        start_tag("RESOURCE", {"type": "results"}),
        Info("QUERY_STATUS", "OK").markup(),
        *(info.markup() if isinstance(info, Info) else info for info in infos),
        *systems,
        start_tag("TABLE", {"name": table_name}),
        *([element("DESCRIPTION", None, description)] if description else []),
        *fields,
    ]
    return DECLARATION + "\n".join(lines) + "\n"


@lru_cache(maxsize=256)
def _fields(
    columns: tuple[Column, ...], coosys: str | None, with_nulls: bool
) -> tuple[tuple[Markup, ...], tuple[Markup, ...]]:
    """The FIELDs, and the frames that they refer to. Kept: the same tables are asked for again and again."""
    references = [_reference(column, coosys) for column in columns]
    nulls = [NULLS.get(column.datatype) if with_nulls else None for column in columns]
    systems = {
        "coosys": element("COOSYS", {"ID": "coosys", "system": coosys}),
        "timesys_mjd": element(
            "TIMESYS",
            {"ID": "timesys_mjd", "timeorigin": MJD_ORIGIN, "timescale": "UTC", "refposition": "TOPOCENTER"},
        ),
        "timesys_timestamp": element(
            "TIMESYS", {"ID": "timesys_timestamp", "timescale": "UTC", "refposition": "TOPOCENTER"}
        ),
    }
    fields = tuple(map(_field, columns, field_ids(columns), references, nulls))
    return fields, tuple(systems[name] for name in systems if name in references)


def _field(column: Column, field_id: str, reference: str | None, null: int | None) -> Markup:
    attributes = {
        "ID": field_id,
        "name": column.name,
        "datatype": column.datatype,
        "arraysize": column.arraysize,
        "unit": column.unit,
        "ucd": column.ucd,
        "utype": column.utype,
        "xtype": column.xtype,
        "ref": reference,
    }
    description = element("DESCRIPTION", None, column.description) if column.description else None
    values = element("VALUES", {"null": null}) if null is not None else None
    return element("FIELD", attributes, description, values)


def _reference(column: Column, coosys: str | None) -> str | None:
    """The frame of a column, where its declaration leaves no doubt: by UCD, and ObsCore's MJD by UCD and unit."""
    if is_timestamp(column):
        return "timesys_timestamp"
    ucd = (column.ucd or "").lower()
    if ucd.startswith(("time.start;obs.exposure", "time.end;obs.exposure")) and column.unit == "d":
        return "timesys_mjd"
    if coosys is not None and ucd.startswith(("pos.eq", "pos.pm;pos.eq", "pos.outline")):
        return "coosys"
    return None
