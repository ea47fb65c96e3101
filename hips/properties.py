"""What a HiPS says of itself: `properties` (HiPS 1.0 §4.4.1), the node's list (§5.1), its page. Text only."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from archive.vo.errors import UsageError

VERSION = "1.4"  # that of HiPS 1.0
BUILDER = "Uraniborg"
# In the order of the standard's table; all that a record of the node's list must have (HIPS-07).
LISTED = ("creator_did", "hips_release_date", "hips_service_url", "hips_status")
MANDATORY = (
    "creator_did", "obs_title", "dataproduct_type", "hips_version", "hips_release_date", "hips_status",
    "hips_tile_format", "hips_order", "hips_frame",
)  # fmt: skip
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# Upper ends in metres (VODataService 1.2 §3.2, messenger vocabulary).
_REGIMES = (
    (1.24e-11, "Gamma-ray"), (1e-8, "X-ray"), (1e-7, "EUV"), (3.1e-7, "UV"), (1e-6, "Optical"), (1e-4, "Infrared"),
    (1e-2, "Millimeter"), (float("inf"), "Radio"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """What people say of a HiPS. title, description, copyright, licence, creator, bib_reference: free text."""

    title: str
    description: str | None = None
    creator: str | None = None
    copyright: str | None = None
    licence: str | None = None
    bib_reference: str | None = None
    collection: str | None = None
    regime: str | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the images say of themselves: MJD; metres in vacuum."""

    t_min: float | None = None
    t_max: float | None = None
    em_min: float | None = None
    em_max: float | None = None


def regime_of(em_min: float | None, em_max: float | None) -> str | None:
    """The word of obs_regime for wavelengths in metres: that of their middle, in logarithm."""
    if em_min is None or em_max is None:
        return None
    middle = (em_min * em_max) ** 0.5
    return next(word for limit, word in _REGIMES if middle < limit)


def moment(when: datetime) -> str:
    """As the standard writes times: UTC, to the minute."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


def document(values: Mapping[str, object]) -> str:
    """`key = value`, a line each; None is left out. A value is one line: line breaks become blanks."""
    lines = []
    for key, value in values.items():
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of properties")
        text = "" if value is None else " ".join(str(value).split())
        if text:
            lines.append(f"{key:<20} = {text}")
    return "\n".join(lines) + "\n"


def parsed(text: str) -> dict[str, str]:
    """Keys and values of a properties document; comments and empty lines are left out."""
    found = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            found[key.strip()] = value.strip()
    return found


def node_list(records: Iterable[Mapping[str, str]]) -> str:
    """The node's list of HiPS: the same values as in their properties, records apart by a blank line (§5.1, §5.2)."""
    keys = (*LISTED, "obs_title", "dataproduct_type", "hips_frame", "hips_order", "hips_tile_format", "client_category")
    return "\n".join(document({key: record.get(key) for key in keys}) for record in records)


def checked_name(name: str) -> str:
    """A name that can be a folder, part of a URL and of an IVOID. UsageError tells what is wrong."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name) or name in (
        "hipslist",
        "capabilities",
        "availability",
    ):
        raise UsageError(
            f"{name!r} cannot name a HiPS: letters, digits, '.', '_' and '-', and not a word of the service"
        )
    return name


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 17px/1.55 Georgia, "Times New Roman", serif; max-width: 46rem; margin: 3rem auto; padding: 0 1.2rem; }}
h1 {{ font-weight: 400; }} img {{ max-width: 100%; height: auto; }}
th {{ text-align: left; padding-right: 1rem; font-weight: 400; white-space: nowrap; vertical-align: top; }}
td {{ overflow-wrap: anywhere; }} code, table {{ font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace; }}
</style></head>
<body><main><h1>{title}</h1>
<p><img src="preview.jpg" width="256" height="256" alt="The whole of this survey, north up"></p>
{description}
<p>A hierarchical progressive survey (HiPS). To see it, give the address of this folder to Aladin (File, Open),
Aladin Lite or ESASky. Its <a href="properties">properties</a>, its <a href="Moc.fits">coverage</a>.</p>
<table>{rows}</table>
</main></body></html>
"""


def page(values: Mapping[str, object]) -> str:
    """index.html: the survey for people; names only files beside it."""
    rows = "".join(
        f"<tr><th scope='row'>{escape(key)}</th><td>{escape(str(value))}</td></tr>"
        for key, value in values.items()
        if value is not None and value != ""
    )
    description = values.get("obs_description")
    told = f"<p>{escape(str(description))}</p>" if description else ""
    return _PAGE.format(title=escape(str(values["obs_title"])), description=told, rows=rows)
