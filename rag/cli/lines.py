"""Where the lines of a conversation come from: an editor on a terminal, else standard input."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import typer

from rag.cli.output import note

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

INTERRUPTED = 130
_HALVES = re.compile("[\ud800-\udfff]")


class Lines:
    """Lines that a person types, or that a pipe brings. ``interactive``: there is somebody to ask again."""

    interactive: bool

    def read(self) -> str | None:
        """The next line, stripped; None at the end of input or Ctrl-D. Bytes that are no text are shown as �.

        Where somebody is there to ask again, Ctrl-C drops what was typed; with nothing typed it is explained, and the
        second time it ends the command with 130.
        """
        warned = False
        while True:
            try:
                typer.echo()
                return _HALVES.sub("\N{REPLACEMENT CHARACTER}", self._ask()).strip()
            except EOFError:
                return None
            except KeyboardInterrupt:
                if not self.interactive:
                    raise
                if not self._half_typed():
                    if warned:
                        raise typer.Exit(INTERRUPTED) from None
                    note("Ctrl-C again or Ctrl-D ends the chat")
                warned = not self._half_typed()

    def _ask(self) -> str:
        raise NotImplementedError

    def _half_typed(self) -> bool:
        return False


class PlainLines(Lines):
    """Standard input, a line a question; what a pipe brings is printed, so that the output reads as a conversation."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty()
        reconfigure = getattr(sys.stdin, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")

    def _ask(self) -> str:
        if self.interactive:
            return input("> ")
        line = input()
        typer.echo(f"> {line}")
        return line


class QuietLines(PlainLines):
    """Standard input for a program: nothing but the answers is printed."""

    def read(self) -> str | None:
        """The next line, stripped; None at the end of input."""
        self.interactive = False
        line = sys.stdin.readline()
        return _HALVES.sub("\N{REPLACEMENT CHARACTER}", line).strip() if line else None


class TerminalLines(Lines):
    """An editor with the session's earlier questions on arrow-up, and the commands on Tab. Nothing is written to disk.

    A pasted text keeps its line ends; Enter sends it. ``input_`` and ``output`` are for tests.
    """

    interactive = True

    def __init__(
        self,
        questions: Iterable[str],
        commands: Mapping[str, str],
        *,
        input_: Input | None = None,
        output: Output | None = None,
    ) -> None:
        """``questions``: the earlier ones, oldest first. ``commands``: name -> what it does."""
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import InMemoryHistory

        class Questions(InMemoryHistory):
            def append_string(self, string: str) -> None:
                if not string.startswith("/"):
                    super().append_string(string)

        self._session: PromptSession[str] = PromptSession(
            history=Questions(list(questions)),
            completer=WordCompleter(list(commands), meta_dict=dict(commands), sentence=True),
            complete_while_typing=False,
            reserve_space_for_menu=min(8, len(commands)),
            input=input_,
            output=output,
        )

    def _ask(self) -> str:
        return self._session.prompt("> ")

    def _half_typed(self) -> bool:
        return bool(self._session.default_buffer.text)


def open_lines(questions: Iterable[str], commands: Mapping[str, str]) -> Lines:
    """The editor where both ends are a terminal, else standard input; see :class:`TerminalLines`."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        return TerminalLines(questions, commands)
    return PlainLines()
