"""QUERY and STATUS?file_list=1: lists of files, disks, hosts and subscribers, in the forms that NGAS gives them."""

import gzip
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from storage.ngas import queries
from storage.ngas.answers import Answer, Data
from storage.ngas.node import Node, checksum_of, file_status, media_type_of, status_flags
from storage.ngas.request import Refused, Request
from storage.ngas.status import Element, date_text

Row = tuple[Any, ...]
Table = tuple[Sequence[str], list[Row]]

FILE_COLUMNS = (
    "disk_id",
    "file_name",
    "file_id",
    "file_version",
    "format",
    "file_size",
    "uncompressed_file_size",
    "compression",
    "ingestion_date",
    "file_ignore",
    "checksum",
    "checksum_plugin",
    "file_status",
    "creation_date",
    "io_time",
    "ingestion_rate",
    "container_id",
)
RECENT_COLUMNS = ("file_id", "file_name", "file_size", "ingestion_date")
RECENT = 300
LOCATION_COLUMNS = ("host_id", "file_full_path", "file_version", "creation_date", "ingestion_date")
SUBSCRIBER_COLUMNS = (
    "host_id",
    "srv_port",
    "subscr_prio",
    "subscr_id",
    "subscr_url",
    "subscr_start_date",
    "subscr_filter_plugin",
    "subscr_filter_plugin_pars",
    "last_file_ingestion_date",
    "concurrent_threads",
)
# Of DiskStatus: the attribute that a column tells.
DISK_COLUMNS = {
    "disk_id": "DiskId",
    "archive": "Archive",
    "logical_name": "LogicalName",
    "host_id": "HostId",
    "slot_id": "SlotId",
    "mounted": "Mounted",
    "mount_point": "MountPoint",
    "number_of_files": "NumberOfFiles",
    "available_mb": "AvailableMb",
    "bytes_stored": "BytesStored",
    "type": "Type",
    "capacity_mb": None,
    "manufacturer": "Manufacturer",
    "installation_date": "InstallationDate",
    "checksum": "Checksum",
    "total_disk_write_time": "TotalDiskWriteTime",
    "completed": "Completed",
    "completion_date": "CompletionDate",
    "last_check": "LastCheck",
    "last_host_id": "HostId",
}
HOST_COLUMNS = (
    "host_id",
    "domain",
    "ip_address",
    "mac_address",
    "n_slots",
    "cluster_name",
    "installation_date",
    "srv_version",
    "srv_port",
    "srv_archive",
    "srv_retrieve",
    "srv_process",
    "srv_remove",
    "srv_data_checking",
    "srv_state",
    "srv_suspended",
    "srv_req_wake_up_srv",
    "srv_req_wake_up_time",
)


def query(node: Node, request: Request) -> Answer:
    """QUERY: one of the canned questions, as text, JSON, or a list in Python."""
    name = request.text("query") or ""
    if name not in QUERIES:
        raise Refused(f"Unknown or no query; these are known: {', '.join(sorted(QUERIES))}")
    columns, rows = QUERIES[name](node, request)
    form = request.parameters.get("format", "")
    if form in ("list", "text"):
        return Data.of("text/plain", _text(columns, rows).encode())
    if form == "json":
        told = [dict(zip(columns, row, strict=True)) for row in rows]
        return Data.of("application/json", json.dumps(told, ensure_ascii=False).encode())
    return Data.of("application/python-list", repr(rows).encode())


