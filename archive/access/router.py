"""How a handler learns who asks. The decision what they may have is the service's."""

from anyio import to_thread
from fastapi import Request

from archive.access.identity import ANONYMOUS, User
from archive.access.service import AccessService
from archive.vo.routes import service


async def current_user(request: Request) -> User:
    """A dependency: the user by the Authorization header (RFC 6750, RFC 7617), else ANONYMOUS; 401 if it is not valid.

    The name is left in request.state.user for the access log and the X-VO-Authenticated header (AUTH-04).
    """
    told = request.headers.get("authorization")
    user = ANONYMOUS
    if told is not None:
        # Only a token is worth a trip to a thread, where the database may be waited for.
        user = await to_thread.run_sync(service(request, AccessService).user_of, told)
    request.state.user = user.name or None
    return user
