"""Logs: lines of key and value on standard error, for people on a terminal, as JSON for machines elsewhere.

structlog where the server is installed; the base install's commands log by the standard library alone.
"""

import logging
import sys
from typing import Any

ALWAYS = ("uraniborg.access", "archive.jobs.service", "archive.jobs.runner")


def configure_logging(level: int) -> None:
    """level: of all but requests and jobs, which are always told. Python's own warnings become lines like others."""
    handler = logging.StreamHandler(sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for always in ALWAYS:
        logging.getLogger(always).setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        import structlog
    except ModuleNotFoundError:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        return
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if sys.stderr.isatty():
        last = [structlog.dev.ConsoleRenderer()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(formatter(foreign_pre_chain=shared, processors=[formatter.remove_processors_meta, *last]))
