"""What a room hands to the front door: where it answers, and what it says of itself."""

from dataclasses import dataclass

from fastapi import APIRouter

from archive.vo.capability import Capability


@dataclass(frozen=True, slots=True)
class ServedProtocol:
    """A room's protocol: VOSI's documents under `path` ("/tap") are made from its capabilities.

    The router's routes, and the interfaces of the capabilities, name whole paths ("/tap/sync"). front: the page where
    people begin, if the protocol has one.
    """

    path: str
    title: str
    router: APIRouter
    capabilities: tuple[Capability, ...] = ()
    front: str | None = None

    @property
    def page(self) -> str:
        """Where a person is sent: its own page, else what it says of itself."""
        return self.front or (f"{self.path}/capabilities" if self.capabilities else self.path)
