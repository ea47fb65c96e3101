"""What an operator decides about the store's faces."""

from dataclasses import dataclass
from pathlib import Path

GiB = 1 << 30


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What an operator decides about the faces.

    largest_bytes: of an object. stall_s: seconds in which the next 64 KiB of a body must come, and a client must take
    the next 1 MiB of an answer. threads: at work for small requests, and as many for large bodies.
    redirect: whole objects on S3 volumes are answered with a signed URL (302), good for signed_s seconds: they are then
    not verified on their way. accel_prefix: for nginx, the internal location under which it finds VOLUME/KEY of posix
    volumes (X-Accel-Redirect); they are not verified either.
    uploads: a folder for what is on its way by tus, None: none is taken. uploads_kept_s: how long after its last bytes
    an upload that is not finished is kept.
    """

    largest_bytes: int = 1024 * GiB
    stall_s: float = 60.0
    threads: int = 16
    redirect: bool = False
    signed_s: float = 300.0
    accel_prefix: str | None = None
    uploads: Path | None = None
    uploads_kept_s: float = 7 * 86_400.0
