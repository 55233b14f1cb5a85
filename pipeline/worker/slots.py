"""The name by which a worker is known in every life."""

from __future__ import annotations

import os
import secrets
import socket

from pipeline.config import Settings


def slot_of(settings: Settings, given: str | None) -> str:
    """The name that was given, else that of the settings, else a fresh one."""
    return given or settings.worker.slot or fresh_slot()


def fresh_slot() -> str:
    """A name that no other worker has. Host and process alone are not enough: containers share the one and number the
    other alike.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
