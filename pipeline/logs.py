"""Structured logs on stderr: one line per event of the process, as JSON for machines or in colour for people.

    log = structlog.get_logger()
    log.info("camera online", camera="yard", fps=12.5)
    with structlog.contextvars.bound_contextvars(partition=3, offset=1200): ...

What other libraries log through `logging` goes the same way, from level `warning` up. As a last line of defence,
credentials are hidden in every line, tracebacks included; no caller should log them in the first place. A line that
cannot be written is dropped, and the caller goes on.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Literal, TextIO, cast

from pipeline.errors import mask

# structlog loads rich for tracebacks in colour, if it finds it. Ours are text, and rich takes longer to load than all
# the rest of a small command.
_RICH = sys.modules.get("rich")
sys.modules["rich"] = None  # type: ignore[assignment]
try:
    import structlog
    from structlog.typing import EventDict, Processor, WrappedLogger
finally:
    if _RICH is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _RICH

_SECRET_KEYS = ("password", "passwd", "secret", "token", "credential", "sasl_plain")
HIDDEN = "***"


class _Forgiving:
    """A stream whose errors reach nobody: a full disk, or a pipe whose reader is gone, costs only the line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # ValueError: it is closed, or cannot encode a character
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure(
    format: Literal["console", "json"] = "console",
    level: Literal["debug", "info", "warning", "error"] = "info",
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process, once at the start of a command. A later call replaces the set-up."""
    output = stream or sys.stderr
    forgiving = cast(TextIO, _Forgiving(output))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide_secrets,
    ]
    rendering: list[Processor] = (
        [
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
        if format == "json"
        else [structlog.dev.ConsoleRenderer(colors=output.isatty())]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=forgiving),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(forgiving)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, hide_secrets, *rendering],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def hide_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Structlog processor: hide values whose keys name secrets, and credentials inside URLs, at any depth."""
    return {key: _hidden(key, value) for key, value in event.items()}


def _hidden(key: str, value: Any) -> Any:
    if any(word in key.lower() for word in _SECRET_KEYS):
        return HIDDEN
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, bytes):
        return mask(value.decode(errors="replace"))
    if isinstance(value, Mapping | MutableMapping):
        return {str(name): _hidden(str(name), part) for name, part in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_hidden("", part) for part in value]
    if value is None or isinstance(value, int | float | bool):
        return value
    return mask(str(value))
