"""Following another site's store over HTTP, so that both hold the same: its feed is replayed, its objects are fetched.

A follower keeps one number a site, the last event of that site's feed it has dealt with, and writes it after what the
events asked for is durable here. So a cut, a crash or a week without a network is healed by going on, and dealing with
an event twice changes nothing. Versions keep the numbers that they have there; a number that is taken here by other
bytes is a conflict: told in the feed and the log, and neither side's bytes are touched.

A transfer that is cut goes on where it stopped, by a range of the very same bytes (If-Range with their digest).

What the other site tells of and does not give (none of its copies is sound) holds up nothing that came after it. Each
run asks for it again, until so many events more have come (FollowRule.retried_events): then the number goes past it.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

import urllib3
from sqlalchemy import Engine, select, update
from sqlalchemy.dialects.postgresql import insert

from storage import feed
from storage.checksums import BLOCK_BYTES, Expected
from storage.errors import ChecksumMismatch, ObjectNotFound, SiteUnavailable, VersionConflict
from storage.findings import Finding, Pace
from storage.objects import ObjectService
from storage.tables import site

log = logging.getLogger(__name__)

EVENTS = "/store/v1/events"
OBJECTS = "/store/v1/objects/"
EVENTS_AT_ONCE = 500
STALL_S = 30.0  # without a byte, after which the other side counts as gone
RETRIED_EVENTS = 10_000
_GONE = {404, 410}
_NOT_GIVEN = {400, 500}
"""What the site answers because of the object; everything else is because of the site."""


class NotGiven(Exception):
    """The site answers, and does not give this object."""


@dataclass(frozen=True, slots=True)
class Site:
    """Another site. prefix: of the file_ids that are wanted of it; last_event: of its feed, dealt with; problem: what
    the last run met, None when all went well."""

    name: str
    url: str
    prefix: str = ""
    last_event: int = 0
    suspended: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class FollowRule:
    """How sites are followed. transfers: folder for what is on its way. tokens: by name of the site that wants one.

    retried_events: events that come after one that could not be dealt with, before it is asked for no more.
    """

    transfers: Path
    tokens: Mapping[str, str] = field(default_factory=dict)
    stall_s: float = STALL_S
    retried_events: int = RETRIED_EVENTS


@dataclass(slots=True)
class Followed:
    """What one run brought. conflicts: file_id and version, each once. missed: with the reason, what was not given."""

    events: int = 0
    fetched: int = 0
    size_bytes: int = 0
    removed: int = 0
    conflicts: list[tuple[str, int]] = field(default_factory=list)
    missed: list[tuple[str, int, str]] = field(default_factory=list)


def sites(engine: Engine) -> list[Site]:
    """All sites that are followed, by name."""
    with engine.connect() as connection:
        return [Site(**row) for row in connection.execute(_SITES.order_by(site.c.name)).mappings()]


def subscribe(engine: Engine, name: str, url: str, *, prefix: str = "", after: int = 0) -> None:
    """Follow a site from behind an event of its feed (0: from the beginning), or change how it is followed."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.username or parts.password:
        raise ValueError(f"{url!r} is no address of a site: http(s)://HOST[:PORT], and no password in it")
    values = {"url": url.rstrip("/"), "prefix": prefix, "last_event": after, "suspended": False, "problem": None}
    with engine.begin() as connection:
        statement = insert(site).values(name=name, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))


def unsubscribe(engine: Engine, name: str) -> bool:
    """Follow a site no more; what was fetched stays. False if it was not followed."""
    with engine.begin() as connection:
        return connection.execute(site.delete().where(site.c.name == name)).rowcount == 1


