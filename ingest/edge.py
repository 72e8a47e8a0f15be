"""Points in a folder: the one door to Qdrant Edge (the server's engine, in this process) and its BM25.

Edge writes to disk durably only at :meth:`EdgeShard.flush`, raises plain ``Exception`` for everything, and panics,
which is no ``Exception``, on some damaged files; all are dealt with here and in :mod:`ingest.edge_index`, and nowhere
else.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.errors import IndexDamagedError
from ingest.points import DENSE, SPARSE, Choice, StoredPoint, candidate_of, chunk_of, payload_of
from ingest.sealing import UNSEALED, is_sealed, read_ahead, seal
from ingest.types import Candidate, Chunk, SparseVector, Vectors

if TYPE_CHECKING:
    import qdrant_edge

_ROOM_TO_OPEN = 8 * 2**20
_ROOM_TO_WRITE = 64 * 2**20
"""Bytes that must be free: the engine writes through memory, so that on a full disk the system kills the process."""
_ALL = 1_000_000
"""More points than one document has."""
SEALED = 25_000
"""Chunks that are written before they are sealed: opening and flushing take time for each that is not, and a search is
slower (docs/decisions/0020-scale.md has what was measured)."""
_SEGMENTS, _LARGEST = 8, 8
"""Sealed segments before the engine merges some, and what they may hold at most, in multiples of ``SEALED``."""
_OVERSAMPLED = 2.0
"""Of the vectors that are nearest by four bits a number, so many times more than asked for are compared in full: all
that are truly nearest are among them (docs/decisions/0020-scale.md)."""
_MANY_DEAD = 10_000
"""Deleted chunks whose room is won back once they are more than the others."""
_MOST_OPERATIONS = 10_000
"""Many more than one flush makes durable."""
_VERSION_BYTES = 8
"""What :data:`ingest.sealing.UNSEALED` has of each point."""
_log = logging.getLogger(__name__)


class Bm25:
    """BM25 term weights (k=1.2, b=0.75) of texts; the inverse document frequency is applied by the engine."""

    def __init__(self, language: str = "english", average_length: float = 120.0) -> None:
        import qdrant_edge as edge

        self._model = edge.Bm25(edge.Bm25Config(language=language, avg_len=average_length))

    def document(self, text: str) -> SparseVector:
        return self.plain(self._model.embed_document(text))

    def query(self, text: str) -> SparseVector:
        """Each distinct term with weight 1."""
        return self.plain(self._model.embed_query(text))

    @staticmethod
    def plain(vector: qdrant_edge.SparseVector) -> SparseVector:
        """The engine's vector as ours."""
        return SparseVector(indices=tuple(vector.indices), values=tuple(vector.values))


