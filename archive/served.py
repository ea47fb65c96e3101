"""What a room hands to the front door: where it answers, and what it says of itself."""

from dataclasses import dataclass

from fastapi import APIRouter

from archive.jobs.context import JobKind
from archive.vo.capability import Capability


@dataclass(frozen=True, slots=True)
class ServedProtocol:
    """A room's protocol, mounted under `path` ("/tap"); VOSI's documents are made from its capabilities.

    Capabilities name their interfaces' paths below `path` ("", "/sync"). job_kinds: what the job workers must know.
    """

    path: str
    title: str
    router: APIRouter
    capabilities: tuple[Capability, ...] = ()
    job_kinds: tuple[JobKind, ...] = ()
