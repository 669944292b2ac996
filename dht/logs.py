"""Logging for the shells of both wings: structured events, through the standard library.

A library must not write to anybody's terminal. So events go to `logging` under the module's name,
with their fields as extra attributes; a program that configures nothing sees warnings on stderr, as
from any library, and the commands attach a handler that renders the fields. Pure modules do not
log: they return events and counts.
"""

import logging

import structlog
from structlog.stdlib import BoundLogger


def get_logger(name: str) -> BoundLogger:
    """Return a structured logger whose events arrive at the standard logger of the same name."""
    logger: BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=BoundLogger,
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
    )
    return logger
