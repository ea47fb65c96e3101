"""/hips: the surveys' files and the node's list. HTTP only; which builds are served, shelf.py knows."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, Response

from archive.vo.conditional import document
from archive.vo.errors import NotFoundError
from archive.vo.routes import PlainRoute, provided
from hips import properties
from hips.shelf import Published, Shelf
from hips.tile import is_tile_path

list_router = APIRouter(route_class=PlainRoute, tags=["HiPS"])
files_router = APIRouter(route_class=PlainRoute, tags=["HiPS"])

MEDIA_TYPES = {
    "fits": "application/fits",
    "png": "image/png",
    "jpg": "image/jpeg",
    "html": "text/html; charset=utf-8",
    "": "text/plain; charset=utf-8",
}
TEXT = MEDIA_TYPES[""]
# A build never changes; another may take its place, which clients see by hips_release_date (§4.4.1).
TILES_FRESH, REST_FRESH = "public, max-age=3600", "no-cache"
_ROOT_FILES = ("properties", "index.html", "preview.jpg", "Moc.fits", "Norder3/Allsky.fits", "Norder3/Allsky.png")
Shelved = Annotated[Shelf, provided(Shelf)]


@list_router.get("/hips/hipslist", operation_id="hipslist")
@list_router.get("/hips", operation_id="hips", include_in_schema=False)
def hipslist(request: Request, shelf: Shelved) -> Response:
    """HiPS 1.0 §5.1: all surveys that are published here, a record each."""
    url = request.app.state.public_url
    told = properties.node_list(each.properties(url) for each in shelf.all_published())
    return document(request, told.encode(), TEXT)


@files_router.get("/hips/{name}", operation_id="hips_page")
def survey(request: Request, name: str, shelf: Shelved) -> Response:
    """The survey's page: what index.html says."""
    return survey_file(request, name, "index.html", shelf)


@files_router.get("/hips/{name}/{path:path}", operation_id="hips_file")
def survey_file(request: Request, name: str, path: str, shelf: Shelved) -> Response:
    """HiPS 1.0 §4.1: a file of a survey; 404 where there is no tile."""
    is_tile = is_tile_path(path)
    if not is_tile and path not in _ROOT_FILES:
        raise NotFoundError(f"a HiPS has no file {path}")
    found = shelf.published(name)
    headers = {"ETag": f'"{found.build_id}"', "Cache-Control": TILES_FRESH if is_tile else REST_FRESH}
    url = request.app.state.public_url
    if path == "properties":
        # It tells the public URL, which may change while the build does not: its validator is its own.
        told = properties.document(found.properties(url))
        return document(request, told.encode(), TEXT)
    if path == "index.html":
        return _page(found, url)
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    file = found.folder / path
    try:
        status = file.stat()
    except FileNotFoundError:
        raise NotFoundError(f"{name} has no {path}") from None
    return FileResponse(file, headers=headers, media_type=MEDIA_TYPES[path.rpartition(".")[2]], stat_result=status)


def _page(found: Published, url: str) -> Response:
    """index.html, which names the files beside it, whatever the address it was asked by (X-05: no trailing slash)."""
    base = f'<head><base href="{url}/hips/{found.name}/">'
    text = (found.folder / "index.html").read_text("utf-8").replace("<head>", base, 1)
    return Response(text, media_type=MEDIA_TYPES["html"], headers={"Cache-Control": REST_FRESH})