def file_list(node: Node, request: Request) -> Answer:
    """STATUS?file_list=1: copies (unique=1: versions) in the order of their coming, as a gzip file of a document.

    The Id of a list that max_elements cut says where the next one goes on (file_list_id).
    """
    most = min(request.number("max_elements") or node.settings.max_rows, node.settings.max_rows)
    since, unique, after = request.date("from_ingestion_date"), request.flag("unique"), queries.BEGIN
    if (list_id := request.text("file_list_id")) is not None:
        since, unique, after = _resumed(list_id)
    spool = SpooledTemporaryFile(max_size=8 << 20)  # noqa: SIM115 (closed by whoever sends it)
    with queries.within(node.service.engine, node.settings.query_s) as connection:
        remaining = max(0, queries.count_copies(connection, since, unique, after) - most)
        page = queries.copies_after(connection, since, unique, after, most)
        last = queries.page_end(connection, since, unique, after, most) if remaining else queries.BEGIN
        told = {"Id": _list_id(since, unique, last), "Status": f"REMAINING_DATA_OBJECTS: {remaining}", "Comment": ""}
        with gzip.open(spool, "wt", encoding="utf-8", compresslevel=1) as document:
            document.write('<?xml version="1.0" encoding="UTF-8"?>\n<NgamsStatus>\n')
            document.write(Element("Status", _list_status(node, request)).write("  "))
            # An element is written whole, and this one is long: its start and end by themselves.
            document.write(Element("FileList", told).write("  ").replace("/>", ">"))
            for version, copy in page:
                document.write(file_status(version, copy, disk_id="" if unique else copy.volume).write("    "))
            document.write("  </FileList>\n</NgamsStatus>\n")
    size_bytes = spool.tell()
    spool.seek(0)
    headers = {"Content-Disposition": f'attachment; filename="file_list_{told["Id"]}.xml.gz"'}
    return Data("application/x-gxml", size_bytes, _blocks(spool), headers)


def files_on(node: Node, disk_id: str) -> list[tuple[str, int]]:
    """All files on a disk, with their versions."""
    with queries.within(node.service.engine, node.settings.query_s) as connection:
        return queries.files_on(connection, disk_id)


# --- the questions


def _files(node: Node, request: Request) -> Table:
    start, end = request.date("start"), request.date("end")
    if request.text("query") == "files_between":
        if start is None and end is None:
            raise Refused("files_between needs start, end, or both")
    else:
        start = end = None
    like = None if request.text("query") == "files_between" else request.pattern("like")
    with queries.within(node.service.engine, node.settings.query_s) as connection:
        found = _limited(node, queries.find_copies(connection, like, start, end, node.settings.max_rows + 1))
    return FILE_COLUMNS, [_file_row(*each) for each in found]


def _recent(node: Node, request: Request) -> Table:
    with queries.within(node.service.engine, node.settings.query_s) as connection:
        found = queries.recent_copies(connection, RECENT)
    return RECENT_COLUMNS, [
        (version.file_id, copy.key, version.size_bytes, date_text(version.created)) for version, copy in found
    ]


def _stats(node: Node, request: Request) -> Table:
    totals = node.totals().values()
    row = (sum(number for number, _ in totals), sum(size_bytes for _, size_bytes in totals) / (1 << 20))
    return ("Number of files", "Total volume [MB]"), [row]


def _locations(node: Node, request: Request) -> Table:
    last = request.text("query") == "lastver_location"
    with queries.within(node.service.engine, node.settings.query_s) as connection:
        copies = queries.find_copies(
            connection, request.pattern("like"), None, None, node.settings.max_rows + 1, newest=last
        )
        found = _limited(node, copies)
    return LOCATION_COLUMNS, [
        (
            request.host_id,
            f"/{copy.volume}/{copy.key}",
            version.version,
            date_text(version.created),
            date_text(version.created),
        )
        for version, copy in found
    ]


def _disks(node: Node, request: Request) -> Table:
    rows = []
    for row in node.volumes().values():
        told = node.disk(row, request).attributes
        capacity = None if row.capacity_bytes is None else row.capacity_bytes >> 20
        rows.append(tuple(capacity if name is None else told[name] for name in DISK_COLUMNS.values()))
    return tuple(DISK_COLUMNS), rows


def _hosts(node: Node, request: Request) -> Table:
    name, _, port = request.host_id.rpartition(":")
    told: dict[str, Any] = {
        "host_id": request.host_id,
        "domain": name.partition(".")[2] or None,
        "n_slots": len(node.volumes()),
        "cluster_name": node.settings.archive,
        "srv_version": node.settings.version,
        "srv_port": int(port) if port.isdecimal() else None,
        "srv_archive": 1,
        "srv_retrieve": 1,
        "srv_process": 0,
        "srv_remove": 1,
        "srv_data_checking": 1,
        "srv_state": node.state,
        "srv_suspended": 0,
    }
    return HOST_COLUMNS, [tuple(told.get(column) for column in HOST_COLUMNS)]


