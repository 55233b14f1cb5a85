"""The ports and the `server.properties` of a single-node Apache Kafka in KRaft mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from pipeline.errors import ConfigurationError
from pipeline.local.ports import free_port, is_free

Protocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]

TEST_OVERRIDES: Mapping[str, str] = {
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.cleaner.backoff.ms": "1000",
}
"""A broker is usable 5 s after SIGKILL instead of 12, dead transactions end one second late instead of ten, and what is
gone from a compacted topic is erased at once instead of a quarter minute later."""


@dataclass(frozen=True, slots=True)
class NodeSecurity:
    """What the client listener requires. With users it offers both PLAIN and SCRAM-SHA-512.

    certificate and key: PEM files of the broker (the key unencrypted PKCS#8); ca: PEM file of the authority, which
    client certificates are checked against too. All three are needed for SSL and SASL_SSL.
    """

    protocol: Protocol
    users: Mapping[str, str] = field(default_factory=dict)
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    client_certificates: bool = False


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one node. The internal listener carries the broker's own traffic, without security."""

    client: int
    internal: int
    controller: int

    @classmethod
    def choose(cls, client: int | None = None) -> Ports:
        """Three free ports, the client's as given. Raises ConfigurationError when that one is taken."""
        if client is not None and not is_free(client):
            raise ConfigurationError(
                f"port {client} on 127.0.0.1 is taken; choose another with --port, or stop what uses it"
            )
        found = [] if client is None else [client]
        while len(found) < 3:
            if (port := free_port()) not in found:
                found.append(port)
        return cls(*found)


def server_properties(
    ports: Ports, data: Path, keystore: Path, security: NodeSecurity | None, overrides: Mapping[str, str]
) -> str:
    """The whole properties file; `overrides` win."""
    protocol = security.protocol if security else "PLAINTEXT"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        # A static voter: unlike a dynamic quorum it does not write the controller's port into the data directory,
        # so the same data can come up on other ports.
        "controller.quorum.voters": f"1@127.0.0.1:{ports.controller}",
        "listeners": ",".join(
            f"{name}://127.0.0.1:{port}"
            for name, port in (("CLIENT", ports.client), ("INTERNAL", ports.internal), ("CONTROLLER", ports.controller))
        ),
        "advertised.listeners": f"CLIENT://127.0.0.1:{ports.client},INTERNAL://127.0.0.1:{ports.internal}",
        "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENT:{protocol}",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        **(_security(security, keystore) if security else {}),
        **overrides,
    }
    return "".join(f"{name}={_escaped(value)}\n" for name, value in settings.items())


def _security(security: NodeSecurity, keystore: Path) -> dict[str, str]:
    settings: dict[str, str] = {}
    if "SASL" in security.protocol:
        plain = " ".join(f'user_{name}="{_quoted(password)}"' for name, password in security.users.items())
        package = "org.apache.kafka.common.security"
        settings |= {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.client.plain.sasl.jaas.config": f"{package}.plain.PlainLoginModule required {plain};",
            "listener.name.client.scram-sha-512.sasl.jaas.config": f"{package}.scram.ScramLoginModule required;",
        }
    if "SSL" in security.protocol:
        settings |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(security.ca),
            "ssl.client.auth": "required" if security.client_certificates else "none",
        }
    return settings


def _quoted(text: str) -> str:
    """For a JAAS option between double quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _escaped(text: str) -> str:
    """For a value in a Java properties file."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")
