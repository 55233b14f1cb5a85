"""How to reach the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from pipeline.config.section import Section, Unit

IN_PROCESS = "in-process"
"""Value of `kafka.bootstrap` that asks for the broker inside this process."""


class KafkaSettings(Section):
    """How every client reaches the cluster."""

    bootstrap: str = "127.0.0.1:9092"
    """Brokers to connect to first, as HOST:PORT; separate several by commas."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Whether connections are encrypted (SSL) and log in (SASL)."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How to log in, where the protocol has SASL."""
    username: str | None = None
    """User name for SASL."""
    password: SecretStr | None = None
    """Password for SASL; best set in the environment, as ACTIONWIRE_KAFKA__PASSWORD."""
    ca_file: Path | None = None
    """PEM file of the authorities that may sign the brokers' certificates; null trusts those of the system."""
    certificate_file: Path | None = None
    """PEM file of this client's certificate, where the brokers ask for one."""
    key_file: Path | None = None
    """PEM file of the private key that belongs to `certificate_file`."""
    check_hostname: bool = True
    """Refuse a broker whose certificate names another host."""
    max_message_bytes: Annotated[int, Unit("bytes")] = Field(default=1_000_000, ge=10_000)
    """Largest message that the cluster takes; ingest refuses and counts larger frames."""
