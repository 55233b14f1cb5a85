"""TLS and SASL, on brokers that really ask for them, and what is said when something does not fit."""

import contextlib
import datetime
import ipaddress
import select
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pipeline.broker import connect
from pipeline.broker.contract import Position, TopicSettings
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import AuthenticationError, BrokerUnavailable, ConfigurationError
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode, NodeSecurity
from pipeline.local.ports import free_port
from pipeline.records.wire import Message, Partition

pytestmark = pytest.mark.kafka

PASSWORD = 'p@ss "word\\1'
"""With the characters that are special in a JAAS string and in a properties file."""


@dataclass(frozen=True)
class Secured:
    """A broker with its authority, and one that nobody trusts."""

    node: BrokerNode
    ca: Path
    stranger: Path

    def settings(self, **changes: Any) -> KafkaSettings:
        """Settings that work, with changes."""
        working: dict[str, Any] = {
            "bootstrap": self.node.bootstrap,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "username": "camera",
            "password": PASSWORD,
            "ca_file": self.ca,
        }
        return KafkaSettings(**(working | changes))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker whose clients need TLS and a password."""
    folder = tmp_path_factory.mktemp("tls")
    ca, certificate, key = _certificates(folder, "authority")
    stranger, _, _ = _certificates(folder, "stranger")
    security = NodeSecurity("SASL_SSL", {"camera": PASSWORD}, certificate, key, ca)
    with BrokerNode(security=security, overrides=TEST_OVERRIDES) as node:
        made = Secured(node, ca, stranger)
        connect(made.settings()).check(30)  # what a first handshake costs is no part of any limit below
        yield made


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_every_client_reaches_a_secured_broker(secured: Secured, name: str, mechanism: str) -> None:
    """Admin, producer, reader, group member and transactions all use TLS, user and password."""
    with contextlib.closing(connect(secured.settings(sasl_mechanism=mechanism))) as broker:
        broker.check(10)
        broker.ensure_topics([TopicSettings(name, 1)], 30)
        producer = broker.producer()
        producer.send(name, Message(b"k", b"v"))
        producer.flush(20)
        member = broker.group_consumer(name, name)
        polled = member.poll(0.1, 1)
        deadline = time.monotonic() + 20
        while not polled.assigned:
            assert time.monotonic() < deadline
            polled = member.poll(0.1, 1)
        assert polled.token is not None
        transactions = broker.transactions(name, 10)
        transactions.begin()
        transactions.commit_positions({Partition(name, 0): Position(1)}, name, polled.token)
        transactions.commit()
        reader = broker.reader([Partition(name, 0)])
        records = reader.read(10)

        assert [record.value for record in records] == [b"v"]
        assert broker.lag(name, name, 10) == {Partition(name, 0): 0}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
@pytest.mark.parametrize("wrong", [{"password": "secret-guess"}, {"username": "nobody"}], ids=["password", "user"])
def test_wrong_credentials_are_named_within_ten_seconds(
    secured: Secured, mechanism: str, wrong: dict[str, str]
) -> None:
    """A wrong password or user is said to be the likely cause, by every way of connecting, without showing either."""
    broker = connect(secured.settings(sasl_mechanism=mechanism, **wrong))
    for attempt in (lambda: broker.check(10), broker.producer):
        began = time.monotonic()
        with pytest.raises(AuthenticationError) as caught:
            attempt()
        assert time.monotonic() - began < 10  # the promise that is tested, not a measurement
        assert "kafka.username or kafka.password" in str(caught.value)
        assert "secret-guess" not in str(caught.value)
    broker.close()


def test_a_mechanism_that_is_not_offered_is_named(secured: Secured) -> None:
    """Where the broker offers another mechanism, the setting to change is named."""
    with pytest.raises(AuthenticationError, match=r"does not offer SCRAM-SHA-256.*kafka\.sasl_mechanism"):
        connect(secured.settings(sasl_mechanism="SCRAM-SHA-256")).check(10)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"password": "secret-guess"}, r"kafka\.username or kafka\.password"),
        ({"password": "secret-guess", "sasl_mechanism": "PLAIN"}, r"kafka\.username or kafka\.password"),
        ({"sasl_mechanism": "SCRAM-SHA-256"}, r"does not offer SCRAM-SHA-256"),
    ],
    ids=["SCRAM-SHA-512", "PLAIN", "mechanism"],
)
def test_a_refusal_is_seen_however_late_it_is_read(secured: Secured, changes: dict[str, str], named: str) -> None:
    """A broker answers and hangs up at once; a client that reads both together still learns why, at its first attempt.

    broker  answer | end
    client               reads both
    """
    with _answers_with_their_end(int(secured.node.bootstrap.rpartition(":")[2])) as (port, joined):
        with pytest.raises(AuthenticationError, match=named):
            connect(secured.settings(bootstrap=f"127.0.0.1:{port}", **changes)).check(10)
        assert len(joined) <= 1


def test_a_handshake_that_is_not_answered_ends() -> None:
    """A port that accepts connections and never speaks TLS, as a broker that hangs, holds nobody up for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = KafkaSettings(bootstrap=f"127.0.0.1:{silent.getsockname()[1]}", security_protocol="SSL")
        with pytest.raises(BrokerUnavailable, match=r"accepts connections but does not answer SSL"):
            connect(settings).check(0.5)


