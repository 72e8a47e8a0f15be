"""Several collections in one index folder, each an index of its own: documents, embedder and lock.

The default collection is the folder itself, the others are folders in its folder ``collections``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ingest.catalogue import CATALOGUE_FILE, read_counts
from ingest.errors import IndexMissingError, IndexProblem

DEFAULT_COLLECTION = "default"
COLLECTIONS = "collections"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What a collection holds: ``documents`` counts sources; ``embedder`` is the name of the one that made it."""

    name: str
    folder: str
    documents: int
    chunks: int
    embedder: str


def check_collection(name: str) -> None:
    """Raise :class:`IndexProblem` for a name that is no safe one of a folder on any system."""
    if not _NAME.fullmatch(name):
        raise IndexProblem(
            f"collection {name[:80]!r}: a name has 1 to 64 letters (a-z), digits, '-', '_' and '.', and no '.' in front"
        )


def collection_folder(folder: Path, name: str) -> Path:
    """Where a collection lies. Raises :class:`IndexProblem` for a name that cannot be one."""
    check_collection(name)
    return folder if name == DEFAULT_COLLECTION else folder / COLLECTIONS / name


def collection_names(folder: Path) -> list[str]:
    """The collections of an index folder, the default one first, the others in order of name."""
    others = sorted(file.parent.name for file in (folder / COLLECTIONS).glob(f"*/{CATALOGUE_FILE}"))
    first = [DEFAULT_COLLECTION] if (folder / CATALOGUE_FILE).is_file() else []
    return first + [name for name in others if _NAME.fullmatch(name) and name != DEFAULT_COLLECTION]


def list_collections(folder: Path) -> list[Collection]:
    """What each collection of an index folder holds; nothing is locked or written.

    Raises :class:`IndexMissingError` where there is none, :class:`ingest.errors.IndexDamagedError` for a catalogue that
    cannot be read.
    """
    names = collection_names(folder)
    if not names:
        raise IndexMissingError(f"no index in {folder}: run 'rag ingest PATH --index {folder}' first")
    found = []
    for name in names:
        place = collection_folder(folder, name)
        documents, chunks, embedder = read_counts(place / CATALOGUE_FILE)
        found.append(Collection(name=name, folder=str(place), documents=documents, chunks=chunks, embedder=embedder))
    return found
