"""Logs: lines of key and value on standard error, for people on a terminal, as JSON for machines elsewhere.

structlog where the server is installed; the base install's commands log by the standard library alone.
"""

import logging
import sys
from typing import Any


def configure_logging(level: int) -> None:
    """level: of everything but the access log, which always tells."""
    handler = logging.StreamHandler(sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.getLogger("uraniborg.access").setLevel(logging.INFO)
    try:
        import structlog
    except ModuleNotFoundError:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        return
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: Any = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            *shared,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=last))
