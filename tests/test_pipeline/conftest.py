"""A camera to read from, and a broker that a test may kill while it reads."""

import datetime
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from engines.testing import COLOURS
from pipeline.broker import connect, reading
from pipeline.broker.contract import Broker
from pipeline.broker.topics import apply_topics
from pipeline.config.kafka import KafkaSettings
from pipeline.config.settings import Settings
from pipeline.config.topics import TopicsSettings
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode
from pipeline.local.rtsp import Media, RtspServer, load_media
from pipeline.local.test_card import write_test_card
from pipeline.records.wire import Message


@pytest.fixture(scope="session")
def card_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of numbered pictures, 25 a second, a key picture each half second."""
    return write_test_card(tmp_path_factory.mktemp("camera") / "card.mp4", seconds=4, width=320, height=240, gop=12)


@pytest.fixture(scope="session")
def card(card_file: Path) -> Media:
    """The test card in memory."""
    return load_media(card_file)


@pytest.fixture
def server() -> Iterator[RtspServer]:
    """An RTSP server on a free port."""
    with RtspServer() as server:
        yield server


@pytest.fixture(scope="session")
def own_certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """What a server of 127.0.0.1 needs for TLS, with a certificate that it has signed itself, as cameras do."""
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "camera.pem"
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@dataclass(frozen=True)
class LongTopic:
    """A frames topic on a broker of its own: twenty megabytes, of which a reader fetches four at a time."""

    node: BrokerNode
    broker: Broker
    settings: Settings


@pytest.fixture
def long_topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[LongTopic]:
    """Records enough for several fetches; whoever reads them gives up after two seconds of silence."""
    monkeypatch.setattr(reading, "SILENCE_SECONDS", 2.0)
    with BrokerNode(overrides=TEST_OVERRIDES) as node:
        settings = Settings(
            kafka=KafkaSettings(bootstrap=node.bootstrap), topics=TopicsSettings(namespace="long", partitions=1)
        )
        broker = connect(settings.kafka)
        apply_topics(broker, settings)
        producer = broker.producer()
        for _ in range(100):
            producer.send(settings.topics.name("frames"), Message(b"door", bytes(200_000)))
        producer.close(30.0)
        yield LongTopic(node, broker, settings)
        broker.close()


@pytest.fixture(scope="session")
def film() -> Callable[[Path, Sequence[tuple[str, float]]], Path]:
    """Writes an H.264 file that shows one colour after the other, each for some seconds."""

    def write(path: Path, scenes: Sequence[tuple[str, float]]) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=12)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            for colour, seconds in scenes:
                picture = np.full((64, 64, 3), COLOURS[colour], np.uint8)
                for _ in range(round(seconds * 12)):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        return path

    return write
