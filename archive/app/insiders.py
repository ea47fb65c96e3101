"""What only those who run the archive may see: by their token, or from the very machine the archive runs on.

A proxy on that machine would make the whole world look near, so a request that came through one (it says so in a
header), or that a page in a browser sent, is not near. A proxy that says nothing must keep /metrics to itself
(docs/how-to/operations.md).
"""

import ipaddress
from typing import Annotated

from fastapi import Depends, Request

from archive.access.identity import User
from archive.access.router import current_user
from archive.vo.errors import AuthorizationError

FROM_ELSEWHERE = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via", "origin")


def is_near(request: Request) -> bool:
    """Whether a request comes from this machine itself, by no proxy and no browser's page."""
    if request.client is None or any(name in request.headers for name in FROM_ELSEWHERE):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


async def is_insider(request: Request, user: Annotated[User, Depends(current_user)]) -> bool:
    """A dependency: whether who asks may see inside. 401 for a token that is not valid."""
    return user.is_operator or is_near(request)


async def insiders_only(inside: Annotated[bool, Depends(is_insider)]) -> None:
    """A dependency: 403 for all but insiders."""
    if not inside:
        raise AuthorizationError(
            "This is for those who run the archive: ask from its own machine, or with an operator's token."
        )
