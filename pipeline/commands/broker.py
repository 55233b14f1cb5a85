"""`actionwire broker start | stop | status`: a real Kafka broker on this machine."""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from engines.folders import state_directory
from pipeline.errors import ConfigurationError
from pipeline.local.broker_node import TEST_OVERRIDES, BrokerNode, running_on, stop_folder

broker = typer.Typer(
    help="A real single-node Apache Kafka on this machine, without Java or Docker.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder of the broker. Default: `broker` in this user's state folder.")
]


@broker.command()
def start(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for clients on 127.0.0.1; 0 picks a free one.")
    ] = 9092,
    data: Data = None,
    detach: Annotated[bool, typer.Option("--detach/--foreground", help="Return at once, or stay until Ctrl-C.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="Shorter session limits, for tests: usable 5 s after a crash, not 12.")
    ] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any broker setting, repeatable.")
    ] = None,
) -> None:
    """Start a broker; a first start downloads 45 MB into this user's cache."""
    home = _home(data)
    overrides = {**(TEST_OVERRIDES if quick else {}), **dict(_pair(text) for text in setting or ())}
    node = BrokerNode(home, port=port or None, overrides=overrides)
    node.start(detached=detach)
    typer.echo(f"Apache Kafka listens on {node.bootstrap}; data and log in {home}")
    if detach:
        typer.echo("Stop it with: actionwire broker stop" + (f" --data {home}" if data else ""))
        return
    _until_stopped(node)


@broker.command()
def stop(data: Data = None) -> None:
    """Stop the broker that runs on this folder."""
    home = _home(data)
    found = stop_folder(home)
    typer.echo(f"Stopped process {found.pid}" if found else f"No broker runs on {home}")


@broker.command()
def status(
    data: Data = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
) -> None:
    """Show whether a broker runs on this folder, and where; the exit code is 3 when none does."""
    home = _home(data)
    found = running_on(home)
    answers = found is not None and found.answers()
    if as_json:
        details = {**asdict(found), "bootstrap": found.bootstrap} if found else {}
        typer.echo(json.dumps({"running": found is not None, "answers": answers, "home": str(home), **details}))
    elif found is None:
        typer.echo(f"No broker runs on {home}")
    else:
        state = "answers" if answers else "does not answer"
        hours = (time.time() - found.started) / 3600
        typer.echo(f"Apache Kafka {found.version}, process {found.pid}, {state} on {found.bootstrap}, up {hours:.1f} h")
        typer.echo(f"Log: {found.log}")
    if found is None:
        raise typer.Exit(3)


def _home(data: Path | None) -> Path:
    return (data or state_directory() / "broker").resolve()


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ConfigurationError(f"--set {text}: write NAME=VALUE, for example --set log.retention.hours=1")
    return name.strip(), value.strip()


def _until_stopped(node: BrokerNode) -> None:
    """Wait for a signal, or until the broker ends by itself, then stop it."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while node.running and not ended.wait(0.5):
        pass
    died = not ended.is_set()
    node.close()
    if died:
        raise ConfigurationError(f"the broker ended by itself; see {node.log_file}")
