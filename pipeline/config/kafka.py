"""How to reach the cluster."""

from __future__ import annotations

import re
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from engines.strict_json import short
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

    @field_validator("bootstrap")
    @classmethod
    def _addresses(cls, value: str) -> str:
        """Hold it to a list of host:port; clients of Kafka take anything, and fail where they connect."""
        if value == IN_PROCESS:
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        wrong = next((part for part in parts if not _is_address(part)), None)
        if wrong is not None and "@" in wrong:  # not shown: it may hold a password
            raise ValueError(f"an address holds no login; write it as {_EXAMPLE}, and set username and password")
        if wrong is not None or not parts:
            found = "it names no broker" if wrong is None else f"{short(wrong)} is no host:port"
            raise ValueError(f"{found}; write one or more, such as {_EXAMPLE}")
        return value


_EXAMPLE = "127.0.0.1:9092"
_ADDRESS = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>[0-9]{1,5})")
_PART = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
"""One part of a host name. The underscore is in no domain name, but in names of containers."""


def _is_address(text: str) -> bool:
    found = _ADDRESS.fullmatch(text)
    if found is None or not 1 <= int(found["port"]) <= 65_535:
        return False
    if found["host"].startswith("["):
        return _is_ipv6(found["host"][1:-1])
    return all(_PART.fullmatch(part) for part in found["host"].removesuffix(".").split("."))


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
