"""The discovery protocols, to be mounted: what they say of themselves and their routes."""

from fastapi import APIRouter

from archive.discovery import scs, sia, ssa
from archive.discovery.capabilities import sia_capability, ssa_capability
from archive.discovery.router import scs_router, sia_router, ssa_router, vosi
from archive.discovery.service import Limits
from archive.served import ServedProtocol


def protocols(limits: Limits) -> tuple[ServedProtocol, ...]:
    """SIA 2 under /sia2, SSA under /ssa, cone searches under /scs, each table with VOSI documents of its own."""
    rows = (limits.default_maxrec, limits.hard_maxrec)
    images, spectra = sia.parameters(*rows), ssa.parameters(*rows)
    cones = APIRouter()
    cones.include_router(vosi)
    cones.include_router(scs_router(scs.parameters(*rows, limits.max_radius_deg)))
    return (
        ServedProtocol("/sia2", "Simple Image Access (SIA 2)", sia_router(images), (sia_capability(images),)),
        ServedProtocol("/ssa", "Simple Spectral Access (SSA)", ssa_router(spectra), (ssa_capability(spectra),)),
        ServedProtocol("/scs", "Simple Cone Search (SCS)", cones),
    )