def test_an_untrusted_certificate_is_named(secured: Secured) -> None:
    """With another authority the connection fails, and the setting for the right one is named."""
    with pytest.raises(AuthenticationError, match=r"certificate is not trusted.*kafka\.ca_file"):
        connect(secured.settings(ca_file=secured.stranger)).check(10)


def test_a_broker_that_asks_for_more_is_named(secured: Secured) -> None:
    """Plain text to a TLS port: it accepts connections but does not answer, and the protocol is the likely cause."""
    with pytest.raises(BrokerUnavailable, match=r"does not answer PLAINTEXT.*kafka\.security_protocol"):
        connect(KafkaSettings(bootstrap=secured.node.bootstrap)).check(0.5)


def test_nothing_listens() -> None:
    """Where nothing listens, that is said, with the command that starts a broker."""
    with pytest.raises(BrokerUnavailable, match=r"nothing accepts connections.*actionwire broker start"):
        connect(KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}")).check(0.3)


def test_failed_clients_leave_nothing_behind() -> None:
    """An attempt that fails closes its sockets and ends its threads, however often it is repeated."""
    broker = connect(KafkaSettings(bootstrap=f"127.0.0.1:{free_port()}"))
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(BrokerUnavailable):
            broker.check(0.3)
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline, [thread.name for thread in threading.enumerate()]
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"password": None}, r"kafka\.username and kafka\.password"),
        ({"ca_file": Path("/nowhere/ca.pem")}, r"kafka\.ca_file: there is no file"),
    ],
    ids=["password", "file"],
)
def test_settings_that_cannot_work_are_refused_at_once(changes: dict[str, Any], named: str) -> None:
    """What is missing or does not exist is named before anything is connected."""
    complete = {"bootstrap": "127.0.0.1:1", "security_protocol": "SASL_SSL", "username": "u", "password": "p"}
    with pytest.raises(ConfigurationError, match=named):
        connect(KafkaSettings(**(complete | changes)))


@contextlib.contextmanager
def _answers_with_their_end(port: int) -> Iterator[tuple[int, list[bytes]]]:
    """A relay to a broker that sends the last bytes of a connection in one segment with its end.

    Gives its port, and the last bytes of each connection that the broker ended.
    """
    joined: list[bytes] = []

    def relay(client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", port)) as broker, contextlib.suppress(OSError):
            threading.Thread(target=upwards, args=(client, broker), daemon=True).start()
            while received := broker.recv(1 << 16):
                if select.select([broker], [], [], 0.1)[0] and not broker.recv(1, socket.MSG_PEEK):
                    joined.append(received)
                    client.send(received, socket.MSG_MORE)  # held back for the end
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(received)

    def upwards(client: socket.socket, broker: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while received := client.recv(1 << 16):
                broker.sendall(received)
            broker.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=relay, args=(server.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], joined
        server.shutdown(socket.SHUT_RDWR)


def _certificates(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """(authority, certificate, key) as PEM files, for 127.0.0.1 and localhost."""
    now = datetime.datetime.now(datetime.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin, end = now - datetime.timedelta(hours=1), now + datetime.timedelta(days=1)

    def builder(subject: x509.Name, public: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    ca = (
        builder(issuer, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .add_extension(_usage(sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")]), key.public_key())
        .add_extension(names, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    files = folder / f"{name}-ca.pem", folder / f"{name}.pem", folder / f"{name}-key.pem"
    files[0].write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[2].write_bytes(key.private_bytes(*encoding))
    return files


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )
