"""How a page is made: Jinja's templates, the files beside them, and what a browser may do with a page."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from archive.portal import vendor, wording
from archive.portal.service import Survey, root_of

# Nothing from another host, no script but ours. Aladin Lite is WebAssembly, writes styles, and makes pictures of data.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; font-src 'self' data:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class StaticFiles:
    """The files that pages need, by name; their names carry a mark of all of them, so that browsers may keep them."""

    def __init__(self) -> None:
        self._files = {path.name: path for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES}
        aladin = vendor.file_of(vendor.ALADIN_LITE, "dist/aladin.js")
        if aladin:
            self._files["aladin.js"] = aladin
        digest = hashlib.sha256()
        for name, path in self._files.items():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        self.mark = digest.hexdigest()[:12]
        self.has_aladin = aladin is not None

    def read(self, name: str) -> tuple[bytes, str] | None:
        """A file and its media type; None: there is none of that name."""
        path = self._files.get(name)
        return (path.read_bytes(), _TYPES[path.suffix]) if path else None


class Pages:
    """Renders templates for one archive."""

    def __init__(self, *, title: str, description: str, public_url: str, version: str) -> None:
        self.static = StaticFiles()
        self._environment = Environment(
            loader=PackageLoader("archive.portal"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        root = root_of(public_url)

        def local(url: str) -> str:
            """The address within the archive, whatever name the browser reached it by."""
            return root + url.removeprefix(public_url) if url.startswith(f"{public_url}/") else url

        def for_maps(surveys: Sequence[Survey]) -> list[dict[str, object]]:
            """The surveys as sky.js takes them."""
            return [
                {"path": root + each.path, "title": each.title, "ra": each.ra, "dec": each.dec, "fov": each.fov}
                for each in surveys
            ]

        self._environment.filters.update(
            size=wording.size, moment=wording.moment, day=wording.day, kind=wording.kind, seconds=wording.seconds,
            angle=wording.angle, title_of=wording.title, local=local, for_maps=for_maps,
            path=lambda text: quote(text, safe="/:"),
        )  # fmt: skip
        self._environment.globals.update(
            archive=title, description=description, url=public_url, root=root, version=version,
            static=f"{root}/static/{self.static.mark}", has_aladin=self.static.has_aladin,
            wavelengths=wording.wavelengths, counted=wording.counted, sexagesimal=wording.sexagesimal,
            urlencode=urlencode,
        )  # fmt: skip

    def html(self, template: str, context: Mapping[str, Any], status: int = 200, **headers: str) -> HTMLResponse:
        """A page as an answer."""
        told = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache", "Vary": "Authorization", **headers}
        return HTMLResponse(self._environment.get_template(template).render(context), status, told)
