"""Reading a table's description as VOSI and VODataService write it: what a user sends who wants such a table.

Both of VODataService's types for columns are understood (VODataService 1.2 §3.5): VOTable's, and TAP's (TAPType).
The document is a stranger's: no entities, and nothing beyond max_bytes. Writing such documents is vosi.py's.
"""

from collections.abc import Iterator
from typing import BinaryIO
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from archive.vo.columns import DATATYPES, Column, Table
from archive.vo.errors import TooLargeError, UsageError

_TAP_TYPES = {
    "BOOLEAN": ("boolean", None, None), "SMALLINT": ("short", None, None), "INTEGER": ("int", None, None),
    "BIGINT": ("long", None, None), "REAL": ("float", None, None), "DOUBLE": ("double", None, None),
    "TIMESTAMP": ("char", "*", "timestamp"), "CHAR": ("char", "*", None), "VARCHAR": ("char", "*", None),
    "CLOB": ("char", "*", None), "BINARY": ("unsignedByte", "*", None), "VARBINARY": ("unsignedByte", "*", None),
    "BLOB": ("unsignedByte", "*", None), "POINT": ("double", "2", "point"), "REGION": ("char", "*", "adql:REGION"),
}  # fmt: skip


def root_of(file: BinaryIO) -> str:
    """The local name of a document's root element; UsageError where it is no XML. The file is left at its start."""
    found: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: found.append(name.rpartition(":")[2])
    try:
        while not found and (chunk := file.read(4096)):
            parser.Parse(chunk, False)
    except expat.ExpatError as error:
        if not found:
            raise UsageError(f"the document is no well-formed XML: {error}") from None
    finally:
        file.seek(0)
    return found[0] if found else ""


def read_vosi_table(file: BinaryIO, name: str, *, max_bytes: int = 16 << 20) -> Table:
    """The one table of a VOSI document (`vosi:table`, or a tableset with one), under this name.

    UsageError: no well-formed XML, an entity, no table or several, no columns, a type that is none.
    """
    root = _tree(file, max_bytes)
    tables = [root] if _local(root) == "table" else [one for one in root.iter() if _local(one) == "table"]
    if len(tables) != 1:
        raise UsageError(f"the document describes {len(tables)} tables; one is wanted, as VOSI describes it")
    table = tables[0]
    columns = tuple(_column(one) for one in table if _local(one) == "column")
    if not columns:
        raise UsageError("the document describes a table without columns")
    told = {what: _text(table, what) for what in ("title", "description", "utype")}
    return Table(name, columns, told["description"], told["utype"], title=told["title"])


def _tree(file: BinaryIO, max_bytes: int) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.EntityDeclHandler = _no_entity
    parser.StartElementHandler = lambda name, attributes: builder.start(name, attributes) and None
    parser.EndElementHandler = lambda name: builder.end(name) and None
    parser.CharacterDataHandler = builder.data
    size = 0
    try:
        while chunk := file.read(1 << 16):
            size += len(chunk)
            if size > max_bytes:
                raise TooLargeError(f"the description of the table has more than {max_bytes} bytes, the limit here")
            parser.Parse(chunk, False)
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise UsageError(f"the description of the table is no well-formed XML: {error}") from None
    return builder.close()


def _no_entity(name: str, *_: object) -> None:
    raise UsageError(f"the document declares an entity ({name}); a table's description needs none")


def _local(one: Element) -> str:
    return one.tag.rpartition("}")[2]


def _children(parent: Element, name: str) -> Iterator[Element]:
    return (one for one in parent if _local(one) == name)


def _text(parent: Element, name: str) -> str | None:
    found = next(_children(parent, name), None)
    return " ".join("".join(found.itertext()).split()) or None if found is not None else None


def _column(element: Element) -> Column:
    name = (_text(element, "name") or "").removeprefix('"').removesuffix('"').replace('""', '"')
    if not name:
        raise UsageError("a column of the table has no name")
    given = next(_children(element, "dataType"), None)
    if given is None:
        raise UsageError(f"column {name} has no dataType")
    word = "".join(given.itertext()).strip()
    datatype, arraysize, xtype = word, given.get("arraysize"), given.get("extendedType")
    if datatype not in DATATYPES:
        known = _TAP_TYPES.get(word.rpartition(":")[2].upper())
        if known is None:
            raise UsageError(f"column {name}: {word!r} is neither a VOTable nor a TAP datatype")
        datatype, arraysize, xtype = known
    if datatype == "bit" and not arraysize:
        datatype = "boolean"
    return Column(
        name, datatype, (arraysize or "").strip() or None, xtype or None, _text(element, "unit"),
        _text(element, "ucd"), _text(element, "utype"), _text(element, "description"),
    )  # fmt: skip
