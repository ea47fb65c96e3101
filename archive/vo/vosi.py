"""VOSI 1.1's documents: capabilities, availability, tables. Written from declared values, valid by the IVOA schemas.

What a service can do is declared in archive.vo.capability, what its tables are in archive.vo.columns; who asks the
database whether it is there is the front door.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

from vo_models.vosi.availability import Availability as AvailabilityModel

from archive.vo.capability import Capability, Interface
from archive.vo.columns import Column, ForeignKey, Schema, Table
from archive.vo.markup import Markup, element, start_tag, text

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
XSI = "http://www.w3.org/2001/XMLSchema-instance"
VODATASERVICE = "http://www.ivoa.net/xml/VODataService/v1.1"
CAPABILITIES_NAMESPACES = {
    "xmlns:vosi": "http://www.ivoa.net/xml/VOSICapabilities/v1.0",
    "xmlns:vr": "http://www.ivoa.net/xml/VOResource/v1.0",
    "xmlns:vs": VODATASERVICE,
    "xmlns:xsi": XSI,
}
TABLES_NAMESPACES = {
    "xmlns:vosi": "http://www.ivoa.net/xml/VOSITables/v1.0",
    "xmlns:vs": VODATASERVICE,
    "xmlns:xsi": XSI,
}
MEDIA_TYPE = "text/xml"
Detail = Literal["min", "max"]


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether the service can be used, and since and until when (VOSI 1.1 §3.2). Times are aware."""

    available: bool
    up_since: datetime | None = None
    down_at: datetime | None = None
    back_at: datetime | None = None
    notes: tuple[str, ...] = ()


def availability_document(availability: Availability) -> bytes:
    """The availability document (VOSI-02)."""
    model = AvailabilityModel(
        available=availability.available,
        up_since=_instant(availability.up_since),
        down_at=_instant(availability.down_at),
        back_at=_instant(availability.back_at),
        note=list(availability.notes),
    )
    document = model.to_xml(skip_empty=True, encoding="UTF-8", xml_declaration=True)
    return document if isinstance(document, bytes) else document.encode()


def _instant(time: datetime | None) -> datetime | None:
    return time.astimezone(UTC) if time else None


def capabilities_document(capabilities: Iterable[Capability], base_url: str, *, in_full: bool = False) -> bytes:
    """The capabilities document for an archive whose public base URL is base_url (VOSI-01, TAP-40).

    in_full: parameters and the test query too; left out because pyvo 1.9 warns its users of each.
    """
    declared = list(capabilities)
    namespaces = dict(CAPABILITIES_NAMESPACES)
    for capability in declared:
        if capability.extension is not None:
            prefix, namespace = capability.extension.namespace
            namespaces[f"xmlns:{prefix}"] = namespace
    root = element(
        "vosi:capabilities", namespaces, [capability_markup(one, base_url, in_full=in_full) for one in declared]
    )
    return f"{DECLARATION}{root}\n".encode()


def capability_markup(capability: Capability, base_url: str, *, in_full: bool = False) -> Markup:
    """One capability element: as in VOSI, so in the registry's records (REG-07).

    in_full: parameters and the test query too.
    """
    extension = capability.extension
    return element(
        "capability",
        {"standardID": capability.standard_id, "xsi:type": extension.xsi_type if extension else None},
        element("description", None, capability.description) if capability.description else None,
        [_interface(interface, base_url, in_full) for interface in capability.interfaces],
        extension.markup() if extension else None,
    )


def _interface(interface: Interface, base_url: str, in_full: bool) -> Markup:
    attributes = {"xsi:type": interface.kind, "role": interface.role, "version": interface.version}
    url = base_url.rstrip("/") + interface.path
    content = [element("accessURL", {"use": interface.use}, url)]
    content += [element("securityMethod", {"standardID": method}) for method in interface.security_methods]
    if interface.kind == "vs:ParamHTTP":
        content += [element("queryType", None, query_type) for query_type in interface.query_types]
        if interface.result_type:
            content.append(element("resultType", None, interface.result_type))
        if in_full:
            content += [one.capability() for one in interface.inputs]
        if in_full and interface.test_query:
            content.append(element("testQuery", None, interface.test_query))
    return element("interface", attributes, content)


def tables_document(schemas: Iterable[Schema], *, detail: Detail = "max") -> Iterator[bytes]:
    """The tableset, table by table (VOSI-03). detail "min" leaves out columns and keys."""
    return tableset((schema, (table_element(table, detail) for table in schema.tables)) for schema in schemas)


