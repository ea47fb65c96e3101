"""What DataLink and the files say of themselves."""

from fastapi import APIRouter

from archive.served import ServedProtocol
from archive.vo.capability import Capability, Interface
from datalink.links import MEDIA_TYPE
from datalink.router import files_router, links_router

LINKS = "ivo://ivoa.net/std/DataLink#links-1.1"


def protocols() -> tuple[ServedProtocol, ...]:
    """DataLink under /datalink, files and headers at the root."""
    links = Capability(
        LINKS,
        (Interface("/datalink/links", version="1.1", query_types=("GET", "POST"), result_type=MEDIA_TYPE),),
    )
    datalink = APIRouter()
    datalink.include_router(links_router, prefix="/datalink")
    return (
        ServedProtocol("/datalink", "DataLink", datalink, (links,)),
        ServedProtocol("", "Files", files_router),
    )
