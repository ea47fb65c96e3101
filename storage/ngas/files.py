"""RETRIEVE and CHECKFILE; CLONE, REMFILE, REMDISK, DISCARD and CACHEDEL: one file at a time, and where it lies."""

import re
from collections.abc import Iterator

from storage import catalogue
from storage.checksums import Expected, verified
from storage.errors import ChecksumMismatch, CopyNeeded, ObjectNotFound, StorageError
from storage.model import CACHE_CLASS, Copy, ObjectVersion
from storage.ngas.answers import Answer, Data, Told
from storage.ngas.archiving import long_running
from storage.ngas.listing import files_on
from storage.ngas.node import Node, checksum_of, media_type_of, short, unavailable
from storage.ngas.request import Refused, Request, base_name, said
from storage.reading import ReadStream
from storage.volume import ObjectStream

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)


def retrieve(node: Node, request: Request) -> Answer:
    """RETRIEVE: a version's bytes, the newest by default, verified as they go where all of them are asked for.

    The range `bytes=N-` is answered by 200 as NGAS does, for its client takes 206 as a failure; others by 206.
    """
    file_id = request.text("file_id")
    if file_id is None:
        raise Refused(said("ER_RETRIEVE_CMD", 4018, "ERROR", "Incorrect parameter given for RETRIEVE command."))
    if (plug_in := request.text("processing")) is not None:
        raise Refused(said("ER_ILL_DPPI", 4034, "ERROR", f"No processing plug-in {plug_in[:80]!r} is known here."))
    version = node.service.stat(file_id, request.version)
    if (disk_id := request.text("disk_id")) is not None:
        copy_on(version, disk_id)
    start, stop, status = _range(request, version.size_bytes)
    checksum, _ = checksum_of(version.crc32c)
    headers = {
        "Content-Disposition": f'attachment; filename="{plain_name(file_id)}"',
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "ETag": f'"{version.sha256}"',
        **({"NGAS-File-CRC": checksum} if version.crc32c else {}),
    }
    if (start, stop) != (0, version.size_bytes):
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{version.size_bytes}"
    stream = node.service.read(version, start, stop)
    return Data(media_type_of(version), stop - start, closing(stream), headers, status)


def checkfile(node: Node, request: Request) -> Answer:
    """CHECKFILE: read every copy of a version (disk_id: that one) to its end; good only if all of them are right."""
    file_id = request.text("file_id")
    if file_id is None:
        raise Refused("Must specify a File ID for the CHECKFILE command.")
    version = node.service.stat(file_id, request.version)
    disk_id = request.text("disk_id")
    copies = version.copies if disk_id is None else (copy_on(version, disk_id),)
    faults = {copy.volume: fault for copy in copies if (fault := _fault(node, version, copy)) is not None}
    if not copies:
        faults = {"": "no copy of it is on record"}
    disks = ", ".join(faults or (copy.volume for copy in copies))
    checked = (
        f"Checked file with File ID: {file_id}/File Version: {version.version}/Disk ID: {disks}/Slot ID: {disks}/ "
        f"Host ID: {request.host_id}"
    )
    if faults:
        text = f"{checked} - file found to be inconsistent: {'; '.join(faults.values())}"
        return Told(said("ER_FILE_NOK", 4057, "ERROR", text), ok=False, status=400)
    return Told(said("INFO_FILE_OK", 4056, "INFO", f"{checked} - file found to be consistent."))


