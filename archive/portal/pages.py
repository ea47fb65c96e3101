"""How a page is made: Jinja's templates, the files beside them, and what a browser may do with a page."""

import base64
import hashlib
import json
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
        modules = {each.name: vendor.file_of(each, each.files[0]) for each in vendor.CODEMIRROR}
        self.modules = {name: path for name, path in modules.items() if path}
        self._files.update({_script_name(name): path for name, path in self.modules.items()})
        self.has_editor = len(self.modules) == len(vendor.CODEMIRROR)
        digest = hashlib.sha256()
        for name, path in self._files.items():
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        self.mark = digest.hexdigest()[:12]
        self.has_aladin = aladin is not None

    def read(self, name: str) -> tuple[bytes, str] | None:
        """A file and its media type; None: there is none of that name."""
        path = self._files.get(name)
        return (path.read_bytes(), _TYPES[path.suffix]) if path else None


def _script_name(module: str) -> str:
    """As what a module of npm's is served."""
    return f"{module.removeprefix('@').replace('/', '-')}.js"


class Pages:
    """Renders templates for one archive."""

    def __init__(self, *, title: str, description: str, public_url: str, version: str) -> None:
        self.static = StaticFiles()
        root = root_of(public_url)
        static = f"{root}/static/{self.static.mark}"
        # Where browsers find the modules that CodeMirror's import from each other, and leave to let just this in.
        import_map = json.dumps({"imports": {name: f"{static}/{_script_name(name)}" for name in self.static.modules}})
        digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
        self._policy = POLICY.replace("script-src 'self'", f"script-src 'self' 'sha256-{digest}'")
        self._environment = Environment(
            loader=PackageLoader("archive.portal"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

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
            instant=wording.instant, path=lambda text: quote(text, safe="/:"),
        )  # fmt: skip
        self._environment.globals.update(
            archive=title, description=description, url=public_url, root=root, version=version,
            static=static, has_aladin=self.static.has_aladin, has_editor=self.static.has_editor, import_map=import_map,
            wavelengths=wording.wavelengths, counted=wording.counted, sexagesimal=wording.sexagesimal,
            urlencode=urlencode,
        )  # fmt: skip

    def html(self, template: str, context: Mapping[str, Any], status: int = 200, **headers: str) -> HTMLResponse:
        """A page as an answer."""
        told = {
            "Content-Security-Policy": self._policy,
            "Cache-Control": "no-cache",
            "Vary": "Authorization",
            **headers,
        }
        return HTMLResponse(self._environment.get_template(template).render(context), status, told)
