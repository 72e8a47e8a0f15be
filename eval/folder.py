"""The folder of a run: what each step leaves for the next one, and that only one run writes there at a time.

DIR/run.json        what the answers depend on, and where they were made (:mod:`eval.manifest`)
DIR/cases.jsonl     the cases that were answered
DIR/answers.jsonl   an answer a line (:mod:`eval.records`)
DIR/report.json     scores and checks, beside other forms of the report
DIR/.lock           held while a run is going on; it holds the process's id
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from eval.errors import InputError

ANSWERS = "answers.jsonl"
CASES = "cases.jsonl"
MANIFEST = "run.json"
_LOCK = ".lock"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder if it is not there, and keep other runs out of it.

    Raises :class:`~eval.errors.InputError` when another process is at it, or it cannot be written.
    """
    mark = folder / _LOCK
    lock = FileLock(mark)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        mark.write_text(str(os.getpid()))
    except Timeout as error:
        pid = mark.read_text().strip() if mark.is_file() else ""
        raise InputError(
            f"another run (pid {pid or 'unknown'}) is writing to {folder}: wait for it, or pass another --out"
        ) from error
    except OSError as error:
        lock.release()
        raise unwritable(folder, error) from error
    try:
        yield
    finally:
        with suppress(OSError):
            mark.unlink()  # while nobody else can hold it
        lock.release()


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is the old or the new one, whole, whenever this is killed. Raises OSError."""
    new = file.with_name(file.name + ".new")
    new.write_text(text, encoding="utf-8", newline="\n")
    new.replace(file)


def as_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Objects as JSON lines."""
    return "".join(map(as_line, rows))


def as_line(row: Mapping[str, Any]) -> str:
    """An object as a JSON line; half a surrogate pair, which UTF-8 cannot write, stands there as ``\\ud800``."""
    text = json.dumps(row, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unwritable(path: Path, error: OSError) -> InputError:
    """The error for a file or folder that cannot be written: no room, no rights."""
    return InputError(f"{path} cannot be written ({error.strerror or error}): pass another --out, or make room")
