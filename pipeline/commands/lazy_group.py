"""A group that knows the names and the one-line helps of its commands, and loads the module of one when it is called.

A command pulls in its broker client, its settings and its networks; a list of commands needs none of that.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import typer
import typer.core
import typer.main


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and what it does in one line: the first sentences of its docstring, as its help has them."""

    module: str
    attribute: str
    """A function, or a `typer.Typer` for a command with sub-commands."""
    help: str


def load(name: str, command: LazyCommand) -> Any:
    """Import a command: a click command that can be run."""
    importlib.import_module("pipeline.logs")  # before anybody else imports structlog: it knows how to do so quickly
    found = getattr(importlib.import_module(command.module), command.attribute)
    if isinstance(found, typer.Typer):
        loaded: Any = typer.main.get_group(found)
    else:
        single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        single.command()(found)
        loaded = typer.main.get_command(single)
    loaded.name = name
    return loaded


class _Loading(Mapping[str, Any]):
    """The commands by name; each is imported when it is looked up."""

    def __init__(self, table: Mapping[str, LazyCommand]) -> None:
        self._table = table
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._loaded:
            self._loaded[name] = load(name, self._table[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def group_of(table: Mapping[str, LazyCommand], default: str | None = None) -> type[typer.core.TyperGroup]:
    """The class of a group with these commands, for `typer.Typer(cls=...)`.

    default: the command that is meant where none is named.
    """

    class LazyGroup(typer.core.TyperGroup):
        """Shows its commands without importing them."""

        unnamed = default
        """The command that is meant where none is named."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.commands: Any = _Loading(table)

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if self.unnamed and args and args[0] not in table and args[0] not in ctx.help_option_names:
                args = [self.unnamed, *args]
            return super().parse_args(ctx, args)

        def list_commands(self, ctx: Any) -> list[str]:
            return list(table)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            """What stands for the command in a list; `resolve_command` imports the one that is to run."""
            if cmd_name not in table:
                return None
            return typer.core.TyperCommand(cmd_name, help=table[cmd_name].help, rich_markup_mode=None)

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, command, rest = super().resolve_command(ctx, args)
            return name, command and self.commands[command.name], rest

    return LazyGroup
