"""STATUS, ONLINE, OFFLINE, INIT, LABEL: what the server says of itself, and the one switch that it has.

OFFLINE is of the NGAS face alone, in all its processes: REST and the archive go on.
"""

from storage.errors import ObjectNotFound
from storage.ngas import listing
from storage.ngas.answers import Answer, Told
from storage.ngas.node import Node, unavailable, unknown_disk
from storage.ngas.request import Request, said
from storage.ngas.status import Element, date_text


def status(node: Node, request: Request) -> Answer:
    """STATUS: of the server, which anybody may ask, of a running command, a file or a disk; or a list of files."""
    done = "Successfully handled command STATUS"
    if request.flag("file_list"):
        node.allow(request, "read", None)
        return listing.file_list(node, request)
    if (asked := request.text("file_access")) is not None:
        node.allow(request, "read", asked)
        return _access(node, request, asked)
    if (asked := request.text("request_id")) is not None:
        return Told(done, attributes=node.progress(asked).attributes())
    if (asked := request.file_id) is not None:
        node.allow(request, "read", asked)
        version = node.service.stat(asked, request.version)
        return Told(
            done,
            tuple(node.on_disks(version, request, version.copies)),
            {"CompletionTime": date_text(request.received)},
        )
    if (asked := request.text("disk_id")) is not None:
        node.allow(request, "read", None)
        return Told(done, (node.disk(node.volume(asked), request),), {"CompletionTime": date_text(request.received)})
    if request.flag("configuration_file"):
        return Told(done, (Element("NgamsCfgFile", {"ConfigFileName": ""}),))
    return Told(done)


def online(node: Node, request: Request) -> Answer:
    """ONLINE: take commands again."""
    node.require(request, "OFFLINE")
    node.set_state("ONLINE")
    return Told("Successfully handled command ONLINE")


def offline(node: Node, request: Request) -> Answer:
    """OFFLINE: refuse all but STATUS, LABEL, INIT and ONLINE, in all processes; what runs goes on to its end."""
    node.set_state("OFFLINE")
    return Told("Successfully handled command OFFLINE")


def init(node: Node, request: Request) -> Answer:
    """INIT: ask again what the volumes are, and be ONLINE."""
    node.forget_volumes()
    if node.state != "ONLINE":
        node.set_state("ONLINE")
    return Told("Successfully handled command INIT")


def label(node: Node, request: Request) -> Answer:
    """LABEL: tell what the label of a disk would say. Nothing is printed, and a volume keeps its name."""
    asked = request.text("disk_id") or request.text("slot_id")
    if asked is None:
        raise unknown_disk("")
    return Told("Successfully handled command LABEL", (node.disk(node.volume(asked), request),))


def _access(node: Node, request: Request, file_id: str) -> Told:
    try:
        version = node.service.stat(file_id, request.version)
    except ObjectNotFound:
        raise unavailable(file_id, request.version) from None
    text = (
        f"File with File ID: {file_id}/Version: {version.version}, is available on NGAS Host with "
        f"Host ID: {request.host_id}."
    )
    return Told(said("INFO_FILE_AVAIL", 4029, "INFO", text))
