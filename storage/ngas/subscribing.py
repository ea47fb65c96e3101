"""SUBSCRIBE and UNSUBSCRIBE: rows only. What comes in is sent by delivery.py."""

from dataclasses import replace
from datetime import UTC, datetime

from storage.ngas import queries
from storage.ngas.answers import Answer, Told
from storage.ngas.node import Node
from storage.ngas.queries import FILTER, Subscription
from storage.ngas.request import Refused, Request, checked_pattern, said, split_uri
from storage.ngas.settings import below

MAX_THREADS = 8
PRIORITY = 10


def subscribe(node: Node, request: Request) -> Answer:
    """SUBSCRIBE: have files that come in from start_date (now) on pushed to a URL that the settings allow."""
    url = request.needed("url")
    parts = split_uri(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.fragment:
        raise Refused(f"Invalid parameter: url is that of an http or https server, without a user: {url[:200]!r}")
    if below(url, node.settings.deliver_prefixes) is None:
        raise Refused(f"Unauthorized access denied: the settings allow no delivery to {url[:200]}", 403)
    wanted = Subscription(
        subscr_id=request.text("subscr_id") or url,
        url=url,
        start=request.date("start_date") or datetime.now(UTC),
        filter=_filter(request),
        priority=request.number("priority", PRIORITY) or 0,
        suspended=request.flag("suspend"),
        last_event=0,
        last_date=None,
        threads=min(max(request.number("concurrent_threads", 1) or 1, 1), MAX_THREADS),
    )
    with node.service.engine.begin() as connection:
        there = queries.find_subscription(connection, wanted.subscr_id)
        if there is None:
            place = queries.last_event_before(connection, wanted.start)
            if queries.add_subscription(connection, replace(wanted, last_event=place)):
                return Told("Handled SUBSCRIBE command")
            there = queries.find_subscription(connection, wanted.subscr_id)
    same = there is not None and wanted == replace(there, last_event=0, last_date=None)
    how = "Identical" if same else "Different"
    text = f"{how} subscription with ID '{wanted.subscr_id}' existed"
    return Told(text, ok=same, status=201 if same else 409)


def unsubscribe(node: Node, request: Request) -> Answer:
    """UNSUBSCRIBE: end those with this subscr_id, or to this url."""
    subscr_id, url = request.text("subscr_id"), request.text("url")
    if subscr_id is None and url is None:
        raise Refused(said("ER_CMD_SYNTAX", 4035, "ERROR", "UNSUBSCRIBE needs the parameter url or subscr_id"))
    with node.service.engine.begin() as connection:
        gone = queries.remove_subscriptions(connection, subscr_id=subscr_id, url=url)
    if not gone:
        text = f"UNSUBSCRIBE command failed: Cannot find Subscriber with an ID {subscr_id or url}"
        return Told(text, ok=False)
    return Told("Successfully handled UNSUBSCRIBE command")


def _filter(request: Request) -> str | None:
    """The pattern that file_ids must be like; the one filter there is, for no program of others is run here."""
    name, parameters = request.text("filter_plug_in"), request.text("plug_in_pars") or ""
    if name is None:
        return None
    key, equals, pattern = parameters.partition("=")
    if name != FILTER or key != "like" or not equals or not pattern:
        raise Refused(
            f"the filter that is known here is filter_plug_in={FILTER} with plug_in_pars=like=PATTERN (of SQL)"
        )
    return checked_pattern(pattern)