class EdgeStore:
    """One shard. Not safe for use by two processes: :mod:`ingest.edge_index` holds the lock."""

    def __init__(self, folder: Path, dimension: int) -> None:
        import qdrant_edge as edge

        self._edge = edge
        self._folder, self._dimension = folder, dimension
        self._reading, self._writing = threading.RLock(), threading.RLock()
        with self._told("opened"):
            self._tidy()
            self._check_room(_ROOM_TO_OPEN if folder.is_dir() else _ROOM_TO_WRITE)
            if not folder.is_dir():
                self._create()
            read_ahead(folder)
            self._load()

    def _load(self) -> None:
        edge = self._edge
        self._shard = edge.EdgeShard.load(str(self._folder))
        self._unsealed, self._seal_at = self._written(), SEALED
        exact = not is_sealed(self._folder)
        self._near = edge.QuantizationSearchParams(ignore=exact, rescore=True, oversampling=_OVERSAMPLED)

    def _beside(self, name: str) -> Path:
        return self._folder.with_name(f"{self._folder.name}.{name}")

    def _tidy(self) -> None:
        """Clear what a process left that died while it put another shard in the place of this one."""
        if not self._folder.is_dir() and self._beside("old").is_dir():
            self._beside("old").rename(self._folder)
        for left in self._folder.parent.glob(f"{self._folder.name}.*"):
            shutil.rmtree(left, ignore_errors=True)

    def _written(self) -> int:
        """Points in the segments that are not sealed, deleted ones too, as of the last flush."""
        files = self._folder.glob(f"segments/*/{UNSEALED}")
        return sum(file.stat().st_size for file in files) // _VERSION_BYTES

    def _create(self) -> None:
        """Made beside its place and moved there when it is whole: half a shard cannot be loaded."""
        edge = self._edge
        unfinished = self._beside("new")
        unfinished.mkdir(parents=True)
        shard = edge.EdgeShard.create(str(unfinished), self._config())
        cold, index = edge.Memory.Cold, edge.UpdateOperation.create_field_index
        shard.update(index("document_id", edge.KeywordIndexParams(enable_hnsw=False, memory=cold)))
        number = edge.IntegerIndexParams(lookup=True, range=False, enable_hnsw=False, memory=cold)
        shard.update(index("document", number))
        shard.flush()
        shard.close()
        unfinished.rename(self._folder)

    def _config(self) -> Any:
        """Once something is sealed, vectors are compared by four bits a number, one after the other: no graph (m=0).

        Files are mapped, and read where they are needed: nothing is copied into memory when the shard is opened. There
        is no log: what was written and not flushed is swept anyway (:mod:`ingest.catalogue`).
        """
        edge, cold = self._edge, self._edge.Memory.Cold
        size = SEALED * self._dimension * 4 // 1024
        dense = edge.EdgeVectorParams(size=self._dimension, distance=edge.Distance.Cosine, memory=cold)
        return edge.EdgeConfig(
            vectors={DENSE: dense},
            sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf, memory=cold)},
            hnsw_config=edge.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),
            quantization_config=edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=cold),
            id_tracker_memory=cold,
            optimizers=edge.EdgeOptimizersConfig(
                default_segment_number=_SEGMENTS,
                indexing_threshold=max(1, size // 2),
                max_segment_size=max(1, size * _LARGEST),
                vacuum_min_vector_number=_MANY_DEAD,
            ),
            wal_enabled=False,
        )

    def _check_room(self, needed: int) -> None:
        place = next(folder for folder in self._folder.parents if folder.exists())
        free = shutil.disk_usage(place).free
        if free < needed:
            reason = f"No space left: {free / 2**20:.0f} MiB are free, {needed / 2**20:.0f} are needed"
            raise OSError(errno.ENOSPC, reason)

    @classmethod
    @contextmanager
    def replacing(cls, folder: Path, dimension: int) -> Iterator[EdgeStore]:
        """An empty store to fill, which takes the place of ``folder`` when the block ends without an error."""
        beside, old = (folder.with_name(f"{folder.name}.{end}") for end in ("rebuilt", "old"))
        for left in folder.parent.glob(f"{beside.name}*"):
            shutil.rmtree(left, ignore_errors=True)
        store = cls(beside, dimension)
        try:
            yield store
            store.flush()
        finally:
            store.close()
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        beside.rename(folder)
        shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        try:
            with self._reading:
                yield
        except BaseException as error:
            # A panic of the engine is a BaseException of its own.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            reason = " ".join(str(error).split())[:200]
            raise IndexDamagedError(
                f"the index in {self._folder.parent} cannot be {verb} ({reason}): "
                "free disk space and check its permissions; if that does not help, run 'rag docs rebuild'"
            ) from error

    def write(self, chunks: Sequence[Chunk], dense: Vectors, sparse: Sequence[SparseVector]) -> None:
        """Insert or replace the chunks' points; durable after :meth:`flush`."""
        edge = self._edge
        points = [
            edge.Point(
                chunk.id,
                {DENSE: vector.tolist(), SPARSE: edge.SparseVector(list(term.indices), list(term.values))},
                payload_of(chunk),
            )
            for chunk, vector, term in zip(chunks, dense, sparse, strict=True)
        ]
        with self._writing, self._told("written"):
            self._check_room(_ROOM_TO_WRITE)
            self._shard.update(edge.UpdateOperation.upsert_points(points))
            self._unsealed += len(points)

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove every point of these documents; durable after :meth:`flush`.

        The engine numbers its operations, and passes over one for points that a later one wrote. Killed at the end of
        a flush, it goes on counting from before what it had flushed: then a deletion is repeated until it is counted
        as the later one.
        """
        with self._writing, self._told("written"):
            left = list(document_ids)
            for _ in range(_MOST_OPERATIONS):
                for id_ in left:
                    self._shard.update(self._edge.UpdateOperation.delete_points_by_filter(self._only([id_])))
                left = [id_ for id_ in left if self.count([id_])] if self.count(left) else []
                if not left:
                    return
            raise OSError(f"{len(left)} documents cannot be deleted")

    def flush(self) -> None:
        with self._told("written"):
            self._shard.flush()

    def settle(self) -> None:
        """Seal what was written once it is much, or win back the room of what was deleted; searches go on meanwhile,
        writes wait. Where it cannot be done, all is as it was, and a warning is logged.
        """
        with self._writing:
            if self._unsealed >= self._seal_at or (
                self._unsealed > 2 * _MANY_DEAD and self._unsealed - self.count() > max(_MANY_DEAD, self.count())
            ):
                self._seal()

    def _seal(self) -> None:
        copy = self._beside("sealed")
        self.flush()
        try:
            size = sum(file.stat().st_blocks * 512 for file in self._folder.rglob("*") if file.is_file())
            self._check_room(size + _ROOM_TO_WRITE)
            seal(self._folder, copy)
            read_ahead(copy)
            self._take(copy)
        except (OSError, IndexDamagedError) as error:
            _log.warning("%d chunks could not be sealed, which makes searches slower: %s", self._unsealed, error)
            shutil.rmtree(copy, ignore_errors=True)
            self._seal_at = self._unsealed + SEALED

    def _take(self, copy: Path) -> None:
        """Go on with another shard that holds the same. Killed half-way, either is there when the store is opened."""
        old = self._beside("old")
        shard, unsealed, near = self._shard, self._unsealed, self._near
        with self._told("opened"):
            self._folder.rename(old)
            copy.rename(self._folder)
            try:
                self._load()
                # Mapped by a first search, its vectors stay in the cache when the shard before it is closed.
                self.search(np.ones(self._dimension, dtype=np.float32), None, 1)
            except BaseException:
                self._folder.rename(copy)
                old.rename(self._folder)
                self._shard, self._unsealed, self._near = shard, unsealed, near
                raise
        # To close a shard the engine waits for the disk, and other threads for the engine: let the disk be done before.
        _sync(self._folder.parent)
        # All of it was flushed, and its files have moved.
        with suppress(Exception):
            shard.close()
        shutil.rmtree(old, ignore_errors=True)

    def count(self, document_ids: Sequence[str] | None = None) -> int:
        """Exact number of points, of these documents if any are given."""
        with self._told("read"):
            found = self._only(document_ids) if document_ids is not None else None
            return int(self._shard.count(self._edge.CountRequest(exact=True, filter=found)))

    def counts(self, *, exact: bool = True) -> dict[str, int]:
        """By document id, the number of its points, also 0 of some that were deleted; if not ``exact``, as the engine's
        index of ids has it, some ten times as fast."""
        with self._told("read"):
            most = max(1, int(self._shard.count(self._edge.CountRequest(exact=True))))
            found = self._shard.facet(self._edge.FacetRequest(key="document_id", limit=most, exact=exact))
            return {str(hit.value): int(hit.count) for hit in found.hits}

    def chunks(self, document_id: str) -> list[Chunk]:
        """All stored chunks of a document, in order; their ``source`` is left empty."""
        with self._told("read"):
            records, _ = self._shard.scroll(
                self._edge.ScrollRequest(limit=_ALL, filter=self._only([document_id]), with_payload=True)
            )
            return sorted((chunk_of(str(record.id), record.payload) for record in records), key=lambda c: c.index)

    def points(self, document_id: str) -> dict[str, StoredPoint]:
        """All of a document, by chunk id."""
        with self._told("read"):
            only = self._only([document_id])
            records, _ = self._shard.scroll(
                self._edge.ScrollRequest(limit=_ALL, filter=only, with_payload=True, with_vector=True)
            )
            return {str(record.id): _point(record) for record in records}

    def fetch_points(self, ids: Sequence[str]) -> dict[str, StoredPoint]:
        """:meth:`fetch`, with vectors."""
        with self._told("read"):
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=True) if ids else []
            return {str(record.id): _point(record) for record in records}

    def search(
        self,
        dense: Vectors | None,
        sparse: SparseVector | None,
        limit: int,
        choice: Choice | None = None,
    ) -> tuple[list[Candidate], list[Candidate]]:
        """The ``limit`` nearest chunks by cosine and the best by BM25, best first; of each query that is given.

        A chunk without any term of the query has no BM25 score and is not among them.
        """
        edge = self._edge
        only = self._chosen(choice) if choice is not None else None
        queries = []
        if dense is not None:
            near = edge.Query.Nearest(dense.tolist(), using=DENSE)
            queries.append((near, edge.SearchParams(quantization=self._near)))
        if sparse is not None:
            vector = edge.SparseVector(list(sparse.indices), list(sparse.values))
            queries.append((edge.Query.Nearest(vector, using=SPARSE), None))
        place = edge.PayloadSelector.Include(["document_id", "index"])
        requests = [
            edge.QueryRequest(limit=limit, query=query, filter=only, with_payload=place, params=params)
            for query, params in queries
        ]
        with self._told("read"):
            found = self._shard.query_batch(edge.QueryBatchRequest(requests)) if requests else []
            lists = [[candidate_of(point) for point in points] for points in found]
        return lists.pop(0) if dense is not None else [], lists.pop(0) if sparse is not None else []

    def fetch(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """Stored chunks by id; their ``source`` is left empty. One that is not there is left out."""
        with self._told("read"):
            records = self._shard.retrieve(list(ids), with_payload=True, with_vector=False) if ids else []
            return {str(record.id): chunk_of(str(record.id), record.payload) for record in records}

    def _only(self, document_ids: Iterable[str]) -> Any:
        edge = self._edge
        match = edge.MatchAny(list(document_ids))
        return edge.Filter(must=[edge.FieldCondition("document_id", match=match)])

    def _chosen(self, choice: Choice) -> Any:
        edge = self._edge
        numbers = list(choice.numbers)
        match = edge.MatchExcept(numbers) if choice.others else edge.MatchAny(numbers)
        return edge.Filter(must=[edge.FieldCondition("document", match=match)])

    def close(self) -> None:
        with self._told("closed"):
            self._shard.close()


def _sync(folder: Path) -> None:
    """What was made, renamed and deleted in a folder is on disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _point(record: Any) -> StoredPoint:
    vectors = record.vector or {}
    terms = vectors.get(SPARSE)
    return StoredPoint(
        chunk=chunk_of(str(record.id), record.payload),
        dense=np.asarray(vectors.get(DENSE, ()), dtype=np.float32),
        sparse=Bm25.plain(terms) if terms is not None else SparseVector(indices=(), values=()),
    )
