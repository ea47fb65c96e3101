"""Fetching an uploaded table by URL (TAP 1.1 §2.7.6), without becoming somebody's way into our network.

http and https only. A name is looked up once, each of its addresses is judged, and the connection goes to the very
address that was judged, so a name that turns private in between changes nothing; redirects are followed by hand and
judged again. What is fetched is bounded in size and in time.
"""

import http.client
import ipaddress
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast
from urllib.parse import SplitResult, urljoin, urlsplit

from archive.vo.errors import TooLargeError, UsageError

MAX_REDIRECTS = 3
SPOOL_BYTES = 4 << 20
_BLOCK = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """timeout_s: seconds for the whole of a fetch. allowed_hosts: names that may be private, as the settings say."""

    timeout_s: float = 30.0
    allowed_hosts: tuple[str, ...] = ()

    @contextmanager
    def fetch(self, url: str, *, max_bytes: int) -> Iterator[BinaryIO]:
        """The body behind a URL, at its start. UsageError: it may not or cannot be had; TooLargeError."""
        deadline = time.monotonic() + self.timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            parts = _parts(url)
            connection = self._connect(parts, deadline)
            try:
                answer = _ask(connection, parts, url)
                if answer.status in _REDIRECTS:
                    url = urljoin(url, answer.getheader("Location", ""))
                    continue
                if answer.status != 200:
                    raise UsageError(f"UPLOAD: {url} answered {answer.status} {answer.reason}")
                with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as body:
                    _copy(answer, body, url, max_bytes, deadline)
                    body.seek(0)
                    yield cast("BinaryIO", body)
                return
            except (OSError, http.client.HTTPException) as problem:
                raise UsageError(f"UPLOAD: {url} cannot be fetched: {problem}") from None
            finally:
                connection.close()
        raise UsageError(f"UPLOAD: more than {MAX_REDIRECTS} redirects, the last to {url}")

    def _connect(self, parts: SplitResult, deadline: float) -> http.client.HTTPConnection:
        """A connection to an address that was judged, under the name that was asked for."""
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise UsageError(f"UPLOAD: there is no host {host}") from None
        addresses = [ipaddress.ip_address(each[4][0]) for each in found]
        if host not in self.allowed_hosts and not all(_is_public(address) for address in addresses):
            raise UsageError(f"UPLOAD: {host} is in a private network, which this service does not fetch from")
        left = max(0.1, deadline - time.monotonic())
        connection = http.client.HTTPConnection(host, port, timeout=left)
        try:
            sock: socket.socket = socket.create_connection((str(addresses[0]), port), timeout=left)
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except OSError as problem:
            raise UsageError(f"UPLOAD: {host} does not answer: {problem}") from None
        connection.sock = sock
        return connection


def _parts(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"UPLOAD: {url} is no http or https URL")
    if parts.username or parts.password:
        raise UsageError("UPLOAD: a URL with a password in it is not fetched")
    return parts


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_global and not address.is_multicast


def _ask(connection: http.client.HTTPConnection, parts: SplitResult, url: str) -> http.client.HTTPResponse:
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    connection.request("GET", target, headers={"User-Agent": "Uraniborg", "Accept-Encoding": "identity"})
    return connection.getresponse()


def _copy(answer: http.client.HTTPResponse, body: IO[bytes], url: str, max_bytes: int, deadline: float) -> None:
    size = 0
    while block := answer.read(_BLOCK):
        size += len(block)
        if size > max_bytes:
            raise TooLargeError(f"UPLOAD: {url} has more than {max_bytes} bytes, the limit here")
        if time.monotonic() > deadline:
            raise UsageError(f"UPLOAD: {url} took too long")
        body.write(block)
