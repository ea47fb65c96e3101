"""HTML for people: one page, its table streamed, which asks nothing of any host."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Unpack

import pyarrow as pa
import pyarrow.compute as pc

from archive.vo.arrow import TEXT, conformed, is_timestamp, slices
from archive.vo.columns import Column
from archive.vo.formats.writing import Told, said, was_cut
from archive.vo.markup import Markup, element
from archive.vo.text import joined_bytes, text_column
from archive.vo.votable import failure
from archive.vo.votable.tabledata import escaped

# A browser holds a page whole: what is more than this many rows is for programs.
MAX_ROWS = 10_000
MORE = f"This page shows the first {MAX_ROWS:,} rows; every other format gives all of them."
CUT = "MAXREC, or the service's own limit, cut this table: there are more rows."
HEAD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Result</title><style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 1rem; color: #111; background: #fff }
pre { white-space: pre-wrap }
table { border-collapse: collapse }
th, td { border: 1px solid #bbb; padding: .15rem .5rem; text-align: left; vertical-align: top }
td { white-space: pre-wrap; max-width: 40rem; overflow-wrap: anywhere }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
th { position: sticky; top: 0; background: #eee; font-weight: 600 }
th small { display: block; font-weight: normal; color: #444 }
</style></head><body>
"""
WEB_ADDRESS = r"^https?://[^\s\"'<>]+$"


def write_html(columns: Sequence[Column], batches: Iterable[pa.RecordBatch], **told: Unpack[Told]) -> Iterator[bytes]:
    """The page. Missing values are empty cells; web addresses in text are links."""
    name = told.get("table_name") or "result"
    infos = [
        element("dt", None, info.name) + element("dd", None, element("pre", None, info.value)) for info in said(told)
    ]
    title = element("h1", None, name) + (element("p", None, told["description"]) if told.get("description") else "")
    about = element(
        "details", None, element("summary", None, "About this result"), element("dl", None, map(Markup, infos))
    )
    yield f"{HEAD}{title}{about}<table>\n{_header(columns)}<tbody>\n".encode()
    left, last = MAX_ROWS, ""
    try:
        for batch in batches:
            if batch.num_rows > left:
                last = MORE
            for part in slices(batch.slice(0, left)):
                yield _rows(columns, part)
            left -= min(left, batch.num_rows)
            if last:
                break
        if not last and was_cut(told):
            last = CUT
    except Exception as error:
        if told.get("late_failures") == "raised":
            raise
        last = failure(error).content or ""
    rows = f"{MAX_ROWS - left:,} rows. {last}"
    yield f"</tbody></table>\n{element('p', {'role': 'status'}, rows)}\n</body></html>\n".encode()


def _header(columns: Sequence[Column]) -> str:
    cells = []
    for column in columns:
        notes = [element("small", None, note) for note in (column.unit, column.ucd) if note]
        cells.append(element("th", {"scope": "col", "title": column.description}, column.name, notes))
    return f"<thead>{element('tr', None, cells)}</thead>\n"


def _rows(columns: Sequence[Column], part: pa.RecordBatch) -> bytes:
    parts: list[pa.Array | pa.Scalar] = []
    between = "<tr>"
    for column, array in zip(columns, conformed(part, columns), strict=True):
        cells = text_column(array, column)
        if column.datatype in TEXT:
            opening = "<td>"
            if not is_timestamp(column):
                is_link = pc.match_substring_regex(cells, WEB_ADDRESS)
                cells = escaped(cells)
                if pc.any(is_link).as_py():
                    link = pc.binary_join_element_wise('<a href="', cells, '" rel="noreferrer">', cells, "</a>", "")
                    cells = pc.if_else(is_link, link, cells)
        else:
            opening = '<td class="n">'
        parts += [pa.scalar(between + opening), cells.fill_null("") if cells.null_count else cells]
        between = "</td>"
    return bytes(joined_bytes([*parts, pa.scalar("</td></tr>\n")]))
