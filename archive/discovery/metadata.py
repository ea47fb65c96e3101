"""FORMAT=METADATA of SIA 1 and SSA: what the service takes and gives, as a VOTable without rows (SSA 1.1 §4.2.7)."""

from collections.abc import Sequence

from archive.vo.columns import Column
from archive.vo.dali import Parameters
from archive.vo.descriptors import Input
from archive.vo.markup import Markup, element
from archive.vo.votable import Info, write_votable


def metadata_document(inputs: Sequence[Input], columns: Sequence[Column], protocol: Info) -> bytes:
    """PARAMs INPUT:POS ... and OUTPUT:... beside a table that has the columns of an answer and no rows."""
    params = [one.markup("INPUT:") for one in inputs]
    params += [_output(column) for column in columns]
    head: tuple[Info | Markup, ...] = (protocol, *params)
    return b"".join(write_votable(columns, [], serialization="tabledata", infos=head, table_name="result"))


def wants_metadata(asked: Parameters) -> bool:
    """Whether FORMAT=METADATA asks for the service's own description (SIA 1.0 §6.1, SSA 1.1 §4.2.7)."""
    return any(text.strip().lower() == "metadata" for text in asked.all("FORMAT"))


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
