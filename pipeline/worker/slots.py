"""The name by which a worker is known in every life."""

from __future__ import annotations

import os
import secrets
import socket


def fresh_slot() -> str:
    """A name that no other worker has. Host and process alone are not enough: containers share the one and number the
    other alike.
    """
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
