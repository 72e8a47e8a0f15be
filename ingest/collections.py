"""Several collections in one index folder, each an index of its own: documents, embedder and lock.

The default collection is the folder itself, the others are folders in its folder ``collections``.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ingest.catalogue import CATALOGUE_FILE
from ingest.errors import IndexDamagedError, IndexMissingError, IndexProblem

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


def is_url(location: str) -> bool:
    """Whether it is, or is meant to be, a server's URL and no folder."""
    return "://" in location


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
        documents, chunks, embedder = _counts(place / CATALOGUE_FILE)
        found.append(Collection(name=name, folder=str(place), documents=documents, chunks=chunks, embedder=embedder))
    return found


def _counts(file: Path) -> tuple[int, int, str]:
    """How many sources and chunks a catalogue holds, and the embedder that it was made with.

    It is only read, also while another process writes it. Raises :class:`IndexDamagedError`.
    """
    # Who has it open has a log beside it, in SQLite's mode; without one, to be read as a file that nobody changes
    # keeps SQLite from making one.
    mode = "mode=ro" if file.with_name(f"{file.name}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?{mode}", uri=True)) as db:
            sources = db.execute("SELECT COUNT(*) FROM sources WHERE document_id != ''").fetchone()[0]
            query = "SELECT COALESCE(SUM(chunks), 0) FROM documents WHERE state='committed'"
            chunks = db.execute(query).fetchone()[0]
            embedder = db.execute("SELECT value FROM meta WHERE key='embedder'").fetchone()
            return int(sources), int(chunks), str(json.loads(embedder[0])) if embedder else ""
    except (sqlite3.Error, ValueError) as error:
        raise IndexDamagedError(
            f"the catalogue {file} cannot be read ({error}): check its permissions; if that does not help, "
            "delete its folder and ingest again"
        ) from error
