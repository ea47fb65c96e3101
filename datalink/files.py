"""A held file as HTTP sees it; what is answered to whom asks for it is storage.web.conditional's."""

from collections.abc import Mapping

from archive.holdings.queries import HeldFile
from storage.web import conditional
from storage.web.conditional import Answer, Representation


def answer(file: HeldFile, request: Mapping[str, str], method: str = "GET") -> Answer:
    """What to answer to a GET or HEAD with these headers (names in lower case); one range of a GET is honoured."""
    held = Representation(
        file.media_type, file.file_name, file.size_bytes, file.sha256, file.md5, modified=file.arrived
    )
    return conditional.answer(held, request, method)
