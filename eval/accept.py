"""Drafts that a person has reviewed become cases."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from eval.cases import case_of, cases_text
from eval.errors import InputError
from eval.jsonl import Row, read_rows, unique, unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Ids that became cases, and how many drafts are left."""

    ids: tuple[str, ...]
    remaining: int


def accept_drafts(file: Path, ids: Sequence[str] | None, out: Path) -> Accepted:
    """Move drafts (all of them when ``ids`` is None) from ``file`` to the end of ``out``, without the mark.

    Each file is replaced whole, ``out`` first: a process that is killed between the two leaves a draft in both, never
    in none. Raises :class:`InputError`, before anything is written, for an id that is no draft of ``file``, or that
    ``out`` has already.
    """
    if file.exists() and out.exists() and file.samefile(out):
        raise InputError(f"--out {out} is the file of drafts itself: name another file for the accepted cases")
    rows = unique(read_rows(file))
    drafts = {id_: row for id_, row in rows.items() if case_of(row).draft}
    if not drafts:
        raise InputError(f"{file} has no drafts: 'rag eval generate' makes some")
    chosen = list(drafts) if ids is None else list(dict.fromkeys(ids))
    if unknown := [id_ for id_ in chosen if id_ not in drafts]:
        known = "is accepted already" if unknown[0] in rows else "is not there"
        raise InputError(f"{file}: {unknown[0]!r} {known}: its drafts are {', '.join(list(drafts)[:5])}")
    written = _text(out)
    if taken := sorted(unique(read_rows(out) if written.strip() else []).keys() & set(chosen)):
        raise InputError(f"{out} has a case {taken[0]!r} already: delete it there, or its draft in {file}")
    ends = "" if not written or written.endswith("\n") else "\n"
    _replace(out, written + ends + cases_text(_unmarked(drafts[id_]) for id_ in chosen))
    _replace(file, cases_text(row.data for id_, row in rows.items() if id_ not in set(chosen)))
    return Accepted(ids=tuple(chosen), remaining=len(drafts) - len(chosen))


def _unmarked(row: Row) -> dict[str, object]:
    return {name: value for name, value in row.data.items() if name != "draft"}


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(file, error, "name a JSONL file") from error


def _replace(file: Path, text: str) -> None:
    new = file.with_name(f"{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text, encoding="utf-8", newline="")
        new.replace(file)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise InputError(f"{file} cannot be written ({error.strerror}): check its folder") from error
