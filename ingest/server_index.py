"""An index on a Qdrant server: many processes may search it at once, one may write (:mod:`ingest.server_lease`).

What is written, and in which order, is as in a folder: facts and texts, then points, then the sources that name the
document; what a dead process left is swept by the next that writes.
"""

from __future__ import annotations

from contextlib import suppress

from ingest.collections import DEFAULT_COLLECTION, Collection
from ingest.document_index import DocumentIndex
from ingest.errors import IndexMismatchError, IndexMissingError, IndexProblem, IndexServerError
from ingest.filters import Filters
from ingest.late import LateQuery
from ingest.parse import PIPELINE_VERSION
from ingest.server_catalogue import ServerCatalogue
from ingest.server_client import Server, only
from ingest.server_layout import META_ID, PREFIX, Names, create_collections
from ingest.server_lease import Lease
from ingest.server_store import ServerStore
from ingest.types import Embedder, SearchResult, SparseVector, StoredDocument, Vectors

FORMAT_VERSION = "1"
_LOOKS = 3
"""Times that a search is made while the index changes under it."""


class ServerIndex(DocumentIndex):
    """One collection of the index on a server; close it, which also closes the server's client."""

    def __init__(
        self, server: Server, embedder: Embedder, *, collection: str = DEFAULT_COLLECTION, create: bool = False
    ) -> None:
        """Open the index and check what it was made with; ``create`` also makes it, where there is none, takes the
        right to write, and sweeps what an interrupted run left.

        Raises :class:`IndexMissingError` (unless ``create``), :class:`IndexMismatchError`,
        :class:`ingest.errors.IndexInUseError` or :class:`IndexServerError`.
        """
        self._server = server
        self._closed = False
        self.swept = 0
        self._names = names = Names.of(collection)
        self._lease = Lease(server, names.documents)
        self._catalogue = ServerCatalogue(server, names, self._lease)
        self._store = ServerStore(server, names.passages)
        try:
            self._check_made_with(names, collection, embedder, create)
            if create:
                self._lease.hold()
                self.swept = self._sweep()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        # A server that is gone cannot be told; the lease ends by itself.
        with suppress(IndexServerError):
            self._lease.release()
        self._catalogue.close()
        self._server.close()

    @property
    def store(self) -> ServerStore:
        self._check_open()
        return self._store

    @property
    def catalogue(self) -> ServerCatalogue:
        self._check_open()
        return self._catalogue

    def _check_open(self) -> None:
        if self._closed:
            raise IndexProblem("the index is closed: open it again")

    def _check_made_with(self, names: Names, collection: str, embedder: Embedder, create: bool) -> None:
        wanted: dict[str, object] = {
            "format": FORMAT_VERSION,
            "pipeline": PIPELINE_VERSION,
            "embedder": embedder.name,
            "dimension": embedder.dimension,
        }
        known = self._catalogue.meta()
        if not known and not create:
            raise IndexMissingError(self._none(collection))
        if not known:
            if self._server.ask(self._server.client.collection_exists, names.passages) and self._store.count():
                raise IndexMismatchError(
                    f"{names.passages} on {self._server.shown} holds points without {names.documents}: delete it "
                    "there, or choose another --collection"
                )
            create_collections(self._server, names, embedder.dimension)
            # Last, so that an index with these facts is whole.
            self._catalogue.set_meta(wanted)
            return
        for fact, value in wanted.items():
            if known.get(fact) != value:
                remedy = f"pass --embedder {known.get(fact)}, or " if fact == "embedder" else ""
                raise IndexMismatchError(
                    f"the index {names.documents} on {self._server.shown} was made with {fact} {known.get(fact)!r}, "
                    f"not {value!r}: {remedy}ingest into another --collection"
                )

    def _none(self, collection: str) -> str:
        others = _collection_names(self._server)
        if others:
            return (
                f"no collection {collection!r} on {self._server.shown}: there are {', '.join(others)}; "
                "choose one with --collection, or make it with 'rag ingest'"
            )
        return f"no index on {self._server.shown}: run 'rag ingest PATH --index {self._server.shown}' first"

    def check(self, document: StoredDocument) -> str:
        """See :meth:`DocumentIndex.check`; token codes must be there too."""
        held = only(kind="codes", document_id=document.document_id)
        client = self._server.client
        codes = self._server.ask(client.count, self._names.documents, count_filter=held, exact=True).count
        lost = f"token codes of {codes} of {document.chunks} chunks are stored" if codes != document.chunks else ""
        return super().check(document) or lost

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        late: LateQuery | None = None,
        *,
        limit: int = 10,
        filters: Filters | None = None,
    ) -> SearchResult:
        """See :meth:`DocumentIndex.search`. Made again if the index changes meanwhile, so that no document is seen in
        two versions, or half.
        """
        for _ in range(_LOOKS):
            with self.catalogue.pinned() as revision:
                found = super().search(dense, sparse, late, limit=limit, filters=filters)
            if self.catalogue.revision() == revision:
                break
        return found


def list_collections(server: Server) -> list[Collection]:
    """What each collection of the index on a server holds. Raises :class:`IndexMissingError` where there is none."""
    names = _collection_names(server)
    if not names:
        raise IndexMissingError(f"no index on {server.shown}: run 'rag ingest PATH --index {server.shown}' first")
    found = []
    for name in names:
        place = Names.of(name)
        count = server.ask(server.client.count, place.documents, count_filter=only(kind="source"), exact=True).count
        chunks = server.ask(server.client.count, place.passages, exact=True).count
        meta = server.ask(server.client.retrieve, place.documents, [META_ID], with_payload=True)
        embedder = str((meta[0].payload or {}).get("embedder", "")) if meta else ""
        found.append(Collection(name=name, folder=place.documents, documents=count, chunks=chunks, embedder=embedder))
    return found


def _collection_names(server: Server) -> list[str]:
    """The default one first, the others in order of name."""
    held = {found.name for found in server.ask(server.client.get_collections).collections}
    names = sorted(name.removeprefix(PREFIX) for name in held if name.startswith(PREFIX))
    return sorted(names, key=lambda name: name != DEFAULT_COLLECTION)
