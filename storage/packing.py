"""JSON without a needless byte, for labels and answers."""

import json
from typing import Any

# Made once: json.dumps makes another for each document.
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def packed(document: Any) -> bytes:
    """A document as JSON in UTF-8, compact. TypeError for what JSON has no words for."""
    return _ENCODER.encode(document).encode()
