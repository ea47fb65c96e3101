"""Pushing what comes in to subscribers, out of the feed, as NGAS does: one QARCHIVE a version; 200 says: taken.

A subscriber that cannot be reached waits where it is; one that refuses a file gets it again later, while others go on.
So all of the feed is delivered, and some of it perhaps twice, which makes no second version there.
"""

import logging
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.header import Header
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import repeat
from typing import Literal
from urllib.parse import urlsplit

from sqlalchemy import Connection, Engine, func, select

from storage.errors import ObjectNotFound, StorageError
from storage.findings import Finding, Pace
from storage.model import ObjectVersion
from storage.ngas import queries
from storage.ngas.node import checksum_of, media_type_of
from storage.ngas.queries import Subscription
from storage.ngas.request import base_name
from storage.ngas.settings import NgasSettings, below
from storage.objects import ObjectService
from storage.reading import ReadStream

log = logging.getLogger(__name__)

BATCH = 200
EVENTS_A_TURN = 1_000  # of one subscription, before the next has its turn
WAIT_S, MAX_WAIT_S = 3.0, 3_600.0
MAX_ANSWER_BYTES = 1 << 20
# A family of PostgreSQL's advisory locks, one a subscription ("push").
_LOCK = 0x70757368

Outcome = Literal["taken", "refused", "unreachable", "skipped"]
# What became of a push, why, and when the version had come in.
Pushed = tuple[Outcome, str, datetime | None]


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a round did for a subscription. waiting: files to be tried again. problem: why it ended early, if it did."""

    subscr_id: str
    taken: int = 0
    refused: int = 0
    waiting: int = 0
    last_event: int = 0
    problem: str = ""


def deliver(
    service: ObjectService, settings: NgasSettings, *, only: str | None = None, most: int | None = None
) -> Iterator[Delivered]:
    """Serve every subscription that is not suspended, in the order of priority, as far as the feed goes now.

    only: the subscription of this id. most: events a subscription at the most, so that none waits for another for long.
    Rounds may run at once: each subscription is served by one of them.
    """
    with service.engine.connect() as connection:
        found = queries.subscriptions(connection)
    for each in found:
        if each.suspended or (only is not None and each.subscr_id != only):
            continue
        with _alone(service.engine, each.subscr_id) as alone:
            if alone:
                yield _Round(service, settings, each.subscr_id).run(most)


def delivered(service: ObjectService, settings: NgasSettings, pace: Pace) -> Iterator[Finding]:
    """Rounds for all, as a standing process: so many events a subscription, until nothing is left or time is up."""
    while pace.begin():
        taken = 0
        for told in deliver(service, settings, most=EVENTS_A_TURN):
            taken += told.taken
            if told.taken:
                yield Finding("to_deliver", told.subscr_id, "", f"{told.taken} files", done="copied")
            if told.problem:
                yield Finding("subscriber_unavailable", told.subscr_id, "", told.problem)
        if not taken:
            return


class _Round:
    """One round for one subscription."""

    def __init__(self, service: ObjectService, settings: NgasSettings, subscr_id: str) -> None:
        self._service, self._settings = service, settings
        self._engine = service.engine
        self._id = subscr_id
        self._taken = self._refused = 0
        self._problem = self._away = ""

    def run(self, most: int | None) -> Delivered:
        with self._engine.connect() as connection:
            # Again, now that nobody else serves it.
            subscription = queries.find_subscription(connection, self._id)
        if subscription is None:
            return Delivered(self._id, problem="it was ended")
        if below(subscription.url, self._settings.deliver_prefixes) is None:
            self._problem = f"the settings allow no delivery to {subscription.url}"
        last_event = subscription.last_event
        if not self._problem:
            self._retry(subscription)
        if not self._problem:
            last_event = self._follow(subscription, most)
        with self._engine.connect() as connection:
            waiting = queries.waiting(connection, self._id)
        if self._problem:
            log.warning("subscription %s: %s", self._id, self._problem)
        return Delivered(self._id, self._taken, self._refused, waiting, last_event, self._problem)

    def _retry(self, subscription: Subscription) -> None:
        """What was refused before and is due now."""
        with self._engine.connect() as connection:
            due = queries.due(connection, self._id, BATCH)
        for each in due:
            outcome, reason, _ = self._push(subscription, each.file_id, each.version)
            if outcome == "unreachable":
                self._problem = reason
                return
            self._note(outcome, reason, each.file_id, each.version, min(WAIT_S * 2**each.tries, MAX_WAIT_S))

    def _follow(self, subscription: Subscription, most: int | None) -> int:
        """The feed, from where the subscription stands; where it stands after."""
        last_event, gone_through = subscription.last_event, 0
        with ThreadPoolExecutor(subscription.threads, thread_name_prefix="ngas-deliver") as threads:
            while not self._problem and (most is None or gone_through < most):
                limit = BATCH if most is None else min(BATCH, most - gone_through)
                with self._engine.begin() as connection:
                    horizon, events = queries.archived_after(connection, last_event, limit)
                    wanted = self._wanted(subscription, (file_id for _, file_id, _ in events), connection)
                outcomes = threads.map(self._pushed, repeat(subscription), events, repeat(wanted))
                last_date: datetime | None = None
                for (event_id, file_id, version), (outcome, reason, created) in zip(events, outcomes, strict=True):
                    if outcome == "unreachable":
                        # Those after it that were taken are sent again: nothing is left out.
                        self._problem = self._problem or reason
                    if not self._problem:
                        self._note(outcome, reason, file_id, version, WAIT_S)
                        last_event = event_id
                        last_date = created or last_date
                if not self._problem and len(events) < limit:
                    last_event = horizon
                with self._engine.begin() as connection:
                    queries.advance(connection, self._id, last_event, last_date)
                gone_through += len(events)
                if len(events) < limit:
                    break
        return last_event

    def _wanted(self, subscription: Subscription, file_ids: Iterable[str], connection: Connection) -> set[str]:
        ids = set(file_ids)
        if subscription.filter is None or not ids:
            return ids
        return queries.matching(connection, sorted(ids), subscription.filter)

    def _pushed(self, subscription: Subscription, event: tuple[int, str, int], wanted: set[str]) -> Pushed:
        _, file_id, version = event
        if self._away:  # the others need not wait for it in vain
            return "unreachable", self._away, None
        return self._push(subscription, file_id, version) if file_id in wanted else ("skipped", "", None)

    def _push(self, subscription: Subscription, file_id: str, version: int) -> Pushed:
        """One version to the subscriber."""
        try:
            held = self._service.stat(file_id, version)
            if held.created < subscription.start:
                return "skipped", "", None
            with self._service.read(held) as stream:
                status, told = _post(subscription.url, held, stream, self._settings)
        except ObjectNotFound:
            return "skipped", "", None  # removed meanwhile
        except StorageError as error:
            return "refused", f"it cannot be read: {error}", None
        except (OSError, HTTPException) as error:
            self._away = f"{subscription.url} gave no answer: {str(error) or type(error).__name__}"
            return "unreachable", self._away, None
        if status == 200 and b'Status="FAILURE"' not in told:
            return "taken", "", held.created
        message = re.search(rb'Message="([^"]*)"', told)
        return "refused", f"{status} {message[1].decode(errors='replace') if message else ''}"[:500], None

    def _note(self, outcome: Outcome, reason: str, file_id: str, version: int, wait_s: float) -> None:
        with self._engine.begin() as connection:
            if outcome == "refused":
                queries.put_off(connection, self._id, file_id, version, wait_s, reason)
            else:
                queries.settled(connection, self._id, file_id, version)
        self._refused += outcome == "refused"
        self._taken += outcome == "taken"


def _post(url: str, version: ObjectVersion, stream: ReadStream, settings: NgasSettings) -> tuple[int, bytes]:
    """Send a version as NGAS sends it; status and start of the answer. A stream that fails breaks the connection."""
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=settings.deliver_s)
    query = parts.query
    headers = {
        "Content-Type": media_type_of(version),
        "Content-Disposition": _disposition(version.file_id),
        "Content-Length": str(version.size_bytes),
    }
    checksum, variant = checksum_of(version.crc32c)
    if version.crc32c is not None:
        query = f"{query}&crc_variant={variant}" if query else f"crc_variant={variant}"
        headers["NGAS-File-CRC"] = checksum
    credential = settings.deliver_prefixes[below(url, settings.deliver_prefixes) or ""]
    if credential:
        headers["Authorization"] = f"Basic {b64encode(credential.encode()).decode()}"
    try:
        connection.putrequest("POST", f"{parts.path or '/'}{f'?{query}' if query else ''}")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for block in stream:
                connection.send(block)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have answered before the end
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_ANSWER_BYTES)
    finally:
        connection.close()


def _disposition(file_id: str) -> str:
    """Name and file_id as NGAS writes them: file_id without quotes where that can be read, all of it encoded (RFC 2047)
    where it is not ASCII."""
    name = re.sub(r'[";\\]', "_", base_name(f"/{file_id}"))
    plain = file_id if not re.search(r'[";\\]|^\s|\s$', file_id) else '"' + re.sub(r'(["\\])', r"\\\1", file_id) + '"'
    told = f'attachment; filename="{name}"; file_id={plain}'
    return told if told.isascii() else Header(told, "utf-8", maxlinelen=100_000).encode(maxlinelen=100_000)


@contextmanager
def _alone(engine: Engine, subscr_id: str) -> Iterator[bool]:
    """Whether nobody else serves the subscription, and until the block ends nobody will.

    A lock of the session, without a transaction: one that is open for hours would keep the feed from being numbered.
    """
    key = func.hashtextextended(subscr_id, _LOCK)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        mine = bool(connection.scalar(select(func.pg_try_advisory_lock(key))))
        try:
            yield mine
        finally:
            if mine:
                connection.scalar(select(func.pg_advisory_unlock(key)))
