"""What commands work on: the store, who may do what, the server's state, and how disks and files are told.

A volume is a disk: its name is the Disk ID, the logical name and the slot. A copy is a file on it, and its key is what
the file is called there.
"""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Literal

from sqlalchemy import select

from storage import feed
from storage.errors import StorageError, VolumeUnavailable
from storage.model import Copy, ObjectVersion, VolumeRow
from storage.ngas.request import Refused, Request, said
from storage.ngas.settings import NgasSettings
from storage.ngas.status import Element, date_text
from storage.objects import ObjectService
from storage.tables import event
from storage.totals import totals
from storage.web.authorizer import Action, Authorizer

log = logging.getLogger(__name__)

State = Literal["ONLINE", "OFFLINE"]
STATE_KIND = "ngas"
STATE_KNOWN_S = 2.0
COUNT_AGAIN_S = 30.0
MAX_PROGRESS = 1_000
OCTETS = "application/octet-stream"
MAX_MEDIA_TYPE = 255
# RFC 9110 §8.3.1: type/subtype of tokens, then parameters.
_MEDIA_TYPE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+( *;[\x20-\x7e]*)?")


@dataclass
class Progress:
    """How far a command that takes long is; done: how many of expected, None while it is not known."""

    expected: int = 0
    done: int = 0
    failures: list[str] = field(default_factory=list)
    completed: datetime | None = None
    started_s: float = field(default_factory=time.monotonic)
    took_s: float = 0.0

    def end(self) -> None:
        """It is over."""
        self.completed, self.took_s = datetime.now(UTC), time.monotonic() - self.started_s

    def attributes(self) -> dict[str, object]:
        """As the element Status has them."""
        took_s = self.took_s if self.completed else time.monotonic() - self.started_s
        share = self.done / self.expected if self.expected else float(self.completed is not None)
        total_s = took_s / share if share else 0.0
        told: dict[str, object] = {
            "CompletionPercent": f"{100 * share:.2f}",
            "ExpectedCount": self.expected,
            "ActualCount": self.done,
            "EstTotalTime": f"{total_s:.3f}",
            "RemainingTime": f"{max(total_s - took_s, 0.0):.3f}",
            "LastRequestStatUpdate": date_text(datetime.now(UTC)),
        }
        return told | ({"CompletionTime": date_text(self.completed)} if self.completed else {})


class Node:
    """One NGAS server, as its clients see it, over one ObjectService. Blocking; from many threads at once."""

    def __init__(self, service: ObjectService, authorizer: Authorizer, settings: NgasSettings) -> None:
        self.service, self.authorizer, self.settings = service, authorizer, settings
        self._state: tuple[float, State] = (0.0, "ONLINE")
        self._rows: tuple[float, dict[str, VolumeRow]] = (0.0, {})
        self._counted_s = 0.0
        self._totals: dict[str, tuple[int, int]] = {}
        self._counting = Lock()
        self._progress: OrderedDict[str, Progress] = OrderedDict()

    # --- who may do it, and when

    def allow(self, request: Request, action: Action, file_id: str | None) -> None:
        """Unauthenticated, Forbidden, ObjectNotFound unless it may be done."""
        self.authorizer.allow(action, file_id, request.headers)

    @property
    def state(self) -> State:
        """Of all processes over this catalogue; they heed a change within 2 s."""
        known_s, state = self._state
        if time.monotonic() - known_s > STATE_KNOWN_S:
            newest = (
                select(event.c.detail).where(event.c.kind == STATE_KIND).order_by(event.c.event_time.desc()).limit(1)
            )
            with self.service.engine.connect() as connection:
                told = connection.scalar(newest)
            state = "OFFLINE" if told and told.get("state") == "OFFLINE" else "ONLINE"
            self._state = (time.monotonic(), state)
        return state

    @property
    def last_state(self) -> State:
        """As it was last known; nothing is asked."""
        return self._state[1]

    def set_state(self, state: State) -> None:
        """Tell all processes."""
        with self.service.engine.begin() as connection:
            feed.append_event(connection, STATE_KIND, detail={"state": state})
        self._state = (time.monotonic(), state)

    def require(self, request: Request, *states: State) -> None:
        """Refused in any other state."""
        state = self.state
        if state not in states:
            text = (
                f"Command {request.name} not allowed when in State/Sub-State: {state}/IDLE. "
                f"Allowed State(s)/Sub-State(s) are: {list(states)}/['IDLE']."
            )
            raise Refused(said("ER_IMPROPER_STATE", 4015, "ERROR", text))

    # --- commands that take long

    def begin(self, request: Request) -> Progress:
        """Keep account of a command; STATUS tells it by the id of the request, in this process."""
        progress = self._progress[request.request_id] = Progress()
        while len(self._progress) > MAX_PROGRESS:
            self._progress.popitem(last=False)
        return progress

    def progress(self, request_id: str) -> Progress:
        """Of a command that this process runs, or ran lately."""
        found = self._progress.get(request_id)
        if found is None:
            raise Refused(said("ER_ILL_REQ_ID", 4059, "ERROR", f"No request with ID: {request_id} is known here."))
        return found

    # --- disks and files

    def volumes(self) -> Mapping[str, VolumeRow]:
        """The volumes of the store, by name, in the order of the settings."""
        known_s, rows = self._rows
        if time.monotonic() - known_s > STATE_KNOWN_S:
            found = self.service.volumes()
            rows = {
                each.name: found.get(each.name) or VolumeRow(each.name, each.kind, "here", "online")
                for each in self.service.store.volumes
            }
            self._rows = (time.monotonic(), rows)
        return rows

    def forget_volumes(self) -> None:
        """Ask again what they are."""
        self._rows = (0.0, {})

    def volume(self, disk_id: str) -> VolumeRow:
        """The volume of this name."""
        try:
            return self.volumes()[disk_id]
        except KeyError:
            raise unknown_disk(disk_id) from None

    def disk(self, row: VolumeRow, request: Request, *files: Element) -> Element:
        """A volume as DiskStatus."""
        free = self.free_bytes(row.name)
        number, size_bytes = self.totals().get(row.name, (0, 0))
        told = {
            "DiskId": row.name,
            "Archive": self.settings.archive,
            "InstallationDate": "",
            "Type": row.kind,
            "Manufacturer": "",
            "LogicalName": row.name,
            "HostId": request.host_id,
            "SlotId": row.name,
            "Mounted": 0 if free is None or row.state == "offline" else 1,
            "MountPoint": f"/{row.name}",
            "NumberOfFiles": number,
            "AvailableMb": (free or 0) >> 20,
            "BytesStored": size_bytes,
            "Completed": 0 if row.state == "online" else 1,
            "CompletionDate": "",
            "Checksum": "",
            "TotalDiskWriteTime": "0.0",
            "LastCheck": "",
        }
        return Element("DiskStatus", told, files)

    def free_bytes(self, name: str) -> int | None:
        """Room on a volume; 0 where it cannot say, None where it does not answer."""
        try:
            return self.service.store.volume(name).free_bytes() or 0
        except VolumeUnavailable as error:
            log.warning("the room on a volume is not known: %s", error)
            return None

    def totals(self) -> Mapping[str, tuple[int, int]]:
        """Files and bytes by volume, as counted not long ago."""
        if time.monotonic() - self._counted_s > COUNT_AGAIN_S and self._counting.acquire(blocking=False):
            try:
                self._totals = totals(self.service.engine, wait=False).by_volume()
                self._counted_s = time.monotonic()
            finally:
                self._counting.release()
        return self._totals

    def on_disks(
        self, version: ObjectVersion, request: Request, copies: Sequence[Copy], io_s: float = -1.0
    ) -> list[Element]:
        """A version as it lies on disks: a DiskStatus with its FileStatus for each copy, sound ones first."""
        rows = self.volumes()
        ordered = sorted(copies, key=lambda copy: copy.state != "ok")
        return [
            self.disk(rows[copy.volume], request, file_status(version, copy, io_s=io_s))
            for copy in ordered
            if copy.volume in rows
        ]


