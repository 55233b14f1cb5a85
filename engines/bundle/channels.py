"""Channels: which version of a name its followers run, and which they ran before.

    STORE/NAME/current.json       the channel `stable`, what a bare NAME means
    STORE/NAME/CHANNEL.json       every other one, such as `candidate`: NAME:CHANNEL
    STORE/NAME/.lock              held while one of them changes

    {"version": current, "history": earlier ones, oldest first}

A pointer appears by an atomic rename, so a reader sees the one before or the one after. Whoever changes it holds the
lock
from reading it to the rename, so that of two publishers at once neither forgets what the other has written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.errors import BundleError
from engines.strict_json import parse_json

STABLE = "stable"
CANDIDATE = "candidate"

_FILES = {STABLE: "current.json"}
_NAME = re.compile("[a-z][a-z0-9-]{0,40}")
_LOCK = ".lock"
_LOCK_SECONDS = 60.0
_LOOK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Pointer:
    """Where a channel stands."""

    version: str
    history: tuple[str, ...] = ()
    """Earlier versions, oldest first; one that came back stands there again."""

    def to(self, version: str) -> Pointer:
        """Return the pointer after `version` was published."""
        return self if version == self.version else Pointer(version, (*self.history, self.version))

    def back(self, bad: str, good: str) -> Pointer:
        """Return the pointer as it was when it last stood on `good`; unchanged unless it stands on `bad` now."""
        if self.version != bad or good not in self.history:
            return self
        last = len(self.history) - 1 - self.history[::-1].index(good)
        return Pointer(good, self.history[:last])


def check_channel(channel: str) -> str:
    """Return the name of a channel. Raises BundleError where it can be none."""
    if not _NAME.fullmatch(channel) or channel in _FILES.values() or channel == "current":
        raise BundleError(
            f"{channel!r} is no name of a channel; use small letters, digits and hyphens, such as {CANDIDATE}"
        )
    return channel


def read(store: Path, name: str, channel: str = STABLE) -> Pointer | None:
    """Return where a channel stands; None where nothing was published to it, or its file cannot be read."""
    try:
        return parse_pointer(_file(store, name, channel).read_bytes())
    except OSError:
        return None


def parse_pointer(content: bytes) -> Pointer | None:
    """Return what a pointer's file says; None where it cannot be read."""
    try:
        data = parse_json(content)
        return Pointer(str(data["version"]), tuple(str(version) for version in data["history"]))
    except (ValueError, KeyError, TypeError):
        return None


def file_of(channel: str) -> str:
    """Return the name of a channel's file."""
    return _FILES.get(channel, f"{channel}.json")


def channel_of(file: str) -> str | None:
    """Return the channel of a file's name; None for any other file."""
    if file in _FILES.values():
        return next(channel for channel, name in _FILES.items() if name == file)
    stem = file.removesuffix(".json")
    return stem if stem != file and _NAME.fullmatch(stem) else None


def channels_of(store: Path, name: str) -> dict[str, Pointer]:
    """Return every channel of a name that can be read, `stable` first."""
    files = sorted(path.name for path in (store / name).glob("*.json"))
    names = sorted(filter(None, map(channel_of, files)), key=lambda channel: (channel != STABLE, channel))
    found = {channel: read(store, name, channel) for channel in names}
    return {channel: pointer for channel, pointer in found.items() if pointer}


def change(store: Path, name: str, channel: str, step: Callable[[Pointer | None], Pointer]) -> Pointer:
    """Move a channel by one step, alone: read, `step`, write. Return where it stands then.

    What `step` raises leaves everything as it was. Raises BundleError where the folder cannot be written, where the
    file that is there cannot be read, and where another process holds the lock for a minute.
    """
    with alone(store, name):
        before, path = read(store, name, channel), _file(store, name, channel)
        if before is None and path.exists():
            raise BundleError(
                f"{path} cannot be read, and with it the history; put it back, or remove it to begin anew"
            )
        after = step(before)
        if after != before:
            write(store, name, channel, after)
    return after


def write(store: Path, name: str, channel: str, pointer: Pointer) -> None:
    """Put a pointer into its place. The caller holds the lock. Raises BundleError."""
    path = _file(store, name, channel)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    content = json.dumps({"version": pointer.version, "history": pointer.history}, indent=2) + "\n"
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise BundleError(f"{path} cannot be written ({error.strerror}); check space and rights") from error


@contextmanager
def alone(store: Path, name: str) -> Iterator[None]:
    """Hold the lock of a name inside a `with` block. It is freed by the kernel where its holder dies."""
    path = store / name / _LOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise BundleError(f"{path} cannot be opened ({error.strerror}); check the rights of the store") from error
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise BundleError(
                        f"another process has held {path} for {_LOCK_SECONDS:g} s; let it end, and try again"
                    ) from None
            time.sleep(_LOOK_SECONDS)
        yield
    finally:
        os.close(handle)


def _file(store: Path, name: str, channel: str) -> Path:
    return store / name / file_of(channel)
