"""The state file in a broker's folder: the process that runs it, for `stop` and `status` from another process."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.health import accepts_connections


@dataclass(frozen=True, slots=True)
class NodeState:
    """One started broker. `started` is seconds since 1970."""

    pid: int
    version: str
    port: int
    security: str
    log: str
    started: float

    @property
    def bootstrap(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self.port}"

    def answers(self) -> bool:
        """True when the broker accepts connections."""
        return accepts_connections(("127.0.0.1", self.port))


def write(home: Path, state: NodeState) -> None:
    """Write the state of the running process, atomically."""
    partial = home / "node.json.partial"
    partial.write_text(json.dumps(asdict(state), indent=1) + "\n")
    partial.replace(home / "node.json")


def forget(home: Path) -> None:
    """Remove the state: the process has ended."""
    (home / "node.json").unlink(missing_ok=True)


def read(home: Path) -> NodeState | None:
    """The broker that runs on this folder; None when there is none. A process id that was reused does not count."""
    try:
        state = NodeState(**json.loads((home / "node.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return state if is_running(state.pid, home) else None


def is_running(pid: int, home: Path) -> bool:
    """True when this process is a live broker of this folder."""
    status, arguments = Path(f"/proc/{pid}/stat"), Path(f"/proc/{pid}/cmdline")
    if not Path("/proc/self").exists():
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    try:
        zombie = status.read_text().rpartition(")")[2].split()[0] == "Z"
        return not zombie and str(home / "server.properties").encode() in arguments.read_bytes()
    except OSError:
        return False
