"""Which cameras belong to this process. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

from pipeline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `index` of `count`: a hash of the camera's id splits the cameras over processes."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read `i/n`, counted from 0, for example 0/2 and 1/2. Raises ConfigurationError."""
        found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if not found or int(found[1]) >= int(found[2]):
            raise ConfigurationError(f"--shard {text!r} is not i/n with i below n; for two processes use 0/2 and 1/2")
        return cls(int(found[1]), int(found[2]))

    def owns(self, camera: str) -> bool:
        """True when this part publishes the camera. All processes agree, whatever cameras they know."""
        return int.from_bytes(blake2b(camera.encode(), digest_size=8).digest(), "big") % self.count == self.index
