"""Connections of kafka-python 3.0.12, with what `KafkaBroker` needs on top; every client is made here.

`kafka_client` is an option of the library's clients. Ours mends three defects in it: a transactional request that
starts while the coordinator refuses connections hangs for ever (`await_ready`), one whose connection breaks is sent
again (`send`), and a sender whose one request is in flight polls without pause (`connection_delay`). Its manager
remembers why a bootstrap was refused.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import errors
from kafka.future import Future
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    TxnOffsetCommitRequest,
)
from kafka.record import util

from pipeline.broker.kafka_python.translate import translated
from pipeline.broker.kafka_python.transport import PROXY_URL, open_transport
from pipeline.config.kafka import KafkaSettings
from pipeline.errors import ActionwireError, AuthenticationError, BrokerUnavailable, ConfigurationError
from pipeline.health import accepts_connections

BOOTSTRAP_SECONDS = 8.0
_BUSY_DELAY = 0.05
_REFUSALS = (
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.AuthorizationError,
)
_SENT_ONCE = (AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, TxnOffsetCommitRequest)
"""None of them names its transaction: one that is late counts in whatever transaction of its epoch is open by then."""

Client = TypeVar("Client")


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    """Remembers why a connection was refused, and ends a bootstrap that cannot succeed."""

    def __init__(self, net: Any, **configs: Any) -> None:
        super().__init__(net, **configs)
        self.config["proxy_url"] = PROXY_URL
        self.refusal: Exception | None = None

    def get_connection(self, node_id: Any, **options: Any) -> Any:
        if self.refusal is not None and not self.bootstrapped:
            raise self.refusal
        known = node_id in self._conns
        connection = super().get_connection(node_id, **options)
        if not known:
            connection.init_future.add_errback(self._note)
        return connection

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        return await open_transport(self._net, node, self.config, self.ssl_enabled, timeout_at)

    def _note(self, error: Exception) -> None:
        if isinstance(error, _REFUSALS) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            self.refusal = error


class NetClient(KafkaNetClient):  # type: ignore[misc]
    """The library's client, mended."""

    def __init__(self, **configs: Any) -> None:
        net = NetworkSelector(**configs)
        super().__init__(net=net, manager=_Manager(net, **configs))

    def await_ready(self, node_id: Any, timeout_ms: float = 30000) -> bool:
        """False instead of an error when the node cannot be reached; the sender then looks the coordinator up again."""
        try:
            return bool(super().await_ready(node_id, timeout_ms=timeout_ms))
        except errors.KafkaConnectionError:
            time.sleep(0.05)
            return False

    def send(self, node_id: Any, request: Any, **options: Any) -> Any:
        """The library's future of an answer; a request of a transaction is never sent again when its connection breaks.

        The broken connection may still deliver it. Until EndTxn v5 raises the epoch with every transaction (KIP-890),
        which the library cannot send, a second copy would end or move a later transaction. So it is in doubt, as one
        that timed out: the producer is beyond use, and initialising the next one settles the transaction.
        """
        answer = super().send(node_id, request, **options)
        return _doubted(answer) if isinstance(request, _SENT_ONCE) else answer

    def connection_delay(self, node_id: Any) -> float:
        """Seconds until this node may take a request; above 0 while it cannot, or the sender would never rest."""
        delay = float(super().connection_delay(node_id))
        return delay if delay > 0 or self.is_ready(node_id) else _BUSY_DELAY

    def learn_topic(self, topic: str, seconds: float) -> None:
        """Ask for the topic's partitions until they are known, at most for `seconds`.

        A member that joins before it knows its topic is given nothing, and may ask again only seconds later. Raises the
        KafkaError that was answered last; a time-out only where nothing was answered, for silence is not an answer.
        """
        cluster, deadline = self._manager.cluster, time.monotonic() + seconds
        cluster.add_topic(topic)
        last: errors.KafkaError = errors.KafkaTimeoutError(f"no answer in {seconds:g} s")
        while not cluster.partitions_for_topic(topic):
            left = deadline - time.monotonic()
            if left <= 0:
                raise last
            try:
                self._net.run(self._manager.wait_for, cluster.request_update(), left * 1000)
                last = errors.UnknownTopicOrPartitionError(topic)
            except errors.KafkaTimeoutError:
                pass  # our own wait is over; what was answered before still holds
            except errors.KafkaError as error:
                last = error
            time.sleep(0.02)

    def discard(self) -> None:
        """Release the sockets and the thread of a client that could not be made."""
        with contextlib.suppress(Exception):
            self.close()
        with contextlib.suppress(Exception):
            self._net.stop()


def _doubted(answer: Future) -> Future:
    """The same answer, but a lost connection becomes a time-out, after which the library gives up."""
    own = Future()

    def fail(error: Exception) -> None:
        lost = isinstance(error, errors.KafkaConnectionError)
        own.failure(errors.RequestTimedOutError(f"{error}; whether it was done is not known") if lost else error)

    answer.add_callback(own.success)
    answer.add_errback(fail)
    return own


