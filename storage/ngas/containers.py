"""CCREATE, CLIST, CAPPEND, CREMOVE, CDESTROY, CARCHIVE, CRETRIEVE: containers of files, and whole trees in one body."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from storage.checksums import Readable
from storage.errors import ContainerNotFound, ObjectNotFound, StorageError
from storage.model import Container, ObjectVersion, check_file_id
from storage.ngas.answers import Answer, Data, Told
from storage.ngas.files import closing, plain_name
from storage.ngas.multipart import Tree, as_multipart, as_tar, blocks_of, read_tree, size_of
from storage.ngas.node import Node, file_status, is_media_type
from storage.ngas.request import Refused, Request, base_name
from storage.ngas.status import Element, date_text

MAX_XML_BYTES = 8 << 20
MEDIA_TYPE, TAR = "ngas/container", "application/x-tar"


@dataclass(frozen=True, slots=True)
class _Filled:
    """A container, the newest version of each of its files, and those within it."""

    container: Container
    files: Sequence[ObjectVersion]
    children: Sequence["_Filled"]


def ccreate(node: Node, request: Request, body: Readable) -> Answer:
    """CCREATE: a container by name, or (in XML) a tree of them."""
    done = "Successfully created container(s)"
    name = request.text("container_name")
    if name is not None:
        parent_id = request.number("parent_container_id")
        made = node.service.create_container(_checked_name(name), parent_id)
        return Told(done, (Element("Container", {"id": made.container_id, "name": made.name, "size": 0}),))
    wanted = _xml(body, "Container") if request.method != "GET" else None
    if wanted is None:
        raise Refused("Invalid parameter: container_name needed, or a tree of Container elements in the body")
    for each in wanted.iter():  # all names first: nothing is made of a tree that is wrong in part
        if each.tag == "Container":
            _checked_name(each.get("name", ""))
    return Told(done, (_created(node, wanted, None),))


def clist(node: Node, request: Request) -> Answer:
    """CLIST: a container, its files, and what is within it."""
    return Told("Successfully retrieved containers list", (_told(_filled(node, _named(node, request))),))


def cappend(node: Node, request: Request, body: Readable) -> Answer:
    """CAPPEND: put files into a container; force=1: out of another one, too. All are looked at before any is put."""
    container, file_ids = _named(node, request), _file_ids(request, body)
    for file_id in file_ids:
        node.allow(request, "write", file_id)
        try:
            version = node.service.stat(file_id)
        except ObjectNotFound:
            raise Refused(f"No file with fileId '{file_id}' found, cannot append it to container") from None
        if version.container_id not in (None, container.container_id) and not request.flag("force"):
            raise Refused(
                f"File '{file_id}' is already associated to container '{version.container_id}'. "
                "To override the 'force' parameter must be given"
            )
    for file_id in file_ids:
        node.service.place(file_id, container.container_id)
    return Told("Successfully handled request")


def cremove(node: Node, request: Request, body: Readable) -> Answer:
    """CREMOVE: take files out of a container; those that are not in it stay where they are."""
    container, file_ids = _named(node, request), _file_ids(request, body)
    for file_id in file_ids:
        node.allow(request, "write", file_id)
        try:
            inside = node.service.stat(file_id).container_id == container.container_id
        except ObjectNotFound:
            inside = False
        if inside:
            node.service.place(file_id, None)
    return Told("Successfully handled request")


def cdestroy(node: Node, request: Request) -> Answer:
    """CDESTROY: remove a container; recursive=1: and those within it. Its files stay."""
    filled = _filled(node, _named(node, request))
    if filled.children and not request.flag("recursive"):
        raise Refused(
            f"Container with id '{filled.container.container_id}' has sub-containers, "
            "use the recursive option to remove them"
        )
    _destroy(node, filled)
    return Told("Successfully handled request")


def carchive(node: Node, request: Request, body: Readable) -> Answer:
    """CARCHIVE: keep a tree of files, and the containers that it is in.

    Files are kept one by one as they come: where a body is cut, or a file of it refused, those before it are there.
    """
    archived = _Archived(node, request)
    try:
        read_tree(body, archived)
    except Refused as refused:
        raise Refused(f"{refused}; {archived.kept} files that came before are kept", refused.status) from refused
    row = node.volume(archived.volume) if archived.volume else next(iter(node.volumes().values()))
    return Told(f"Successfully handled Archive Push Request for container: {archived.name}", (node.disk(row, request),))


def cretrieve(node: Node, request: Request) -> Answer:
    """CRETRIEVE: all files of a container and of those within it, as multipart or tar, each verified as it goes."""
    tree = _tree(node, request, _filled(node, _named(node, request)))
    as_one = request.text("format") == TAR
    segments = list(as_tar(tree) if as_one else as_multipart(tree))

    def opened(version: ObjectVersion) -> Iterator[bytes]:
        return closing(node.service.open(version.file_id, version.version))

    headers = {"Content-Disposition": f'attachment; filename="{tree.name}"'} if as_one else {}
    return Data(TAR if as_one else MEDIA_TYPE, size_of(segments), blocks_of(segments, opened), headers)


class _Archived:
    """Keeps a tree as it is read; a Visitor."""

    def __init__(self, node: Node, request: Request) -> None:
        self._node, self._request = node, request
        self._open: list[Container] = []
        self.name, self.volume, self.kept = "", "", 0

    def enter(self, name: str) -> None:
        parent_id = self._open[-1].container_id if self._open else None
        self._open.append(self._node.service.create_container(_checked_name(name), parent_id))
        self.name = self.name or name

    def leave(self) -> None:
        self._open.pop()

    def file(self, name: str, media_type: str, stream: Readable) -> None:
        file_id, container_id = base_name(f"/{name}"), self._open[-1].container_id
        self._node.allow(self._request, "write", file_id)
        kept_as = media_type if is_media_type(media_type) else None
        try:
            written = self._node.service.put(file_id, stream, media_type=kept_as, container_id=container_id)
        except StorageError as error:
            raise type(error)(f"{file_id}: {error}; {self.kept} files that came before are kept") from error
        if written.version.container_id != container_id:
            self._node.service.place(file_id, container_id)
        self.volume = self.volume or next((copy.volume for copy in written.version.copies), "")
        self.kept += 1


def _named(node: Node, request: Request) -> Container:
    """The container that is spoken of, by its number or by a name that only one has."""
    name, number = request.text("container_name"), request.text("container_id")
    if name is None and number is None:
        raise Refused("Invalid parameter: container_id or container_name needed")
    if number is not None:
        if not number.isascii() or not number.isdecimal() or len(number) > 18:
            raise Refused(f"No container found with id {number[:40]}")
        try:
            return node.service.container(int(number))
        except ContainerNotFound:
            raise Refused(f"No container found with id {number}") from None
    found = node.service.containers(name=name)
    if not found:
        raise Refused(f"No container found with name {name}")
    if len(found) > 1:
        raise Refused(f"More than one container with name {name} found, cannot proceed with unique fetching")
    return found[0]


def _filled(node: Node, container: Container, left: list[int] | None = None) -> _Filled:
    """A container with all that is in it; left: how many files more are told."""
    left = [node.settings.max_rows] if left is None else left
    files = list(node.service.files(container_id=container.container_id, limit=left[0] + 1))
    left[0] -= len(files)
    if left[0] < 0:
        raise Refused(f"The container holds more than {node.settings.max_rows} files: ask for one of those within it")
    inner = node.service.containers(parent_id=container.container_id)
    return _Filled(container, files, [_filled(node, each, left) for each in inner])


def _told(filled: _Filled) -> Element:
    size_bytes = sum(each.size_bytes for each in filled.files)
    filled_at = max((each.created for each in filled.files), default=None)
    attributes = {
        "id": filled.container.container_id,
        "name": filled.container.name,
        "size": size_bytes,
        "ingestionDate": date_text(filled_at),
    }
    files = [file_status(each) for each in filled.files]
    return Element("Container", attributes, [*files, *map(_told, filled.children)])


def _destroy(node: Node, filled: _Filled) -> None:
    for child in filled.children:
        _destroy(node, child)
    for each in filled.files:
        node.service.place(each.file_id, None)
    node.service.remove_container(filled.container.container_id)


def _created(node: Node, wanted: ElementTree.Element, parent_id: int | None) -> Element:
    made = node.service.create_container(wanted.get("name", ""), parent_id)
    inner = [_created(node, each, made.container_id) for each in wanted if each.tag == "Container"]
    return Element("Container", {"id": made.container_id, "name": made.name, "size": 0}, inner)


def _tree(node: Node, request: Request, filled: _Filled) -> Tree:
    """What is sent, under names that are no paths and that no other file of the container has."""
    named: dict[str, ObjectVersion] = {}
    for each in filled.files:
        node.allow(request, "read", each.file_id)
        name = plain_name(each.file_id)
        if name in named:
            name = plain_name(each.file_id.replace("/", "_"))
        while name in named:
            name = f"_{name}"
        named[name] = each
    children = [_tree(node, request, child) for child in filled.children]
    return Tree(plain_name(filled.container.name), list(named.items()), children)


def _checked_name(name: str) -> str:
    """A name of a container that can be that of a folder, for CRETRIEVE makes folders of them."""
    if name in (".", "..") or "/" in name:
        raise Refused(f"{name[:80]!r} is no name of a container: it has a slash, or means a folder")
    return check_file_id(name)


def _file_ids(request: Request, body: Readable) -> list[str]:
    """The file_ids of a request: its parameter, or the list in its body."""
    if (one := request.text("file_id")) is not None:
        return [one]
    wanted = _xml(body, "FileList") if request.method != "GET" else None
    found = [] if wanted is None else [each.get("FileId", "") for each in wanted.iter("File")]
    if not found or not all(found):
        raise Refused("Invalid parameter: file_id needed, or a FileList of File elements with FileId in the body")
    return list(dict.fromkeys(found))


def _xml(body: Readable, root: str) -> ElementTree.Element | None:
    """The XML of a body; None if it is empty."""
    text = b""
    while block := body.read(1 << 20):
        text += block
        if len(text) > MAX_XML_BYTES:
            raise Refused(f"the XML is larger than {MAX_XML_BYTES >> 20} MiB")
    if not text.strip():
        return None
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
        raise Refused("the XML has a DOCTYPE, which is not taken here")
    try:
        found = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise Refused(f"the body is no XML: {error}") from None
    if found.tag != root:
        raise Refused(f"the XML's root is {root}, not {str(found.tag)[:40]!r}")
    return found
