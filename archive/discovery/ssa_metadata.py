"""SSA's FORMAT=METADATA: what the service takes and gives, as a VOTable without rows (SSA 1.1 §4.2.7)."""

from collections.abc import Sequence

from archive.discovery.ssa_columns import COLUMNS
from archive.vo.columns import Column
from archive.vo.descriptors import Input
from archive.vo.markup import Markup, element
from archive.vo.votable import Info, write_votable


def metadata_document(inputs: Sequence[Input]) -> bytes:
    """PARAMs INPUT:POS ... and OUTPUT:... beside a table that has the columns of an answer and no rows."""
    params = [one.markup("INPUT:") for one in inputs]
    params += [_output(column) for column in COLUMNS]
    head: tuple[Info | Markup, ...] = (Info("SERVICE_PROTOCOL", "1.1", "SSAP"), *params)
    return b"".join(write_votable(COLUMNS, [], serialization="tabledata", infos=head, table_name="result"))


def _output(column: Column) -> Markup:
    attributes = {
        "name": f"OUTPUT:{column.name}",
        "datatype": column.datatype,
        "arraysize": column.arraysize,
        "unit": column.unit,
        "ucd": column.ucd,
        "utype": column.utype,
        "value": "",
    }
    return element("PARAM", attributes, element("DESCRIPTION", None, column.description or ""))