def _subscribers(node: Node, request: Request) -> Table:
    # Their addresses are nobody's business who only reads.
    node.allow(request, "administer", None)
    host, _, port = request.host_id.rpartition(":")
    with queries.within(node.service.engine, node.settings.query_s) as connection:
        found = queries.subscriptions(connection, request.pattern("like"))
    return SUBSCRIBER_COLUMNS, [
        (
            host,
            int(port) if port.isdecimal() else None,
            each.priority,
            each.subscr_id,
            each.url,
            date_text(each.start),
            None if each.filter is None else queries.FILTER,
            each.filter,
            date_text(each.last_date) or None,
            each.threads,
        )
        for each in found
    ]


QUERIES: dict[str, Callable[[Node, Request], Table]] = {
    "disks_list": _disks,
    "files_between": _files,
    "files_like": _files,
    "files_list": _files,
    "files_list_recent": _recent,
    "files_location": _locations,
    "files_stats": _stats,
    "hosts_list": _hosts,
    "lastver_location": _locations,
    "subscribers_like": _subscribers,
    "subscribers_list": _subscribers,
}


def _limited(node: Node, rows: list[queries.OnDisk]) -> list[queries.OnDisk]:
    if len(rows) > node.settings.max_rows:
        raise Refused(
            f"More than {node.settings.max_rows} rows: narrow the query (like, start, end), or page with "
            "STATUS?file_list=1&max_elements=N"
        )
    return rows


def _file_row(version: Any, copy: Any) -> Row:
    checksum, plug_in = checksum_of(version.crc32c)
    known = version.crc32c is not None
    return (
        copy.volume,
        copy.key,
        version.file_id,
        version.version,
        media_type_of(version),
        version.size_bytes,
        version.size_bytes,
        "NONE",
        date_text(version.created),
        0,
        checksum if known else None,
        plug_in if known else None,
        status_flags(copy.state),
        date_text(version.created),
        None,
        None,
        None if version.container_id is None else str(version.container_id),
    )


# --- the forms


def _text(columns: Sequence[str], rows: list[Row]) -> str:
    """Dashes, names, dashes, rows; columns as wide as their widest value; no newline at the end."""
    told = [tuple(str(value) for value in row) for row in rows]
    widths = [max(len(row[at]) for row in [columns, *told]) for at in range(len(columns))]
    rule = tuple("-" * width for width in widths)
    lines = [rule, columns, rule, *told]
    return "\n".join(" ".join(value.ljust(width) for value, width in zip(line, widths, strict=True)) for line in lines)


def _list_status(node: Node, request: Request) -> dict[str, object]:
    return {
        "Date": date_text(request.received),
        "Version": node.settings.version,
        "HostId": request.host_id,
        "Message": "Successfully handled command STATUS",
        "Status": "SUCCESS",
        "State": node.state,
        "SubState": "IDLE",
    }


def _list_id(since: datetime | None, unique: bool, last: queries.Place) -> str:
    """All that is needed to go on: nothing is kept here. When (microseconds), whether unique, object, volume (hex)."""
    moment = 0 if since is None else int(since.timestamp() * 1_000_000)
    return f"{moment}-{int(unique)}-{last[0]}-{last[1].encode().hex()}"


def _resumed(list_id: str) -> tuple[datetime | None, bool, queries.Place]:
    match = re.fullmatch(r"([0-9]{1,17})-([01])-([0-9]{1,18})-((?:[0-9a-f]{2})*)", list_id, re.ASCII)
    if match is None:
        raise Refused("Invalid parameter: file_list_id is none that was given")
    try:
        since = queries.moment(int(match[1])) if int(match[1]) else None
        return since, match[2] == "1", (int(match[3]), bytes.fromhex(match[4]).decode())
    except (ValueError, OverflowError, OSError):
        raise Refused("Invalid parameter: file_list_id is none that was given") from None


def _blocks(spool: IO[bytes]) -> Iterator[bytes]:
    with spool:
        while block := spool.read(256 << 10):
            yield block
