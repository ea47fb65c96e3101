"""What a service takes, as a VOTable tells it: input parameters, and service descriptors (DataLink 1.1 §4).

A protocol declares its parameters once, as Input; its own descriptor, its capabilities and its page of the API are
written from them. What the values mean is the room's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from archive.vo.markup import Markup, element

LINKS = "ivo://ivoa.net/std/DataLink#links-1.1"
DATALINK_TYPE = "application/x-votable+xml;content=datalink"


@dataclass(frozen=True, slots=True)
class Input:
    """An input parameter.

    datatype, arraysize, xtype, unit, ucd: as of a VOTable PARAM. values: all it takes, or, with `is_open`, those known
    now. minimum, maximum: of a number, in its unit. ref: the XML ID of the column whose cells are its values.
    """

    name: str
    description: str
    datatype: str = "char"
    arraysize: str | None = "*"
    xtype: str | None = None
    unit: str | None = None
    ucd: str | None = None
    values: tuple[str, ...] = ()
    is_open: bool = False
    minimum: str | None = None
    maximum: str | None = None
    ref: str | None = None
    is_required: bool = False

    def markup(self, prefix: str = "") -> Markup:
        """The PARAM, without a value."""
        limits = [
            element(name, {"value": limit}) for name, limit in (("MIN", self.minimum), ("MAX", self.maximum)) if limit
        ]
        content = [*limits, *(element("OPTION", {"value": value}) for value in self.values)]
        return element(
            "PARAM",
            {
                "name": f"{prefix}{self.name}",
                "datatype": self.datatype,
                "arraysize": self.arraysize,
                "xtype": self.xtype,
                "unit": self.unit,
                "ucd": self.ucd,
                "ref": self.ref,
                "value": "",  # anything else would be a constant, to be sent as it is (DataLink 1.1 §4.2)
            },
            element("DESCRIPTION", None, self.description),
            element("VALUES", None, content) if content else None,
        )

    def openapi(self) -> Mapping[str, Any]:
        """The parameter as OpenAPI describes it."""
        kind = {"int": "integer", "long": "integer", "float": "number", "double": "number"}
        one: dict[str, Any] = {"type": kind.get(self.datatype, "string") if self.arraysize is None else "string"}
        if self.values and not self.is_open:
            one["enum"] = list(self.values)
        unit = f" ({self.unit})" if self.unit else ""
        return {
            "name": self.name,
            "in": "query",
            "required": self.is_required,
            "description": f"{self.description}{unit}",
            "schema": one,
        }

    def capability(self) -> Markup:
        """The parameter as a ParamHTTP interface lists it (VODataService 1.2 §3.4)."""
        datatype = {"arraysize": self.arraysize, "extendedType": self.xtype}
        return element(
            "param",
            {"use": "required" if self.is_required else "optional", "std": True},
            element("name", None, self.name),
            element("description", None, self.description),
            element("unit", None, self.unit) if self.unit else None,
            element("ucd", None, self.ucd) if self.ucd else None,
            element("dataType", {"xsi:type": "vs:VOTableType", **datatype}, self.datatype),
        )


def service_descriptor(
    access_url: str,
    inputs: Sequence[Input],
    *,
    standard_id: str | None = None,
    identifier: str | None = None,
    name: str | None = None,
    utype: Literal["adhoc:service", "adhoc:this"] = "adhoc:service",
    content_type: str | None = None,
    description: str | None = None,
) -> Markup:
    """A RESOURCE that says how to call a service (DataLink 1.1 §4.1).

    identifier: the XML ID that service_def of {links} names; name: "this" for the service that gave the document
    (SIA 2.0 §3.1.2).
    """
    told = (("standardID", standard_id), ("accessURL", access_url), ("contentType", content_type))
    params = [_param(key, value) for key, value in told if value is not None]
    group = element("GROUP", {"name": "inputParams"}, _inputs(inputs))
    about = element("DESCRIPTION", None, description) if description else None
    attributes = {"type": "meta", "utype": utype, "ID": identifier, "name": name}
    return Markup(f"{element('RESOURCE', attributes, about, params, group)}\n")


def links_descriptor(public_url: str, ref: str) -> Markup:
    """The descriptor that leads from a row to its {links}. ref: the XML ID of the column of publisher DIDs."""
    identifier = Input("ID", "Publisher DID of a data set", ucd="meta.id;meta.main", ref=ref)
    return service_descriptor(
        f"{public_url}/datalink/links",
        [identifier],
        standard_id=LINKS,
        identifier="datalink",
        content_type=DATALINK_TYPE,
        description="All that can be had of a data set",
    )


def _inputs(inputs: Iterable[Input]) -> Iterable[Markup]:
    return (one.markup() for one in inputs)


def _param(name: str, value: str) -> Markup:
    return element("PARAM", {"name": name, "datatype": "char", "arraysize": "*", "value": value})
