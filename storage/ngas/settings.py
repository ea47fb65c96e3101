"""What the NGAS face is told: limits, names, and what it may read or write outside the store. Nothing by default."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NgasSettings:
    """host_id: HOST:PORT as answers tell it; by default where the request arrived. archive, version: as answers tell.

    pull_prefixes: URLs (file:///incoming/, https://host/data/) below which ARCHIVE may fetch.
    register_prefixes: folders below which REGISTER may read.
    deliver_prefixes: URLs below which subscribers may be; the value is the NAME:PASSWORD to send them, empty for none.
    keep_copies: sound copies that must be left on other volumes when REMFILE takes one.
    threads: of commands at once in a process. max_body_bytes: of one push. max_rows: of one answer that lists.
    stall_s: seconds in which a client must send, or take, the next piece. drain_s: seconds for which the rest of a body
    that was refused is still read, for the client reads no answer before. query_s: seconds that a listing may take.
    deliver_s: seconds in which a subscriber, or a server that is pulled from, must answer.
    """

    host_id: str = ""
    archive: str = "URANIBORG"
    version: str = "Uraniborg"
    pull_prefixes: tuple[str, ...] = ()
    register_prefixes: tuple[str, ...] = ()
    deliver_prefixes: Mapping[str, str] = field(default_factory=dict)
    keep_copies: int = 2
    threads: int = 40
    max_body_bytes: int = 1 << 40
    max_rows: int = 100_000
    stall_s: float = 60.0
    drain_s: float = 60.0
    query_s: float = 60.0
    deliver_s: float = 120.0


def below(url: str, prefixes: tuple[str, ...] | Mapping[str, str]) -> str | None:
    """The longest of the prefixes that the URL, or path, lies below; None if there is none.

    Whole segments: /in allows /in/x and not /inner. No way up ("..") is below anything.
    """
    if ".." in url.split("?")[0].replace("%2e", ".").replace("%2E", ".").replace("\\", "/").split("/"):
        return None
    found = [each for each in prefixes if url == each or url.startswith(each if each.endswith("/") else f"{each}/")]
    return max(found, key=len, default=None)
