"""What a room hands to the front door: where it answers, and what it says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from starlette.types import ASGIApp

from archive.vo.capability import Capability


@dataclass(frozen=True, slots=True)
class ServedProtocol:
    """A room's protocol: VOSI's documents under `path` ("/tap") are made from its capabilities.

    The router's routes, and the interfaces of the capabilities, name whole paths ("/tap/sync"). front: the page where
    people begin, if the protocol has one. app: answers all that lies under `path`, in the router's stead; openapi: what
    it says of itself, as OpenAPI's paths.
    """

    path: str
    title: str
    router: APIRouter = field(default_factory=APIRouter)
    capabilities: tuple[Capability, ...] = ()
    front: str | None = None
    app: ASGIApp | None = None
    openapi: Mapping[str, Any] = field(default_factory=dict)

    @property
    def page(self) -> str:
        """Where a person is sent: its own page, else what it says of itself."""
        return self.front or (f"{self.path}/capabilities" if self.capabilities else self.path)
