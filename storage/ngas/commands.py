"""Which commands there are, what they ask of who asks, and where they are done."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.checksums import Readable
from storage.ngas import archiving, containers, files, listing, state, subscribing
from storage.ngas.answers import Answer
from storage.ngas.node import Node
from storage.ngas.request import Request
from storage.web.authorizer import Action


@dataclass(frozen=True, slots=True)
class Command:
    """run: does it, blocking. action: what must be allowed first; None: run asks, for it depends on what is wanted.
    online: whether it is refused while the server is OFFLINE."""

    run: Callable[[Node, Request, Readable], Answer]
    action: Action | None
    online: bool = True


def _bodiless(run: Callable[[Node, Request], Answer]) -> Callable[[Node, Request, Readable], Answer]:
    return lambda node, request, _: run(node, request)


COMMANDS = {
    "ARCHIVE": Command(archiving.archive, "write"),
    "QARCHIVE": Command(archiving.archive, "write"),
    "CACHEDEL": Command(_bodiless(files.cachedel), "administer"),
    "CAPPEND": Command(containers.cappend, "write"),
    "CARCHIVE": Command(containers.carchive, "write"),
    "CCREATE": Command(containers.ccreate, "write"),
    "CDESTROY": Command(_bodiless(containers.cdestroy), "write"),
    "CHECKFILE": Command(_bodiless(files.checkfile), "read"),
    "CLIST": Command(_bodiless(containers.clist), "read"),
    "CLONE": Command(_bodiless(files.clone), "administer"),
    "CREMOVE": Command(containers.cremove, "write"),
    "CRETRIEVE": Command(_bodiless(containers.cretrieve), "read"),
    "DISCARD": Command(_bodiless(files.discard), "administer"),
    "INIT": Command(_bodiless(state.init), "administer", online=False),
    "LABEL": Command(_bodiless(state.label), "administer", online=False),
    "OFFLINE": Command(_bodiless(state.offline), "administer"),
    "ONLINE": Command(_bodiless(state.online), "administer", online=False),
    "QUERY": Command(_bodiless(listing.query), "read"),
    "REGISTER": Command(_bodiless(archiving.register), "administer"),
    "REMDISK": Command(_bodiless(files.remdisk), "administer"),
    "REMFILE": Command(_bodiless(files.remfile), "administer"),
    "RETRIEVE": Command(_bodiless(files.retrieve), "read"),
    "STATUS": Command(_bodiless(state.status), None, online=False),
    "SUBSCRIBE": Command(_bodiless(subscribing.subscribe), "administer"),
    "UNSUBSCRIBE": Command(_bodiless(subscribing.unsubscribe), "administer"),
}
