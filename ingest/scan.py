"""Paths -> the files to ingest, each with its source name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import NothingToIngestError

_SKIPPED_FOLDERS = {"node_modules", "__pycache__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """``source`` is the POSIX path of ``path`` below ``root``, the folder that was named to ingest."""

    path: Path
    root: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What the paths hold.

    ``unlisted``: folders that could not be read. ``complete``: the roots whose every file is in ``files``, so
    that a source of theirs that is not there has left the disk.
    """

    files: tuple[SourceFile, ...]
    unlisted: tuple[SourceFile, ...]
    complete: frozenset[str]


def scan(paths: Sequence[Path]) -> Scan:
    """Every file below the paths, in order of root and source.

    Hidden files and folders are left out. A link to a file is read; a link to a folder is not followed, for
    it may lead anywhere. Raises :class:`NothingToIngestError` for a path that does not exist, or for no file.
    """
    files: dict[Path, SourceFile] = {}
    unlisted: list[SourceFile] = []
    complete: set[str] = set()
    for path in paths:
        if not path.exists():
            raise NothingToIngestError(f"{path} does not exist: check the path")
        if path.is_dir():
            root = path.resolve()
            found, closed = _below(root)
            unlisted += [_source_file(folder, root) for folder in closed]
            if not closed:
                complete.add(printable(str(root)))
        else:
            root = path.resolve().parent
            found = [path.resolve()]
        for file in found:
            files.setdefault(file, _source_file(file, root))
    if not files:
        listed = ", ".join(map(str, paths))
        raise NothingToIngestError(f"no files in {listed}: give a folder that holds documents")
    return Scan(
        files=tuple(sorted(files.values(), key=lambda file: (file.root, file.source))),
        unlisted=tuple(unlisted),
        complete=frozenset(complete),
    )


def _below(root: Path) -> tuple[list[Path], list[Path]]:
    """Files below a folder, and the folders that cannot be listed."""
    files: list[Path] = []
    closed: list[Path] = []
    for folder, subfolders, names in os.walk(root, onerror=lambda error: closed.append(Path(error.filename))):
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and n not in _SKIPPED_FOLDERS)
        files += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return files, closed


def _source_file(path: Path, root: Path) -> SourceFile:
    source = path.relative_to(root).as_posix()
    return SourceFile(path=path, root=printable(str(root)), source=printable(source))


def printable(name: str) -> str:
    """A name that is not valid UTF-8 with its odd bytes escaped, so that it can be shown and stored."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
