"""CDS's name resolver, or a mirror of it: asked only where a setting names it, for people may not want to tell it."""

import logging
import re
from collections import OrderedDict
from http.client import HTTPException
from threading import Lock
from urllib.parse import quote
from urllib.request import Request, urlopen

from archive.portal.search import Place

log = logging.getLogger(__name__)
_PLACE = re.compile(r"^%J\s+([+-]?[\d.]+)\s+([+-]?[\d.]+)", re.MULTILINE)
_MOST_BYTES = 100_000
_REMEMBERED = 1_000


class Sesame:
    """Asks Sesame's plain-text form (`-oI`), and remembers what it said."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        """url: up to the name, such as https://HOST/cgi-bin/nph-sesame/-oI/SNV; http or https, which settings check."""
        self._url = url.rstrip("/?")
        self._timeout_s = timeout_s
        self._guard = Lock()
        self._known: OrderedDict[str, list[Place]] = OrderedDict()

    def places(self, name: str) -> list[Place]:
        """What it says the name stands for: one place, or none; none too where it does not answer."""
        with self._guard:
            if name in self._known:
                return self._known[name]
        request = Request(f"{self._url}?{quote(name)}", headers={"User-Agent": "Uraniborg"})
        try:
            with urlopen(request, timeout=self._timeout_s) as answer:
                text = answer.read(_MOST_BYTES).decode("utf-8", "replace")
        except (HTTPException, OSError, ValueError) as problem:
            log.warning("the name resolver does not answer: %s", problem)
            return []
        match = _PLACE.search(text)
        found = [Place(name, float(match[1]), float(match[2]), "Sesame")] if match else []
        with self._guard:
            self._known[name] = found
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return found