def file_status(version: ObjectVersion, copy: Copy | None = None, *, io_s: float = -1.0, disk_id: str = "") -> Element:
    """A version as FileStatus; copy: the one that is spoken of. io_s: how long its taking took, seconds."""
    checksum, plug_in = checksum_of(version.crc32c)
    told = {
        **({"DiskId": disk_id} if disk_id else {}),
        "FileName": version.file_id if copy is None else copy.key,
        "FileId": version.file_id,
        "FileVersion": version.version,
        "Format": media_type_of(version),
        "FileSize": version.size_bytes,
        "UncompressedFileSize": version.size_bytes,
        "Compression": "NONE",
        "IngestionDate": date_text(version.created),
        "Ignore": 0,
        "Checksum": checksum,
        "ChecksumPlugIn": plug_in,
        "FileStatus": status_flags(copy.state if copy else "ok"),
        "CreationDate": date_text(version.created),
        "Tag": "",
        "Permissions": "",
        "Owner": "",
        "Group": "",
        "ModificationDate": "",
        "AccessDate": "",
        "TotalIoTime": io_s,
        "IngestionRate": int(version.size_bytes / io_s) if io_s > 0 else -1,
        "ContainerId": version.container_id,
    }
    return Element("FileStatus", told)


def is_media_type(text: str) -> bool:
    """Can this stand in a header as a media type?"""
    return len(text) <= MAX_MEDIA_TYPE and _MEDIA_TYPE.fullmatch(text) is not None


def media_type_of(version: ObjectVersion) -> str:
    """As it may stand in a header; whatever came in by another face."""
    return version.media_type if version.media_type and is_media_type(version.media_type) else OCTETS


def checksum_of(crc32c: str | None) -> tuple[str, str]:
    """The checksum, decimal, and the name of its kind; None and None of objects that have none of that kind."""
    return ("None", "None") if crc32c is None else (str(int(crc32c, 16)), "crc32c")


def status_flags(state: str) -> str:
    """NGAS's eight flags: the second says that the file is bad."""
    return "00000000" if state == "ok" else "01000000"


def unknown_disk(disk_id: str) -> Refused:
    return Refused(said("ER_UNKNOWN_DISK", 4020, "ERROR", f"No disk with Disk ID: {disk_id} is known here."))


def unavailable(file_id: str, version: int | None = None) -> Refused:
    """No such file, in NGAS's words."""
    which = file_id if version is None else f"{file_id}/Version: {version}"
    return Refused(said("ER_UNAVAIL_FILE", 4019, "ERROR", f"File with ID: {which} appears not to be available."))


def short(error: StorageError) -> str:
    """An error in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
