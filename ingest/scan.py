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


def scan(paths: Sequence[Path]) -> list[SourceFile]:
    """Every file below the paths, in order; hidden files and folders are left out, links are followed once.

    Raises :class:`NothingToIngestError` for a path that does not exist or when there is no file at all.
    """
    found: dict[Path, SourceFile] = {}
    for path in paths:
        if not path.exists():
            raise NothingToIngestError(f"{path} does not exist: check the path")
        root = path.resolve() if path.is_dir() else path.resolve().parent
        files = _files_below(root) if path.is_dir() else [path.resolve()]
        for file in files:
            source = file.relative_to(root).as_posix()
            found.setdefault(file, SourceFile(path=file, root=str(root), source=_printable(source)))
    if not found:
        listed = ", ".join(map(str, paths))
        raise NothingToIngestError(f"no files in {listed}: give a folder that holds documents")
    return sorted(found.values(), key=lambda file: (file.root, file.source))


def _files_below(root: Path) -> list[Path]:
    files: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and n not in _SKIPPED_FOLDERS)
        files += [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
    return files


def _printable(source: str) -> str:
    """A file name that is not valid UTF-8 is shown with its odd bytes escaped."""
    return source.encode("utf-8", "backslashreplace").decode("utf-8")
