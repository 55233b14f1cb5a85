"""How to reach the cluster."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
    field_validator,
)

from engines.strict_json import short
from pipeline.config.section import _Frozen

IN_PROCESS = "in-process"
"""Value of `kafka.bootstrap` that asks for the broker inside this process."""


class KafkaSettings(_Frozen):
    """How to reach the cluster. The same for every client."""

    bootstrap: str = "127.0.0.1:9092"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None
    check_hostname: bool = True
    max_message_bytes: int = Field(default=1_000_000, ge=10_000)
    """Largest message that the cluster takes; larger frames are refused at ingest and counted."""

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, value: str) -> str:
        """Hold it to a list of host:port; clients of Kafka take anything, and fail where they connect."""
        wrong = [part for part in value.split(",") if part.strip() and not _is_address(part.strip())]
        if value != IN_PROCESS and wrong:
            raise ValueError(f"{short(wrong[0].strip())} is no host:port; write one or more, such as 127.0.0.1:9092")
        return value


_ADDRESS = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.%A-Za-z]+\]):([0-9]{1,5})")


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    return found is not None and 1 <= int(found[1]) <= 65_535
