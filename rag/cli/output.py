"""What commands print: JSON on stdout for programs, lines for people, progress and notes on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rag.types import Answer, Citation


def emit(value: Mapping[str, Any]) -> None:
    """One JSON object, one line, on stdout; lone surrogates are escaped, so that it is always valid UTF-8."""
    text = json.dumps(value, ensure_ascii=False)
    typer.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def note(text: str) -> None:
    """A line for people on stderr."""
    typer.echo(text, err=True)


def safe(text: str) -> str:
    """Text from documents and models for a terminal: control characters, such as escape codes, are shown as �."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def print_sources(answer: Answer) -> None:
    """Below a streamed answer: why it was refused or what to doubt, its confidence, each citation with its quote."""
    if answer.refused:
        typer.echo(f"  ({safe(answer.why)})")
    if answer.confidence is not None:
        note(typer.style(f"confidence {answer.confidence:.2f}", dim=True))
    if answer.refused:
        return
    if answer.stop == "length":
        note("cut off: raise --max-answer-tokens for a longer answer")
    if answer.why:
        note(shorten(f"note: {safe(answer.why)}", width=240, placeholder=" ..."))
    if not answer.citations:
        return
    typer.echo("\nSources")
    for citation in answer.citations:
        moved = " (the model named another)" if citation.status == "misattributed" else ""
        typer.echo(f"  [{citation.number}] {safe(place(citation, answer))}{moved}")
        typer.echo(f'      "{safe(" ".join(citation.quote.split()))}"')


def place(citation: Citation, answer: Answer) -> str:
    """Source with its page or its innermost heading."""
    passage = next(p for p in answer.passages if p.number == citation.number)
    where = f", page {', '.join(map(str, citation.pages))}" if citation.pages else ""
    if not where and passage.headings:
        where = f", {passage.headings[-1]!r}"
    return citation.source + where


def read_batch(file: Path) -> Iterator[dict[str, Any]]:
    """The objects of a questions file; each must have ``id`` and ``question``."""
    from rag.errors import SettingsError

    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} cannot be read ({error}): give a UTF-8 JSONL file") from error
    rows = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise SettingsError(f"{file} holds no question: give one JSON object a line")
    checked = []
    for number, line in rows:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("question"), str) or "id" not in row:
            raise SettingsError(f'{file}, line {number}: expected {{"id": ..., "question": "..."}}')
        checked.append(row)
    return iter(checked)


@contextmanager
def waiting(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on a terminal while there is nothing to show, with a way to change its text; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(text) as status:
        yield status.update


_LONG = 3600.0
"""Seconds that the speed is averaged over: one item can take minutes."""


@contextmanager
def progress(label: str, unit: str = "files") -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, a line each tenth of the way elsewhere, both with the time left; called with (done, total,
    item). What is done at the first call was there before, and tells nothing of the speed."""
    if not sys.stderr.isatty():
        yield _lines(label, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, speed_estimate_period=_LONG) as bar:
        task = bar.add_task(label, total=None)

        def show(done: int, total: int, item: str) -> None:
            del item
            if bar.tasks[0].total != total:
                bar.reset(task, total=total, completed=done)
            bar.update(task, completed=done)

        yield show


def _lines(label: str, unit: str) -> Callable[[int, int, str], None]:
    told = 0
    first: int | None = None
    began = 0.0

    def show(done: int, total: int, item: str) -> None:
        nonlocal told, first, began
        del item
        if first is None:
            first, began = done, time.monotonic()
        if done * 10 // total > told:
            told = done * 10 // total
            seconds = (time.monotonic() - began) * (total - done) / (done - first) if done > first else 0.0
            left = f", about {_span(seconds)} left" if seconds >= 1 else ""
            note(f"{label}: {done} of {total} {unit}{left}")

    return show


def _span(seconds: float) -> str:
    """A time for people: two figures at most."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
