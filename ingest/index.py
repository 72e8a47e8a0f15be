"""The way in to an index, in a folder or on a server."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ingest.collections import (
    DEFAULT_COLLECTION,
    Collection,
    collection_folder,
    collection_names,
    is_url,
    list_collections,
)
from ingest.document_index import DocumentIndex
from ingest.edge_index import EdgeIndex, refuse_other_files
from ingest.errors import IndexMissingError, IndexProblem
from ingest.rebuild import Rebuilt
from ingest.types import Embedder


def collections_at(location: str) -> list[Collection]:
    """What each collection of the index in a folder, or on a server, holds; nothing is locked or written.

    Raises :class:`IndexMissingError` where there is none.
    """
    if not is_url(location):
        return list_collections(Path(location))
    from ingest.server_client import Server
    from ingest.server_index import list_collections as on_server

    with closing(Server.at(location)) as server:
        return on_server(server)


def open_index(
    location: str,
    embedder: Embedder,
    *,
    create: bool = False,
    collection: str = DEFAULT_COLLECTION,
) -> DocumentIndex:
    """A collection of the index in a folder (:mod:`ingest.collections`), or on a server, by its URL
    (:mod:`ingest.server_index`).
    """
    if is_url(location):
        from ingest.server_client import Server
        from ingest.server_index import ServerIndex

        return ServerIndex(Server.at(location), embedder, collection=collection, create=create)
    root = Path(location)
    folder = collection_folder(root, collection)
    names = collection_names(root)
    if collection not in names:
        if not names:
            refuse_other_files(root)
        if names and not create:
            raise IndexMissingError(
                f"no collection {collection!r} in {root}: there are {', '.join(names)}; "
                "choose one with --collection, or make it with 'rag ingest'"
            )
    return EdgeIndex(folder, embedder, create=create)


def rebuild_index(location: str, embedder: Embedder, *, collection: str = DEFAULT_COLLECTION) -> Rebuilt:
    """Make the store of an index in a folder anew (:mod:`ingest.rebuild`), and check it; raises what
    :class:`EdgeIndex` does."""
    if is_url(location):
        raise IndexProblem(f"{location} is a server, which mends its own files: rebuild is for an index in a folder")
    with EdgeIndex(collection_folder(Path(location), collection), embedder, rebuild=True) as index:
        return index.rebuilt
