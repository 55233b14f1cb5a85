"""Whether worker and ingest of this machine do their work: their /ready, and figures of their /metrics."""

from __future__ import annotations

import urllib.error
import urllib.request

from pipeline.one_machine.processes import fetch, series

_SECONDS = 3.0
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def address(host: str, port: int) -> str:
    """Where a server is reached that listens on `host`: http://HOST:PORT."""
    named = _EVERYWHERE.get(host, host)
    return f"http://[{named}]:{port}" if ":" in named else f"http://{named}:{port}"


def not_ready(host: str, port: int | None, name: str) -> str | None:
    """None when the process at this port is ready, else what is missing.

    name: `worker` or `ingest`, for the message. A process without a port of its own cannot be asked, which is a reason.
    """
    if not port:
        return f"http.{name}_port is {'null' if port is None else port}, so nobody can ask; give it a port"
    url = f"{address(host, port)}/ready"
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return error.read(2000).decode(errors="replace").strip() or "it does not say why"
        return f"{url} answers {error.code}: another program has this port; set http.{name}_port"
    except (OSError, ValueError):
        return f"nothing answers at {url}; is it running?"


def figures(host: str, port: int | None, names: tuple[str, ...]) -> dict[str, float]:
    """The values of these series of the process at this port; empty where it does not answer."""
    page = fetch(f"{address(host, port)}/metrics") if port else None
    return {name: value for name in names if page and (value := series(page, name)) is not None}