class Follower:
    """Brings what another site has to the store here."""

    def __init__(
        self,
        service: ObjectService,
        scratch: Path,
        *,
        token: str | None = None,
        stall_s: float = STALL_S,
        retried_events: int = RETRIED_EVENTS,
    ) -> None:
        """scratch: a folder for transfers under way, kept between runs. token: if the site wants one for reading."""
        self._service, self._scratch, self._retried_events = service, scratch, retried_events
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        timeout = urllib3.Timeout(connect=stall_s, read=stall_s)
        self._http = urllib3.PoolManager(timeout=timeout, retries=False, headers=self._headers)

    def follow(self, name: str, go_on: Callable[[], bool] = lambda: True) -> Followed:
        """Deal with all events that a site has now. SiteUnavailable where it is cut: call it again, and it goes on.

        go_on: asked before each event; after a no the rest is left to the next call.
        """
        done = Followed()
        one = next((each for each in sites(self._service.engine) if each.name == name), None)
        if one is None:
            raise ObjectNotFound(f"no site {name} is followed")
        noted = after = one.last_event
        missed_behind: int | None = None
        problem: str | None = None

        def dealt_with() -> int:
            return after if missed_behind is None or after - missed_behind > self._retried_events else missed_behind

        try:
            while True:
                page = self._events(one, after)
                for event in page:
                    if not go_on():
                        return done
                    try:
                        self._deal(one, event, done)
                    except NotGiven as error:
                        log.error("site %s: %s", one.name, error)
                        problem = problem or str(error)
                        done.missed.append((event["file_id"], event["version"], str(error)))
                        missed_behind = after if missed_behind is None else missed_behind
                    done.events += 1
                    after = int(event["event_id"])
                if not page:
                    return done
                self._note(name, noted, dealt_with(), problem)
                noted = dealt_with()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise
        finally:
            self._note(name, noted, dealt_with(), problem)

    def _events(self, one: Site, after: int) -> list[dict[str, Any]]:
        with self._asked(one, f"{EVENTS}?after={after}&limit={EVENTS_AT_ONCE}", {}) as answer:
            if answer.status != 200:
                raise SiteUnavailable(f"site {one.name} answers {answer.status} for its feed: is {one.url} a store?")
            return list(json.loads(answer.data)["events"])

    def _deal(self, one: Site, event: Mapping[str, Any], done: Followed) -> None:
        file_id, version = event["file_id"], event["version"]
        if file_id is None or version is None or not file_id.startswith(one.prefix):
            return
        if event["kind"] == "archived":
            try:
                self._fetch(one, file_id, int(version), str(event["detail"].get("sha256", "")), done)
            except VersionConflict as conflict:
                self._tell(one, file_id, int(version), conflict)
                done.conflicts.append((file_id, int(version)))
        elif event["kind"] == "removed" and "volume" not in event["detail"]:
            self._remove(one, file_id, int(version), str(event["detail"].get("sha256", "")), done)

    def _remove(self, one: Site, file_id: str, version: int, sha256: str, done: Followed) -> None:
        """Only the bytes that were removed there: what a conflict kept here is ours."""
        try:
            held = self._service.stat(file_id, version)
        except ObjectNotFound:
            return
        if held.sha256 != sha256:
            log.error("site %s removed %s version %d, which has other bytes here: kept", one.name, file_id, version)
            return
        self._service.remove(file_id, version)
        done.removed += 1

    def _fetch(self, one: Site, file_id: str, version: int, told_sha256: str, done: Followed) -> None:
        if self._service.holds(file_id, version, told_sha256):
            return  # a replay asks the other side nothing
        path = f"{OBJECTS}{quote(file_id, safe='/')}?version={version}"
        with self._asked(one, path, {}, method="HEAD") as answer:
            if answer.status in _GONE:
                return  # removed since, which a later event tells
            _require(one, answer, path, 200)
            headers = answer.headers
        sha256, size = headers["ETag"].strip('"'), int(headers["Content-Length"])
        if sha256 != (told_sha256 or sha256):
            raise NotGiven(f"{path} has other bytes than the feed tells of")
        part = self._scratch / one.name / f"{hashlib.sha256(path.encode()).hexdigest()}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("a+b") as file:
            self._transfer(one, path, headers["ETag"], size, file)
            file.seek(0)
            promised = Expected(size_bytes=size, sha256=sha256)
            media_type = headers.get("Content-Type")
            try:
                written = self._service.put(file_id, file, media_type=media_type, expected=promised, version=version)
            except ChecksumMismatch as error:
                part.unlink()  # or it would be tried again for ever
                raise SiteUnavailable(f"{file_id} version {version} came from {one.name} with other bytes") from error
        part.unlink()
        if written.outcome != "unchanged":
            done.fetched += 1
            done.size_bytes += size

    def _transfer(self, one: Site, path: str, etag: str, size: int, file: BinaryIO) -> None:
        """The rest of the bytes behind what the file has; from the beginning if they are other ones now."""
        there = file.seek(0, 2)
        if there >= size:
            if there > size:
                file.truncate(0)
                there = 0
            else:
                return
        asked = {"Range": f"bytes={there}-", "If-Range": etag} if there else {}
        with self._asked(one, path, asked) as answer:
            _require(one, answer, path, 200, 206)
            if answer.status == 200:
                file.truncate(0)
            while block := answer.read(BLOCK_BYTES):
                file.write(block)
        if file.tell() != size:
            raise SiteUnavailable(f"site {one.name} sent {file.tell()} bytes of {size} for {path}")

    def _tell(self, one: Site, file_id: str, version: int, conflict: VersionConflict) -> None:
        """Loudly, but once: a conflict that the feed has already is only logged."""
        log.error("conflict with site %s: %s", one.name, conflict)
        detail = {"site": one.name, "reason": str(conflict)}
        with self._service.engine.begin() as connection:
            if not feed.has_event(connection, "conflict", file_id, version):
                feed.append_event(connection, "conflict", file_id, version, detail)

    def _note(self, name: str, noted: int, after: int, problem: str | None) -> None:
        """How far it went, unless it was told meanwhile to go on from elsewhere."""
        still = (site.c.name == name, site.c.last_event == noted)
        with self._service.engine.begin() as connection:
            connection.execute(update(site).where(*still).values(last_event=after, problem=problem))

    @contextmanager
    def _asked(
        self, one: Site, path: str, headers: Mapping[str, str], *, method: str = "GET"
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        try:
            answer = self._http.request(
                method, one.url + path, headers={**self._headers, **headers},
                preload_content=False, decode_content=False,
            )  # fmt: skip
            try:
                yield answer
            except BaseException:
                answer.close()
                raise
            answer.drain_conn()  # or its connection could not be used again
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise SiteUnavailable(f"site {one.name} ({one.url}) cannot be reached, or was cut: {error}") from error


def _require(one: Site, answer: urllib3.BaseHTTPResponse, path: str, *statuses: int) -> None:
    if answer.status not in statuses:
        kind = NotGiven if answer.status in _NOT_GIVEN else SiteUnavailable
        raise kind(f"site {one.name} answers {answer.status} for {path}")


def follow_all(service: ObjectService, rule: FollowRule, *, pace: Pace, only: str | None = None) -> Iterator[Finding]:
    """Follow every site that is not suspended, or this one only, as far as its feed goes now."""
    found = sites(service.engine)
    if only is not None and only not in {each.name for each in found}:
        raise ObjectNotFound(f"no site {only} is followed: name its --url first")
    for one in found:
        if one.suspended or only not in (None, one.name):
            continue
        follower = Follower(
            service,
            rule.transfers,
            token=rule.tokens.get(one.name),
            stall_s=rule.stall_s,
            retried_events=rule.retried_events,
        )
        try:
            done = follower.follow(one.name, pace.begin)
        except SiteUnavailable as error:
            yield Finding("site_unavailable", one.name, "", str(error))
            continue
        pace.read(done.size_bytes)
        for file_id, version in done.conflicts:
            yield Finding("conflict", one.name, "", "other bytes here than there", file_id, version)
        for file_id, version, reason in done.missed:
            yield Finding("unreadable", one.name, "", reason, file_id, version)
        if done.fetched:
            yield Finding("to_fetch", one.name, "", f"{done.fetched} versions, {done.size_bytes} bytes", done="copied")


_SITES = select(*(site.c[name] for name in ("name", "url", "prefix", "last_event", "suspended", "problem")))