def clone(node: Node, request: Request) -> Answer:
    """CLONE: a further copy of a file, or of all files on a disk, on another disk."""
    file_id, disk_id = request.text("file_id"), request.text("disk_id")
    if file_id is None and disk_id is None:
        raise Refused(said("ER_CMD_SYNTAX", 4035, "ERROR", "CLONE needs the parameter file_id or disk_id"))
    source = None if disk_id is None else node.volume(disk_id).name
    target = request.text("target_disk_id")
    if target is not None:
        target = node.volume(target).name
    found: list[tuple[str, int]]
    if file_id is None:
        assert source is not None
        found = files_on(node, source)
    else:
        try:
            version = node.service.stat(file_id, request.version)
        except ObjectNotFound:
            found = []
        else:
            held = source is None or any(copy.volume == source for copy in version.copies)
            found = [(file_id, version.version)] if held else []
    if not found:
        raise Refused(said("ER_CMD_EXEC", 4036, "ERROR", "No files for cloning found."))
    progress = node.begin(request)
    progress.expected = len(found)

    def work() -> None:
        for each, number in found:
            try:
                node.service.add_copy(each, number, target or _roomiest(node, node.service.stat(each, number)))
                progress.done += 1
            except (StorageError, Refused) as error:
                progress.failures.append(f"{each}/{number}: {error}")

    return long_running(request, progress, work)


def remfile(node: Node, request: Request) -> Answer:
    """REMFILE: give up the copy on a disk, if enough sound ones are left on others; a report without execute=1."""
    disk_id, file_id = request.needed("disk_id"), request.needed("file_id")
    try:
        version = node.service.stat(file_id, request.version)
        copy_on(version, disk_id)
    except (ObjectNotFound, Refused):
        return Told(_deletions(0, 0))
    keep = node.settings.keep_copies
    refused = _too_few(keep, f"{disk_id}/{file_id}/{version.version}")
    if sum(copy.state == "ok" and copy.volume != disk_id for copy in version.copies) < keep:
        return refused
    if not request.flag("execute"):
        return Told(_deletions(1, 0), tuple(node.on_disks(version, request, [copy_on(version, disk_id)])))
    try:
        node.service.drop_copy(file_id, version.version, disk_id, keep=keep)
    except CopyNeeded:
        return refused
    return Told(_deletions(1, 1))


def remdisk(node: Node, request: Request) -> Answer:
    """REMDISK: a report; with execute=1 the volume is to be drained: its copies move away, and none is lost."""
    row = node.volume(request.needed("disk_id"))
    if not request.flag("execute"):
        text = f"Info for disk selected for deletion. Disk ID: {row.name}."
        return Told(said("INFO_DEL_DISK_SEL", 4044, "INFO", text), (node.disk(row, request),))
    node.service.set_volume_state(row.name, "draining", "REMDISK")
    node.forget_volumes()
    text = f"Disk ID: {row.name} is being drained: its files move to other disks, after which it can be removed."
    return Told(said("INFO_DEL_DISK", 4043, "INFO", text), (node.disk(node.volume(row.name), request),))


def discard(node: Node, request: Request) -> Answer:
    """DISCARD: the copy on a disk goes, and with the last one the version; granted only, without execute=1."""
    if request.text("path") is not None:
        raise Refused(
            said("ER_CMD_SYNTAX", 4035, "ERROR", "DISCARD takes no path here, but disk_id, file_id, file_version")
        )
    disk_id, file_id, number = request.needed("disk_id"), request.needed("file_id"), request.version
    if number is None:
        raise Refused(said("ER_CMD_SYNTAX", 4035, "ERROR", "DISCARD needs the parameter file_version"))
    what = f"{disk_id}/{file_id}/{number}"
    try:
        version = node.service.stat(file_id, number)
        copy_on(version, disk_id)
    except (ObjectNotFound, Refused):
        text = f"File scheduled to be discarded not found: {what}. NGAS Node: {request.host_id}."
        return Told(said("ER_DISCARD_NOT_FOUND", 4063, "ERROR", text), ok=False)
    if not request.flag("execute"):
        text = f"File discard request granted. File: {what}. NGAS Node {request.host_id}."
        return Told(said("INFO_DISCARD_GRANTED", 4065, "INFO", text))
    if len(version.copies) > 1:
        node.service.drop_copy(file_id, number, disk_id, keep=0)
    else:
        node.service.remove(file_id, number)
    return Told(said("INFO_DISCARD_OK", 4066, "INFO", f"File discarded: {what}. NGAS Node: {request.host_id}."))