def table_element(table: Table, detail: Detail = "min", columns: Iterable[Markup] | None = None) -> Markup:
    """A table within the tableset. columns: where they are XML already."""
    return element("table", {"type": table.kind}, _table(table, detail, columns))


def tableset(schemas: Iterable[tuple[Schema, Iterable[str]]]) -> Iterator[bytes]:
    """The tableset of tables that are XML already (`table_element`)."""
    yield f"{DECLARATION}{start_tag('vosi:tableset', TABLES_NAMESPACES)}\n".encode()
    for schema, tables in schemas:
        head = [
            element("name", None, schema.name),
            *_optional(description=schema.description, utype=schema.utype),
        ]
        yield f"<schema>{''.join(head)}\n".encode()
        for table in tables:
            yield f"{table}\n".encode()
        yield b"</schema>\n"
    yield b"</vosi:tableset>\n"


def for_tapplus(document: Iterable[bytes]) -> Iterator[bytes]:
    """The tableset for astroquery's TapPlus: it asks every column for an attribute of ESA's own servers, and reads no
    table at all without. document: of `tableset`, no piece of which ends within a tag.
    """
    for piece in document:
        piece = piece.replace(b"<vosi:tableset ", b'<vosi:tableset xmlns:esatapplus="http://esa.int/xml/EsaTapPlus" ')
        yield piece.replace(b"<column ", b'<column esatapplus:flags="0" ')


def table_document(table: Table) -> bytes:
    """One table in full: `/tables/<name>` (VOSI-03, VOSI-04)."""
    root = element("vosi:table", {**TABLES_NAMESPACES, "type": table.kind}, _table(table, "max"))
    return f"{DECLARATION}{root}\n".encode()


def _table(table: Table, detail: Detail, columns: Iterable[Markup] | None = None) -> Iterator[Markup]:
    """The content of a table, in the order of VODataService 1.2 §3.3.1."""
    yield element("name", None, table.name)
    yield from _optional(title=table.title, description=table.description, utype=table.utype)
    if table.rows is not None:
        yield element("nrows", None, str(table.rows))
    if detail == "max":
        yield from map(_column, table.columns) if columns is None else columns
        yield from map(_foreign_key, table.keys)


def _column(column: Column) -> Markup:
    return column_element(
        column.typed_name, column.datatype, column.arraysize, column.xtype, column.unit, column.ucd, column.utype,
        column.description, column.principal, column.indexed, column.std,
    )  # fmt: skip


def column_element(
    typed_name: str, datatype: str, arraysize: str | None, xtype: str | None, unit: str | None, ucd: str | None,
    utype: str | None, description: str | None, principal: bool, indexed: bool, std: bool,
) -> Markup:  # fmt: skip
    """A column, by the values of vo.columns.Column; put together by hand, for there may be hundreds of thousands."""
    about = f"<description>{text(description)}</description>" if description else ""
    rest = _after_description(unit, ucd, utype, datatype, arraysize, xtype, indexed, principal)
    return Markup(f"{STD if std else NOT_STD}{_name(typed_name)}{about}{rest}</column>")


@lru_cache(maxsize=4096)
def _name(typed: str) -> Markup:
    return element("name", None, typed)


STD, NOT_STD = start_tag("column", {"std": True}), start_tag("column", {"std": False})


@lru_cache(maxsize=4096)
def _after_description(
    unit: str | None, ucd: str | None, utype: str | None, datatype: str, arraysize: str | None, xtype: str | None,
    indexed: bool, principal: bool,
) -> str:  # fmt: skip
    """What the columns of different tables have in common."""
    attributes = {"xsi:type": "vs:VOTableType", "arraysize": arraysize, "extendedType": xtype}
    flags = [name for name, given in (("indexed", indexed), ("principal", principal)) if given]
    parts = [*_optional(unit=unit, ucd=ucd, utype=utype), element("dataType", attributes, datatype)]
    return "".join([*parts, *(element("flag", None, flag) for flag in flags)])


def _foreign_key(key: ForeignKey) -> Markup:
    return element(
        "foreignKey",
        None,
        element("targetTable", None, key.target_table),
        [
            element("fkColumn", None, element("fromColumn", None, here), element("targetColumn", None, there))
            for here, there in key.pairs
        ],
        _optional(description=key.description, utype=key.utype),
    )


def _optional(**texts: str | None) -> Iterator[Markup]:
    return (element(name, None, text) for name, text in texts.items() if text)
