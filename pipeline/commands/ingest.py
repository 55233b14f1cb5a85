"""`actionwire ingest`: cameras to the frames topic, until it is stopped."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack
from typing import Annotated

import typer

from engines.allocator import Option, configure
from pipeline.commands.options import Bootstrap, ConfigFile, settings_from
from pipeline.config.reading import source_file
from pipeline.config.settings import Settings


def ingest(
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Only this share of the cameras, such as 1/3, by hash of the id."),
    ] = None,
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
) -> None:
    """Read the cameras of the settings and publish their sampled frames.

    Cameras that are added, changed or removed in the settings file take effect while it runs. Ctrl-C ends it.

    On one machine every ingest needs its own port: ACTIONWIRE_HTTP__INGEST_PORT=9404 actionwire ingest --shard 1/2
    """
    share_one_heap()  # before the imports that start threads

    from pipeline import logs
    from pipeline.broker import connect
    from pipeline.config.settings_file import FileWatch
    from pipeline.health import HealthServer, checks
    from pipeline.ingest.service import Ingest, run_ingest
    from pipeline.ingest.shard import Shard
    from pipeline.metrics import IngestMetrics, new_registry

    def read() -> Settings:
        return settings_from(config, bootstrap)

    file = source_file(config)
    watch = None if file is None else FileWatch(file, read)
    settings = read() if watch is None else watch.current
    logs.configure(settings.log.format, settings.log.level)
    stop = stop_on_signals()
    running: list[Ingest] = []
    registry = new_registry()
    with ExitStack() as stack:
        broker = connect(settings.kafka)
        stack.callback(broker.close)
        if (port := settings.http.ingest_port) is not None:
            stack.enter_context(HealthServer(settings.http.host, port, registry, *checks(running), command="ingest"))
        run_ingest(
            settings,
            broker,
            stop=stop,
            shard=None if shard is None else Shard.parse(shard),
            metrics=IngestMetrics(registry, settings.http.per_camera_metrics),
            reload=watch,
            started=running.append,
        )


def share_one_heap() -> None:
    """Let all threads of this process share one heap, where its C library is glibc's. Call it before they start.

    By default each thread that allocates gets a heap of its own, up to eight per processor. A camera's thread takes its
    pictures from its heap; when the camera connects again, another thread takes other heaps, and what the first one
    freed stays in parts. So the process grew with every reconnect. Large blocks, such as pictures, are mapped by
    themselves and go back to the kernel; by default the limit above which that happens grows with what is freed.
    """
    configure({Option.ARENA_MAX: 1, Option.MMAP_THRESHOLD: 128 * 1024, Option.TRIM_THRESHOLD: 128 * 1024})


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and the first Ctrl-C set; a second signal ends the process at once."""
    stop = threading.Event()

    def request(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, request)
    signal.signal(signal.SIGINT, request)
    return stop
