"""The commands of the serving side. Each reads the settings, calls one function and reports how it ended.

    exit code  0 done
               1 failed
               2 a person must change something: a setting, an argument, a credential, a worker's bundle
               3 something outside is not there at the moment: try again
               4 another process has taken this one's place
             130 interrupted

A command is imported when it is called (`commands/lazy_group.py`), so that `--help` answers at once.
"""

from __future__ import annotations

import importlib.metadata
import io
import sys
from typing import Annotated

import typer

from engines.errors import EngineError
from pipeline.commands.lazy_group import LazyCommand, group_of
from pipeline.errors import ActionwireError, ConfigurationError, FencedError, TransientError, mask


def _in(module: str, help: str, attribute: str | None = None) -> LazyCommand:
    return LazyCommand(f"pipeline.commands.{module}", attribute or module, help)


COMMANDS = {
    "demo": _in("demo", "Play rendered cameras through the real processes and compare the events with the truth."),
    "up": _in("up", "Run everything on this machine: broker, topics, ingest and worker, until Ctrl-C."),
    "ingest": _in("ingest", "Read the cameras of the settings and publish their sampled frames."),
    "worker": _in("worker", "Turn frames into events."),
    "topics": _in("topics", "Create the topics on the cluster."),
    "settings": _in("settings", "Print every setting with its default, type, unit and meaning."),
    "watch": _in("watch", "Show events as they are committed."),
    "status": _in("status", "Show cameras, lag, labels, and the bundle of these settings."),
    "ready": _in("ready", "Ask ingest and worker of this machine whether they do their work."),
    "replay": _in("replay", "Run recorded video, or a stretch of the frames topic, through the worker's path."),
    "evaluate": _in("evaluate", "Compare events with the truth."),
    "events": _in("events", "Compare events of two models.", "app"),
    "camera": _in("camera", "Check a camera before adding it, or play a file as one.", "app"),
    "labels": _in("labels", "Which actions are watched for."),
    "enrol": _in("enrol", "Teach an action by showing it to a running system."),
    "broker": _in("broker", "A real single-node Apache Kafka on this machine, without Java or Docker."),
}
"""Every command: where it is, and its line in the list of commands. A test holds the lines against the commands."""

app = typer.Typer(
    name="actionwire",
    help="Live cameras and a list of plain-text actions in, a trustworthy stream of action events out.",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # the library that would colour the help takes longer to load than everything else
    context_settings={"help_option_names": ["-h", "--help"]},
)

EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (ConfigurationError, 2),
    (TransientError, 3),
    (FencedError, 4),
    (ActionwireError, 1),
    (EngineError, 1),
)


_PROGRAM = object()
"""The context's object where the command line is the whole process."""


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"actionwire {importlib.metadata.version('actionwire')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    if context.obj is _PROGRAM:  # whatever is logged before a command has read its settings is no output of it
        from pipeline import logs

        logs.configure()


def exit_code(error: BaseException) -> int:
    """The exit code of an error, by the table at the top of this module."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 1)


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows few characters must not end a command
            stream.reconfigure(errors="backslashreplace")
    try:
        app(obj=_PROGRAM)
    except (ActionwireError, EngineError) as error:
        typer.echo(f"error: {mask(str(error))}", err=True)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
