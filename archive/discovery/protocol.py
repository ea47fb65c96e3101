"""The discovery protocols, to be mounted: what they say of themselves and their routes."""

from fastapi import APIRouter

from archive.discovery import scs, sia, sia1, ssa
from archive.discovery.capabilities import sia1_capability, sia_capability, ssa_capability
from archive.discovery.router import scs_router, sia1_router, sia_router, ssa_router, vosi
from archive.discovery.service import Limits
from archive.served import ServedProtocol


def protocols(limits: Limits) -> tuple[ServedProtocol, ...]:
    """SIA 2 under /sia2, SIA 1 under /sia, SSA under /ssa, cone searches under /scs; VOSI documents of each."""
    rows = (limits.default_maxrec, limits.hard_maxrec)
    images, older, spectra = sia.parameters(*rows), sia1.parameters(*rows), ssa.parameters(*rows)
    cones = APIRouter()
    cones.include_router(vosi)
    cones.include_router(scs_router(scs.parameters(*rows, limits.max_radius_deg)))
    return (
        ServedProtocol("/sia2", "Simple Image Access (SIA 2)", sia_router(images), (sia_capability(images),)),
        ServedProtocol(
            "/sia",
            "Simple Image Access 1, for clients that know no other",
            sia1_router(older),
            (sia1_capability(older, limits),),
        ),
        ServedProtocol("/ssa", "Simple Spectral Access (SSA)", ssa_router(spectra), (ssa_capability(spectra, limits),)),
        ServedProtocol("/scs", "Simple Cone Search (SCS)", cones),
    )
