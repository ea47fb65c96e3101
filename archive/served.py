"""What a room hands to the front door: where it answers, and what it says of itself."""

from dataclasses import dataclass

from fastapi import APIRouter

from archive.vo.capability import Capability


@dataclass(frozen=True, slots=True)
class ServedProtocol:
    """A room's protocol: VOSI's documents under `path` ("/tap") are made from its capabilities.

    The router's routes, and the interfaces of the capabilities, name whole paths ("/tap/sync").
    """

    path: str
    title: str
    router: APIRouter
    capabilities: tuple[Capability, ...] = ()
