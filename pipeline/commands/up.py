"""`actionwire up`: everything on this machine, by one command."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline import logs as logging
from pipeline.commands.options import Bootstrap, ConfigFile, settings_from

if TYPE_CHECKING:
    from pipeline.config.settings import Settings


def up(
    config: ConfigFile = None,
    bootstrap: Bootstrap = None,
    broker_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the local broker, where none is named.")
    ] = 9092,
    logs: Annotated[
        Path | None, typer.Option("--logs", metavar="DIR", help="Folder for the logs. Default: in this user's state.")
    ] = None,
) -> None:
    """Run everything on this machine: broker, topics, ingest and worker, until Ctrl-C.

    It uses the broker that the settings name; without one, that on this machine; and starts one there if none
    answers. A table shows cameras, lag, labels and events; without a terminal there is a line for each event and each
    camera that comes or goes. Edits of the settings file take effect while it runs.

    Ctrl-C or SIGTERM ends what it has started: ingest first, the broker last. What the broker holds stays.
    """
    from rich.console import Console

    from engines.folders import state_directory
    from pipeline.config.reading import source_file
    from pipeline.errors import ConfigurationError
    from pipeline.one_machine.processes import rotated
    from pipeline.one_machine.run import running
    from pipeline.one_machine.show import show
    from pipeline.one_machine.signals import orderly_exit

    if source_file(config) is None and not settings_from(config).cameras:
        raise ConfigurationError("there is no settings file; write ./actionwire.yaml, or name one with --config")
    folder = (logs or state_directory() / "logs").absolute()
    console = Console(markup=False, highlight=False)

    def say(text: str) -> None:
        console.print(text, style="dim", soft_wrap=True)

    def read(broker: str | None) -> Settings:
        return settings_from(config, broker)

    with orderly_exit():
        try:
            with ExitStack() as stack, running(config, bootstrap, read, folder, say, port=broker_port) as machine:
                say(f"logs in {folder}")
                if console.is_terminal:  # a line of our own would tear the table
                    own = stack.enter_context(rotated(folder / "up.log").open("a"))
                    logging.configure(machine.settings.log.format, machine.settings.log.level, own)
                show(machine, console)
        except (KeyboardInterrupt, SystemExit):  # the way in which it is meant to end
            say("stopped")
