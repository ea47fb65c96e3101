"""A line to a server on this machine that can be slow, stall, and lose answers."""

import contextlib
import random
import socket
import threading
import time
from typing import Self


class Line:
    """Listens on a port of its own and hands on what comes, both ways; a context manager.

    delay_s: how long each piece is on its way. loses: the share of answers' pieces that end their connection instead.
    """

    def __init__(self, to: int) -> None:
        self.delay_s, self.loses = 0.0, 0.0
        self._to, self._open, self._draw = to, threading.Event(), random.Random(to)
        self._open.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]

    def stall(self) -> None:
        """Nothing comes through, and no connection breaks."""
        self._open.clear()

    def go_on(self) -> None:
        self._open.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.go_on()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=(*ends, ends[0] is server), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError), source:
            while piece := source.recv(1 << 16):
                self._open.wait()
                time.sleep(self.delay_s)
                if is_answer and self._draw.random() < self.loses:
                    break
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
