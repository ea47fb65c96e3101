"""Fetching an uploaded table by URL (TAP 1.1 §2.7.6), without becoming somebody's way into our network.

http and https only. A name is looked up once, each of its addresses is judged, and the connection goes to the very
address that was judged, so a name that turns private in between changes nothing; redirects are followed by hand and
judged again. What is fetched is bounded in size and in time.
"""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from archive.vo.errors import TooLargeError, UsageError

MAX_REDIRECTS = 3
SPOOL_BYTES = 4 << 20
_BLOCK = 1 << 16
_IN_PATH = "/%:@!$&'()*+,;=~-._"
# Not anybody's, whatever this Python's table says (IANA's registries of special-purpose addresses).
RESERVED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b:1::/48")))
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Fetcher:
    """timeout_s: seconds for the whole of a fetch. allowed_hosts: names that may be private, as the settings say."""

    timeout_s: float = 30.0
    allowed_hosts: tuple[str, ...] = ()

    @contextmanager
    def fetch(self, url: str, *, max_bytes: int) -> Iterator[tuple[BinaryIO, str | None]]:
        """The body behind a URL, at its start, and its media type.

        UsageError: it may not or cannot be had; TooLargeError.
        """
        deadline = time.monotonic() + self.timeout_s
        for _ in range(MAX_REDIRECTS + 1):
            parts = _parts(url)
            connection = self._connect(parts, deadline)
            # A server that sends a byte now and then never meets a socket's timeout: this ends the whole.
            clock = threading.Timer(max(0.0, deadline - time.monotonic()), _hang_up, (connection.sock,))
            clock.daemon = True
            clock.start()
            try:
                answer = _ask(connection, parts)
                if answer.status in _REDIRECTS:
                    url = urljoin(url, answer.getheader("Location", ""))
                    continue
                if answer.status != 200:
                    raise UsageError(f"UPLOAD: {url} answered {answer.status} {answer.reason}")
                body = _copy(answer, url, max_bytes, deadline)
            except (OSError, http.client.HTTPException, ValueError) as problem:
                _in_time(url, deadline)
                raise UsageError(f"UPLOAD: {url} cannot be fetched: {problem}") from None
            finally:
                clock.cancel()
                connection.close()
            with body:
                yield cast("BinaryIO", body), answer.getheader("Content-Type")
            return
        raise UsageError(f"UPLOAD: more than {MAX_REDIRECTS} redirects, the last to {url}")

    def _connect(self, parts: SplitResult, deadline: float) -> http.client.HTTPConnection:
        """A connection to an address that was judged, under the name that was asked for."""
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise UsageError(f"UPLOAD: there is no host {host}") from None
        addresses = [str(each[4][0]) for each in found]
        is_allowed = host in (name.lower() for name in self.allowed_hosts)
        if not addresses or not (is_allowed or all(is_public(address) for address in addresses)):
            raise UsageError(f"UPLOAD: {host} is in a private network, which this service does not fetch from")
        connection = http.client.HTTPConnection(host, parts.port or port)
        try:
            sock = _reach(addresses, port, deadline)
            if parts.scheme == "https":
                sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        except OSError as problem:
            raise UsageError(f"UPLOAD: {host} does not answer: {problem}") from None
        connection.sock = sock
        return connection


def _reach(addresses: list[str], port: int, deadline: float) -> socket.socket:
    """A socket to the first of the addresses that answers; OSError: none does."""
    problem: OSError = TimeoutError("timed out")
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return socket.create_connection((address, port), timeout=left)
        except OSError as error:
            problem = error
    raise problem


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may be closed already
        sock.shutdown(socket.SHUT_RDWR)


def _in_time(url: str, deadline: float) -> None:
    if time.monotonic() >= deadline:
        raise UsageError(f"UPLOAD: {url} took too long")


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(url)
    except ValueError:  # a broken IPv6 address, a port that is none
        raise UsageError(f"UPLOAD: {url} is no http or https URL") from None
    if parts.username or parts.password:
        raise UsageError("UPLOAD: a URL with a password in it is not fetched")
    return parts


def is_public(text: str) -> bool:
    """Whether an address, and every IPv4 address that it carries within (RFC 4291, 6052, 3056, 4380), is anybody's."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return _is_global(address)
    carried = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64 or address in IPV4_COMPATIBLE:
        carried.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    inner = [one for one in carried if one is not None]
    if inner:
        return all(map(_is_global, inner))
    return _is_global(address) and not address.is_site_local


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in network for network in RESERVED)


def _ask(connection: http.client.HTTPConnection, parts: SplitResult) -> http.client.HTTPResponse:
    target = quote(parts.path or "/", safe=_IN_PATH)
    if parts.query:
        target += "?" + quote(parts.query, safe=_IN_PATH + "?")
    connection.request("GET", target, headers={"User-Agent": "Uraniborg", "Accept-Encoding": "identity"})
    return connection.getresponse()


def _copy(answer: http.client.HTTPResponse, url: str, max_bytes: int, deadline: float) -> IO[bytes]:
    """The body, whole, at its start."""
    body = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - the caller closes it
    size = 0
    try:
        while block := answer.read(_BLOCK):
            size += len(block)
            if size > max_bytes:
                raise TooLargeError(f"UPLOAD: {url} has more than {max_bytes} bytes, the limit here")
            body.write(block)
        _in_time(url, deadline)  # a connection that was hung up looks like one that has ended
        if answer.length:
            raise UsageError(f"UPLOAD: {url} broke off {answer.length} bytes before its end")
        body.seek(0)
    except BaseException:
        body.close()
        raise
    return body
