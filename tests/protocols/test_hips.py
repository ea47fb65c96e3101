"""HipsLint over the list of HiPS that the demo serves, and what its last line is worth."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from hips import properties
from tests.hips.lint import hipslint
from tests.live import Live


def test_hipslint_finds_every_hips_of_the_list_compatible(live: Live) -> None:
    """HipsLint 12.001 on the demo's list, as seen: no ERROR; of `puppis-a`

        HiPS uraniborg.invalid/hips/puppis-a is fully IVOA HiPS 1.0 compatible

    of `wham-halpha`, whose maps carry no dates, two warnings and

        !!! HiPS uraniborg.invalid/hips/wham-halpha is IVOA HiPS 1.0 compatible but with warnings

    and last, on the list:

        *** [http://127.0.0.1:.../hips/hipslist] is not IVOA HiPS 1.0 compatible

    That last line is a fault of HipsLint, which its byte code shows: HipsLint.checkHipslistProp gives true if a value
    of the list differs from the HiPS's own properties (and then prints an ERROR), false if all agree; HipsLint.check
    sets the flag of the last line where it gives *false*. So a list without fault is always called "not compatible",
    and the next test shows the other half. What is held to here is all else that it prints.
    """
    told = hipslint(f"{live.url}/hips/hipslist")
    assert not told.errors, told.text
    assert all(re.search(r"recommended keyword missing \[t_m(in|ax)\]", line) for line in told.warnings), told.text
    listed = {record["creator_did"].removeprefix("ivo://") for record in records(live)}
    assert set(told.verdicts) == listed and len(listed) == 2
    assert all(re.match(r"(fully )?IVOA HiPS 1\.0 compatible", verdict) for verdict in told.verdicts.values())
    assert told.last.endswith("/hips/hipslist] is not IVOA HiPS 1.0 compatible")  # once it is not: see above, and mend


def test_hipslint_s_last_line_praises_a_list_only_if_it_is_wrong(live: Live) -> None:
    wrong = "\n".join(properties.document(record | {"obs_title": "Another"}) for record in records(live))
    with served_text(wrong) as url:
        told = hipslint(url)
    assert [line for line in told.errors if "obs_title" in line], told.text
    assert re.search(r"is (fully )?IVOA HiPS 1\.0 compatible", told.last), told.text


def records(live: Live) -> list[dict[str, str]]:
    return [properties.parsed(text) for text in httpx.get(f"{live.url}/hips/hipslist").text.split("\n\n")]


@contextmanager
def served_text(text: str) -> Iterator[str]:
    """The URL of a text, on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hipslist"
    finally:
        server.shutdown()
        server.server_close()
