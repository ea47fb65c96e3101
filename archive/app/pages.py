"""The page at the root: what this archive is and where its doors are. The portal proper is archive.portal's."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from archive.app.opened import OpenedArchive
from archive.holdings import queries
from archive.served import ServedProtocol

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #fbfaf7; --line: #d8d5cc; --accent: #24527a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e3da; --paper: #12161c; --line: #333a44; --accent: #8fbbe0; } }
body { font: 17px/1.55 Georgia, "Times New Roman", serif; color: var(--ink); background: var(--paper);
  max-width: 46rem; margin: 3rem auto; padding: 0 1.2rem; }
h1 { font-weight: 400; letter-spacing: .01em; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
a { color: var(--accent); } table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
code, pre { font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace; }
pre { overflow-x: auto; padding: .8rem 1rem; border: 1px solid var(--line); }
dt { margin-top: .8rem; } dd { margin-left: 1.2rem; }
.figures { display: flex; gap: 2.5rem; flex-wrap: wrap; }
.figures b { display: block; font-size: 1.7rem; font-weight: 400; }
"""


def front_page(archive: OpenedArchive, protocols: Sequence[ServedProtocol]) -> str:
    """The page as HTML."""
    url = archive.settings.public_url
    with archive.engines.writer.connect() as connection:
        held = queries.counts(connection)
    figures = "".join(
        f"<div><b>{figure}</b>{name}</div>"
        for figure, name in (
            (f"{held['files']:,}", "files"),
            (_size(held["bytes"]), "on disk"),
            (f"{held['collections']:,}", "collections"),
        )
    )
    doors = "".join(
        f"<tr><th scope='row'>{escape(protocol.title)}</th>"
        f"<td><a href='{url}{protocol.path}{_child(protocol)}'><code>{escape(url + protocol.path)}</code></a></td></tr>"
        for protocol in protocols
        if protocol.path
    )
    query = "SELECT TOP 5 dp_id, target_name FROM ivoa.obscore"
    return page(
        escape(archive.settings.title),
        f"""<div class="figures">{figures}</div>
<h2>Services</h2><table>{doors}</table>
<p><a href="{url}/tap/examples">Queries to begin with</a> · <a href="{url}/tap/tables">Tables</a> ·
<a href="{url}/capabilities">Capabilities</a> · <a href="{url}/availability">Availability</a> ·
<a href="{url}/docs">API</a></p>
<h2>From Python</h2>
<pre>import pyvo
tap = pyvo.dal.TAPService("{escape(url)}/tap")
for row in tap.search("{query}"):
    print(row["dp_id"], row["target_name"])</pre>
<h2>From TOPCAT</h2><p>VO &rarr; Table Access Protocol &rarr; TAP URL: <code>{escape(url)}/tap</code></p>""",
    )


def api_page(document: Mapping[str, Any], url: str) -> str:
    """The OpenAPI document as a page of our own: nothing is loaded from elsewhere."""
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = "".join(
                f"<li><code>{escape(one['name'])}</code> {escape(one.get('description', ''))}</li>"
                for one in operation.get("parameters", ())
            )
            tag = (operation.get("tags") or ["Other"])[0]
            sections.setdefault(tag, []).append(
                f"<dt><code>{method.upper()} {escape(path)}</code></dt><dd>{escape(operation.get('description', ''))}"
                f"{f'<ul>{parameters}</ul>' if parameters else ''}</dd>"
            )
    body = "".join(f"<h2>{escape(tag)}</h2><dl>{''.join(entries)}</dl>" for tag, entries in sections.items())
    title = escape(document["info"]["title"])
    return page(f"{title}: API", f"<p>As OpenAPI: <a href='{url}/openapi.json'>openapi.json</a></p>{body}")


def page(title: str, body: str) -> str:
    """A page in the archive's dress; title and body are HTML."""
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{_STYLE}</style></head>
<body><main><h1>{title}</h1>
{body}
</main></body></html>
"""


def _child(protocol: ServedProtocol) -> str:
    """Where people begin: a protocol's own page, else what it says of itself."""
    return "/capabilities" if protocol.capabilities and protocol.path != "/tap" else ""


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
