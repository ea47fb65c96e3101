"""What HiPS says of itself."""

from archive.served import ServedProtocol
from archive.vo.capability import Capability, Interface
from hips.router import files_router, list_router

HIPSLIST = "ivo://ivoa.net/std/hips#hipslist-1.0"


def protocols() -> tuple[ServedProtocol, ...]:
    """The node's list, with VOSI beside it, and after them the surveys, whose names may be anything else (HIPS-08)."""
    node = Capability(HIPSLIST, (Interface("/hips/hipslist", version="1.0"),), "The HiPS of this archive.")
    return (
        ServedProtocol("/hips", "HiPS", list_router, (node,), front="/hips/hipslist"),
        ServedProtocol("", "HiPS files", files_router),
    )
