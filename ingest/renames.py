"""Which new source is which old one under another name: told by content, and by as much of the name as is left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath


def heirs(new: Mapping[str, str], gone: Mapping[str, str]) -> dict[str, str]:
    """By new source, the one of those gone from disk that it was; a source that was none is left out.

    Both arguments give document ids by source. Of several with one content, those of the same file name belong
    together, then those of the same folder, then the first of both; more new ones than old were copied from an old one.
    """
    by_document: dict[str, list[str]] = {}
    for source, document_id in gone.items():
        by_document.setdefault(document_id, []).append(source)
    pairs = sorted(
        (*_differences(old, source), old, source)
        for source, document_id in new.items()
        for old in by_document.get(document_id, ())
    )
    found: dict[str, str] = {}
    taken: set[str] = set()
    for _, _, old, source in pairs:
        if source not in found and old not in taken:
            found[source] = old
            taken.add(old)
    for _, _, old, source in pairs:
        found.setdefault(source, old)
    return found


def _differences(old: str, new: str) -> tuple[bool, bool]:
    before, after = PurePosixPath(old), PurePosixPath(new)
    return before.name != after.name, before.parent != after.parent
