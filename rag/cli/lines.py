"""Where the lines of a conversation come from: an editor on a terminal, else standard input."""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import typer

from rag.cli.output import note

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

INTERRUPTED = 130
_HALVES = re.compile("[\ud800-\udfff]")


class Lines(ABC):
    """Lines that a person types, or that a pipe brings. ``interactive``: there is somebody to ask again."""

    interactive: bool

    @abstractmethod
    def read(self) -> str | None:
        """The next line, stripped; None at the end of input or Ctrl-D. Bytes that are no text are shown as �."""


class ShownLines(Lines):
    """Lines that stand in the output too, which so reads as a conversation."""

    def read(self) -> str | None:
        """See :meth:`Lines.read`.

        Where somebody is there to ask again, Ctrl-C drops what was typed; with nothing typed it is explained, and the
        second time it ends the command with 130.
        """
        warned = False
        while True:
            try:
                typer.echo()
                return _tidy(self._ask())
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

    @abstractmethod
    def _ask(self) -> str:
        """The next line as it comes. Raises EOFError at the end of input."""

    def _half_typed(self) -> bool:
        return False


class PlainLines(ShownLines):
    """Standard input, a line a question; what a pipe brings is printed."""

    def __init__(self) -> None:
        self.interactive = sys.stdin.isatty()
        _read_any_bytes()

    def _ask(self) -> str:
        if self.interactive:
            return input("> ")
        line = input()
        typer.echo(f"> {line}")
        return line


class QuietLines(Lines):
    """Standard input for a program: nothing but the answers is printed."""

    interactive = False

    def __init__(self) -> None:
        _read_any_bytes()

    def read(self) -> str | None:
        """See :meth:`Lines.read`."""
        line = sys.stdin.readline()
        return _tidy(line) if line else None


def _read_any_bytes() -> None:
    """Standard input's bytes that are no text do not end the program."""
    reconfigure = getattr(sys.stdin, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def _tidy(line: str) -> str:
    return _HALVES.sub("\N{REPLACEMENT CHARACTER}", line).strip()


class TerminalLines(ShownLines):
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
