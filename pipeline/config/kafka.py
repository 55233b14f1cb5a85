"""How to reach the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    SecretStr,
)

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