def cachedel(node: Node, request: Request) -> Answer:
    """CACHEDEL: give up the copy on a volume of the class cache; never the last one."""
    disk_id, file_id, number = request.text("disk_id"), request.text("file_id"), request.version
    if disk_id is None or file_id is None or number is None:
        raise Refused("Must specify disk_id/file_id/file_version for CACHEDEL Command")
    if node.volume(disk_id).storage_class != CACHE_CLASS:
        raise Refused(f"CACHEDEL: disk {disk_id} is no cache")
    copy_on(node.service.stat(file_id, number), disk_id)
    node.service.drop_copy(file_id, number, disk_id, keep=1)
    return Told("Successfully handled request")


def copy_on(version: ObjectVersion, disk_id: str) -> Copy:
    """The copy on a disk."""
    for copy in version.copies:
        if copy.volume == disk_id:
            return copy
    raise unavailable(version.file_id, version.version)


def plain_name(file_id: str) -> str:
    """The name that a client saves a file under: of letters that no header, client or disk takes for anything else."""
    name = re.sub(r'[^\x20-\x7e]|[";=\\/]', "_", base_name(f"/{file_id}"))
    return name if name.strip(".") else "_"


def closing(stream: ReadStream) -> Iterator[bytes]:
    """The blocks of a stream that is closed when they are."""
    with stream:
        yield from stream


def _range(request: Request, size_bytes: int) -> tuple[int, int, int]:
    """start, stop and the status of the answer."""
    header = request.headers.get("range")
    if header is None:
        return 0, size_bytes, 200
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        raise Refused(f"Invalid Range header, must be one range as bytes=6-, bytes=6-9 or bytes=-5: {header[:80]!r}")
    if not match[1]:
        length = min(int(match[2]), size_bytes)
        start, stop, status = size_bytes - length, size_bytes, 206
    elif not match[2]:
        start, stop, status = int(match[1]), size_bytes, 200
    else:
        start, stop, status = int(match[1]), min(int(match[2]) + 1, size_bytes), 206
    if start >= stop and (start, status) != (0, 200):
        raise Refused(f"Invalid Range header, {header[:80]!r} is no part of {size_bytes} bytes", 416)
    return start, stop, status


def _fault(node: Node, version: ObjectVersion, copy: Copy) -> str | None:
    """What is wrong with a copy; None, and noted as verified, if it is what it should be."""
    expected = Expected(version.size_bytes, version.sha256, crc32c=version.crc32c)
    try:
        with node.service.store.open(copy.key, volume=copy.volume) as stream:
            _read_all(stream, expected, copy)
    except ChecksumMismatch as error:
        node.service.report(version, copy, "corrupt", f"CHECKFILE: {error}")
        return short(error)
    except ObjectNotFound as error:
        node.service.report(version, copy, "missing", f"CHECKFILE: {error}")
        return short(error)
    except StorageError as error:
        return short(error)
    with node.service.engine.begin() as connection:
        catalogue.mark_copy(connection, version.object_id, copy.volume, copy.key, "ok")
    return None


def _read_all(stream: ObjectStream, expected: Expected, copy: Copy) -> None:
    for _ in verified(stream, expected, f"the copy on {copy.volume}"):
        pass


def _roomiest(node: Node, version: ObjectVersion) -> str:
    """The disk with the most room that has no sound copy."""
    sound = {copy.volume for copy in version.copies if copy.state == "ok"}
    rooms = {
        name: node.free_bytes(name) or 0
        for name, row in node.volumes().items()
        if name not in sound and row.state == "online" and row.storage_class != CACHE_CLASS
    }
    if not rooms:
        raise Refused("no other disk is online")
    return max(rooms, key=lambda name: rooms[name])


def _too_few(keep: int, what: str) -> Told:
    text = f"Fewer than {keep + 1} independent copies are known to be sound. Cannot remove item: {what}"
    return Told(said("WA_FILE_COPIES", 4046, "WARNING", text), ok=False)


def _deletions(selected: int, deleted: int) -> str:
    text = f"File deletion status. Files Selected: {selected}, Files Deleted: {deleted}, Failed File Deletions: 0."
    return said("INFO_FILE_DEL_STAT", 4040, "INFO", text)
