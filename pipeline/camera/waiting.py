"""How long a connection may stay without a usable picture. Pure: times are monotonic seconds.

    opened |.. packets of the video, none of a key picture ..| key picture | pictures ...... | nothing
           0                                      up to `key_picture_seconds`                up to `stall_seconds`

Whoever joins a camera between two key pictures can decode nothing until the next one.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pipeline.camera.source_settings import SourceSettings

Verdict: TypeAlias = Literal["key picture", "no key picture", "unusable", "nothing"]


class Waiting:
    """One connection, opened at an instant."""

    def __init__(self, source: SourceSettings, opened: float) -> None:
        self.opened = opened
        self._stall = source.stall_seconds
        self._key = max(source.key_picture_seconds, source.stall_seconds)
        self._packets = 0
        self._packet_at = opened
        self._decoded_at: float | None = None
        self._keyed = False

    def decoded(self, key: bool, now: float) -> None:
        """Note a picture, usable or not."""
        self._decoded_at = now
        self._keyed = self._keyed or key

    def verdict(self, now: float, packets: int, picture_at: float) -> Verdict | None:
        """What the connection lacks; None while it is in order. It is given up unless it still waits for a key picture.

        packets: packets of the video so far. picture_at: when the last usable picture came, on any connection.
        """
        if packets > self._packets:
            self._packets, self._packet_at = packets, now
        since = max(picture_at, self.opened)
        if now - since < self._stall:
            return None
        if (
            picture_at <= self.opened
            and not self._keyed
            and self._packet_at > self.opened
            and now - self._packet_at < self._stall
        ):
            return "key picture" if now - self.opened < self._key else "no key picture"
        return "unusable" if self._decoded_at is not None and self._decoded_at > since else "nothing"

    def words(self, now: float) -> str:
        """What a person should know while, or after, no key picture came."""
        return no_key_picture(now - self.opened)


def no_key_picture(seconds: float) -> str:
    """That video came for so long without a key picture, and the remedy."""
    rounded = int(seconds // 5 * 5) if seconds >= 5 else round(seconds, 1)
    return f"video comes, but no key picture for {rounded:g} s; set one every 1 to 2 s on the camera"