def check_library() -> None:
    """Raise ConfigurationError without the C checksum; keep whole frames and noise out of the library's log."""
    if util.crc32c_c is None:
        raise ConfigurationError(
            "the package crc32c is missing, without which every message costs twenty times as much; "
            "run: pip install crc32c"
        )
    logger = logging.getLogger("kafka")
    if logger.level < logging.INFO:
        logger.setLevel(logging.WARNING)
    logging.getLogger("kafka.cluster").addFilter(_is_news)  # the same filter is added once


def _is_news(record: logging.LogRecord) -> bool:
    """False for what the library warns of when metadata are due while the only broker has a request to answer.

    A producer of ours has one request in flight at most. It asks again a moment later; that a broker is away is said
    elsewhere.
    """
    return not str(record.msg).startswith("No node available for metadata refresh")


def common_settings(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Options that all clients share. Raises ConfigurationError for settings that cannot be used together."""
    common: dict[str, Any] = {
        "bootstrap_servers": [part.strip() for part in settings.bootstrap.split(",") if part.strip()],
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
        "reconnect_backoff_ms": 50,
        "reconnect_backoff_max_ms": 1000,
        "bootstrap_timeout_ms": int(BOOTSTRAP_SECONDS * 1000),
        # A topic that is added while a metadata request is under way is not asked for before the next one is due.
        "metadata_max_age_ms": 5000,
    }
    if "SSL" in settings.security_protocol:
        common |= {
            "ssl_check_hostname": settings.check_hostname,
            "ssl_cafile": _file(settings.ca_file, "kafka.ca_file"),
            "ssl_certfile": _file(settings.certificate_file, "kafka.certificate_file"),
            "ssl_keyfile": _file(settings.key_file, "kafka.key_file"),
        }
    if "SASL" in settings.security_protocol:
        if settings.username is None or settings.password is None:
            raise ConfigurationError(
                f"kafka.security_protocol {settings.security_protocol} needs kafka.username and kafka.password"
            )
        common |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": settings.username,
            "sasl_plain_password": settings.password.get_secret_value(),
        }
    return common


def _file(path: Any, name: str) -> str | None:
    if path is not None and not path.is_file():
        raise ConfigurationError(f"{name}: there is no file {path}")
    return None if path is None else str(path)


def open_client(make: Callable[..., Client], settings: KafkaSettings, client_id: str, **options: Any) -> Client:
    """Make one of the library's clients. Raises BrokerUnavailable or AuthenticationError, naming the likely cause."""
    made: list[NetClient] = []

    def client(**configs: Any) -> NetClient:
        made.append(NetClient(**configs))
        return made[-1]

    merged = {**common_settings(settings, client_id), **options, "kafka_client": client}
    try:
        return make(**merged)
    except (errors.KafkaError, OSError) as error:
        refusal = made[0]._manager.refusal if made else None
        for one in made:
            one.discard()
        raise likely_cause(refusal or error, settings) from error


def addresses(settings: KafkaSettings) -> list[tuple[str, int]]:
    """(host, port) of every bootstrap broker."""
    parts = (part.strip().rpartition(":") for part in settings.bootstrap.split(","))
    return [(host.strip("[]"), int(port)) for host, _, port in parts if port.isdigit()]


def likely_cause(error: Exception, settings: KafkaSettings) -> ActionwireError:
    """The error for a cluster that cannot be used: why, and what to do."""
    where = f"Kafka at {settings.bootstrap}"
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return AuthenticationError(
            f"{where}: its certificate is not trusted; set kafka.ca_file to the authority that signed it "
            "(or kafka.check_hostname to false where only the name differs)"
        )
    if isinstance(error, errors.UnsupportedSaslMechanismError):
        return AuthenticationError(
            f"{where} does not offer {settings.sasl_mechanism}; set kafka.sasl_mechanism to one that it does"
        )
    if isinstance(error, _REFUSALS):
        return AuthenticationError(
            f"{where} refused the credentials: probably a wrong kafka.username or kafka.password, "
            f"or a user without {settings.sasl_mechanism} credentials"
        )
    if not isinstance(error, errors.KafkaTimeoutError) and isinstance(error, errors.KafkaError):
        return translated(error, where)
    if not any(accepts_connections(address) for address in addresses(settings)):
        return BrokerUnavailable(
            f"{where}: nothing accepts connections there; start it, for example with `actionwire broker start`, "
            "or correct kafka.bootstrap"
        )
    return BrokerUnavailable(
        f"{where} accepts connections but does not answer {settings.security_protocol}: probably it asks for another "
        "kafka.security_protocol or a client certificate, or it hangs"
    )
