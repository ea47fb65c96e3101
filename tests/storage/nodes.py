"""A storage node for tests, served within their process: a real socket, and its insides within reach."""

import os
import re
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from sqlalchemy import Engine, create_engine

from storage.objects import ObjectService
from storage.posix import PosixVolume
from storage.service import ObjectStore
from storage.volume import Volume
from storage.web import tus
from storage.web.authorizer import TokenAuthorizer
from storage.web.node import NodeApp, listen, server
from storage.web.settings import WebSettings
from tests.served import wait_until

TOKEN = "a-token-for-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@dataclass(frozen=True)
class Node:
    """url: where it answers. volumes: the folders of its volumes. threads: those that serve it."""

    url: str
    port: int
    service: ObjectService
    volumes: tuple[Path, ...]

    @property
    def objects(self) -> str:
        return f"{self.url}/store/v1/objects"

    def client(self, **headers: str) -> httpx.Client:
        """A client that may write."""
        return httpx.Client(base_url=f"{self.url}/store/v1", headers={**BEARER, **headers}, timeout=30)

    def kept(self) -> int:
        """How many objects lie on the volumes."""
        return sum(len(list(volume.keys())) for volume in self.service.store.volumes)

    def staged(self) -> list[Path]:
        return [path for folder in self.volumes for path in (folder / "staging").iterdir()]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def raw(self, request: bytes, *, cut: bool = False) -> bytes:
        """What is answered to these very bytes. cut: the client ends its side after them."""
        with self.connect() as connection:
            connection.sendall(request)
            if cut:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while not _whole(answer) and (piece := connection.recv(1 << 16)):
                answer += piece
            return answer


def _whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    told = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
    return bool(end) and told is not None and (len(body) >= int(told[1]))


def descriptors() -> int:
    """What this process has open, but for its sessions with the database, of which some are kept at hand."""
    this = psutil.Process()
    return int(this.num_fds()) - len(this.net_connections("unix"))


@contextmanager
def node(
    writer: Engine,
    folder: Path,
    *names: str,
    copies: int = 1,
    settings: WebSettings = WebSettings(),  # noqa: B008
    further: Sequence[Volume] = (),
) -> Iterator[Node]:
    """A node on posix volumes of these names, and further ones, which come first."""
    folders = tuple(folder / name for name in names or ("one",))
    volumes = [*further, *(PosixVolume(path, path.name, create=True, reserve_bytes=0) for path in folders)]
    service = ObjectService(ObjectStore(volumes), writer, copies=copies)
    for volume in volumes:
        service.register(volume.name)
    (folder / "operator.token").write_text(TOKEN + "\n")
    app = NodeApp(service, TokenAuthorizer(folder / "operator.token"), settings)
    listening = listen("127.0.0.1", 0)
    web = server(app)
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    wait_until(lambda: web.started)
    port = listening.getsockname()[1]
    try:
        yield Node(f"http://127.0.0.1:{port}", port, service, folders)
    finally:
        web.should_exit = True
        thread.join(30)
        listening.close()
        assert not thread.is_alive(), "the server did not stop"


def main(url: str, folder: str, port: str, checkpoint_bytes: str) -> None:
    """The same as a process of its own, to be killed."""
    tus.CHECKPOINT_BYTES = int(checkpoint_bytes)
    volume = PosixVolume(Path(folder) / "one", "one", create=True, reserve_bytes=0)
    service = ObjectService(ObjectStore([volume]), create_engine(url))
    token = Path(folder) / "operator.token"
    token.write_text(os.environ["NODE_TOKEN"])
    app = NodeApp(service, TokenAuthorizer(token), WebSettings(uploads=Path(folder) / "uploads"))
    server(app).run(sockets=[listen("127.0.0.1", int(port))])


if __name__ == "__main__":
    main(*sys.argv[1:])
