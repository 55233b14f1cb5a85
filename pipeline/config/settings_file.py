"""Settings that change while a process runs: ingest and worker check the file once a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import structlog

from pipeline.config.settings import Settings
from pipeline.errors import ConfigurationError

log = structlog.get_logger(__name__)


class FileWatch:
    """A call returns the new settings when the file and its settings have changed, else None.

    A change counts once two calls in a row have seen it. A file that is being written is empty for a moment, which
    would take every camera away.

    read: reads the settings anew, command-line options included. A file that cannot be used is logged once, and the
    settings stay as they are. At the start, an error of `read` is raised.
    """

    def __init__(self, path: Path, read: Callable[[], Settings]) -> None:
        self._path = path
        self._read = read
        self._seen = self._noticed = self._signature()
        self.current = read()  # after the signature, so that an edit between the two is noticed
        """The settings in force."""

    def __call__(self) -> Settings | None:
        """See the class."""
        signature = self._signature()
        if signature == self._seen or signature is None:
            return None  # a missing file is being replaced; it counts once it is back
        if signature != self._noticed:
            self._noticed = signature
            return None
        self._seen = signature
        try:
            settings = self._read()
        except ConfigurationError as error:
            log.error("settings not taken over, the old ones stay", reason=str(error))
            return None
        if settings == self.current and settings.names_labels == self.current.names_labels:
            return None  # without `labels` and with an empty list are equal to the eye only
        self.current = settings
        return settings

    def _signature(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
