"""A store of synthetic chunks: how long it takes to write, what it takes on disk and in memory, and how it is searched.

Words follow Zipf's law. The most frequent ones are English function words, which BM25 leaves out as it does in real
texts; the others are made of syllables. Vectors are random, of unit length: there is no harder data for what finds
neighbours without comparing everything. Or they lie between two vectors of a real index, as chunks do that are of two
things at once. Questions are words of a chunk, with a vector near that chunk's.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch
from uuid import UUID

import numpy as np
from tape import taped

from ingest.document_index import CANDIDATES
from ingest.edge import Bm25, EdgeStore
from ingest.types import Chunk, SearchMode, Vectors

DIMENSION = 384
WORDS = 120
"""Words of a chunk; chunks of real documents have about so many."""
VOCABULARY = 30_000
QUESTION_WORDS = 12
BATCH = 250
"""Chunks that are written and flushed together, about as many as ingest does."""
SEED = 5
MODES: tuple[SearchMode, ...] = ("hybrid", "dense", "sparse")
Variant = Literal["default", "exact", "scalar", "binary", "graph"]
"""How sealed segments find neighbours: as in the product, by whole vectors, by 8 or 1 bit a number, or in a graph."""
_FUNCTION_WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which
you were all we can her has there been if more when will would who so no
"""
_SYLLABLES = [first + vowel for first in "bcdfghklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """Seconds for writing, flushing and sealing, the longest single flush, and of ``searches`` that were wanted while
    the store was sealed the longest, with all that it waited for (None if it was not). Memory is that of this process,
    mapped files with it."""

    write_s: float
    flush_s: float
    longest_flush_s: float
    seal_s: float
    searches: int
    longest_search_s: float | None
    peak_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Milliseconds of each question: when it is asked first, in mode hybrid, while files are not mapped; then by mode,
    in the engine and of the whole ``EdgeStore.search``, of which also the processor time. Megabytes that are resident:
    before the store is opened, then, and after the searches, of which mapped files. ``recall``: of the ten truly
    nearest, those that are found."""

    open_s: float
    first_ms: list[float]
    engine_ms: dict[str, list[float]]
    store_ms: dict[str, list[float]]
    store_cpu_ms: dict[str, list[float]]
    before_mb: float
    opened_mb: float
    after_mb: float
    files_mb: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a store of so many chunks takes. Megabytes on disk, and by the lengths of its files."""

    chunks: int
    built: Built
    asked: Asked
    disk_mb: float
    length_mb: float


def at_scale(chunks: int, questions: int, variant: Variant = "default", like: Vectors | None = None) -> Scale:
    """Write a store in a process of its own, and search it in another one. ``like``: vectors of a real index."""
    with TemporaryDirectory() as folder:
        shard = Path(folder, "shard")
        built: Built = _alone(build, shard, chunks, variant, like)
        files = [path.stat() for path in shard.rglob("*") if path.is_file()]
        asked: Asked = _alone(ask, shard, chunks, questions, like)
    return Scale(
        chunks=chunks,
        built=built,
        asked=asked,
        disk_mb=sum(file.st_blocks for file in files) * 512 / 1e6,
        length_mb=sum(file.st_size for file in files) / 1e6,
    )


def _alone(task: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(task, *arguments).result()


def vocabulary() -> list[str]:
    """Words by frequency, the most frequent first."""
    rng = random.Random(SEED)
    made = dict.fromkeys(_FUNCTION_WORDS.split())
    while len(made) < VOCABULARY:
        made["".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))] = None
    return list(made)


def ranks_of(start: int, count: int) -> np.ndarray[Any, Any]:
    """The words' ranks (count, WORDS) of chunks start, start + 1, ...

    A word of rank r, from 1, has a share of about 1 / r of the text.
    """
    rng = np.random.default_rng((SEED, 0, start))
    shares = 1 / np.arange(1, VOCABULARY + 1)
    bounds = np.cumsum(shares / shares.sum())
    return np.minimum(np.searchsorted(bounds, rng.random((count, WORDS))), VOCABULARY - 1)


def vectors_of(start: int, count: int, like: Vectors | None = None) -> Vectors:
    """Their vectors (count, DIMENSION), of unit length."""
    rng = np.random.default_rng((SEED, 1, start))
    if like is None:
        return _unit(rng.standard_normal((count, DIMENSION), dtype=np.float32))
    one, other = rng.integers(len(like), size=(2, count))
    share = rng.uniform(0.5, 1, size=(count, 1)).astype(np.float32)
    return _unit(share * like[one] + (1 - share) * like[other])


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def build(folder: Path, chunks: int, variant: Variant = "default", like: Vectors | None = None) -> Built:
    """Write a store as ingest does."""
    import qdrant_edge as edge

    words, bm25 = vocabulary(), Bm25()
    writes, flushes, seals, waits = [0.0], [0.0], [0.0], []
    changed = changes(variant)
    real = edge.EdgeConfig
    with patch("qdrant_edge.EdgeConfig", lambda **given: real(**(given | changed))):
        store = EdgeStore(folder, DIMENSION)
    with ThreadPoolExecutor(1) as pool:
        for start in range(0, chunks, BATCH):
            count = min(BATCH, chunks - start)
            texts = [" ".join(words[rank] for rank in row) for row in ranks_of(start, count)]
            batch = [_chunk(start + number, text) for number, text in enumerate(texts)]
            sparse = [bm25.document(text) for text in texts]
            vectors = vectors_of(start, count, like)
            writes.append(_seconds(partial(store.write, batch, vectors, sparse)))
            flushes.append(_seconds(store.flush))
            sealing = pool.submit(_seconds, store.settle)
            waits += _searches(store, sealing, vectors[0], sparse[0])
            seals.append(sealing.result())
    store.close()
    return Built(
        write_s=sum(writes),
        flush_s=sum(flushes),
        longest_flush_s=max(flushes),
        seal_s=sum(seals),
        searches=len(waits),
        longest_search_s=max(waits, default=None),
        peak_mb=_status("VmHWM"),
    )


def changes(variant: Variant) -> dict[str, Any]:
    """What a variant changes in the store's configuration."""
    import qdrant_edge as edge

    cold = edge.Memory.Cold
    graph = edge.HnswIndexConfig(m=16, ef_construct=100, full_scan_threshold=10_000)
    known: dict[Variant, dict[str, Any]] = {
        "default": {},
        "exact": {"quantization_config": None},
        "scalar": {"quantization_config": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, 0.99, memory=cold)},
        "binary": {"quantization_config": edge.BinaryQuantizationConfig(memory=cold)},
        "graph": {"quantization_config": None, "hnsw_config": graph},
    }
    return known[variant]


def _seconds(task: Callable[[], object]) -> float:
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def _searches(store: EdgeStore, until: Future[float], vector: Vectors, terms: Any) -> list[float]:
    """Seconds from when a search is wanted, 20 ms after the one before, to its end; until something else is done."""
    waits = []
    while True:
        wanted = time.perf_counter() + 0.02
        try:
            until.result(timeout=0.02)
            return waits
        except TimeoutError:
            store.search(vector, terms, CANDIDATES, None)
            waits.append(time.perf_counter() - wanted)


def _chunk(number: int, text: str) -> Chunk:
    return Chunk(
        id=str(UUID(int=number + 1)),
        document_id=str(UUID(int=number // 50 + 1)),
        source="",
        index=number % 50,
        start=0,
        end=len(text),
        text=text,
        headings=(),
        pages=(),
    )


def _questions(chunks: int, count: int, like: Vectors | None) -> Iterator[tuple[Vectors, str]]:
    """(vector, text): words of a chunk in their order, and its vector mixed with as much noise, or with the vector of
    another chunk of the real index."""
    words = vocabulary()
    rng = np.random.default_rng(SEED)
    for start in rng.integers(0, max(1, chunks // BATCH), size=count) * BATCH:
        of_batch = min(BATCH, chunks - int(start))
        row = int(rng.integers(of_batch))
        ranks, vector = ranks_of(int(start), of_batch)[row], vectors_of(int(start), of_batch, like)[row]
        chosen = np.sort(rng.choice(WORDS, size=QUESTION_WORDS, replace=False))
        noise = _unit(rng.standard_normal(DIMENSION).astype(np.float32))
        other = noise if like is None else like[rng.integers(len(like))]
        weight = 0.5 if like is None else 0.6
        yield _unit(weight * vector + (1 - weight) * other), " ".join(words[rank] for rank in ranks[chosen])


def ask(folder: Path, chunks: int, count: int, like: Vectors | None = None) -> Asked:
    """Search a store that :func:`build` wrote."""
    bm25 = Bm25()
    asked = [(vector, bm25.query(text)) for vector, text in _questions(chunks, count, like)]
    nearest = _nearest(np.array([vector for vector, _ in asked]), chunks, like)
    before, _ = memory_mb()
    engine: dict[str, list[float]] = {mode: [] for mode in MODES}
    store_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    store_cpu_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    found = 0
    with taped() as tape:
        began = time.perf_counter()
        store = EdgeStore(folder, DIMENSION)
        open_s = time.perf_counter() - began
        opened, _ = memory_mb()
        first_ms = [1000 * _seconds(partial(store.search, *question, CANDIDATES, None)) for question in asked]
        for (vector, terms), true in zip(asked, nearest, strict=True):
            for mode in MODES:
                dense, sparse = (vector if mode != "sparse" else None), (terms if mode != "dense" else None)
                tape.wind_back()
                began, used = time.perf_counter(), time.process_time()
                hits, _ = store.search(dense, sparse, CANDIDATES, None)
                store_ms[mode].append(1000 * (time.perf_counter() - began))
                store_cpu_ms[mode].append(1000 * (time.process_time() - used))
                engine[mode].append(1000 * sum(call.seconds for call in tape.wind_back()))
                if mode == "dense":
                    found += len(true & {hit.chunk_id for hit in hits[: len(true)]})
        store.close()
    after, files = memory_mb()
    return Asked(
        open_s=open_s,
        first_ms=first_ms,
        engine_ms=engine,
        store_ms=store_ms,
        store_cpu_ms=store_cpu_ms,
        before_mb=before,
        opened_mb=opened,
        after_mb=after,
        files_mb=files,
        recall=found / sum(map(len, nearest)),
    )


def _nearest(questions: Vectors, chunks: int, like: Vectors | None) -> list[set[str]]:
    """Ids of the ten chunks with the largest cosine to each question, all compared."""
    numbers = np.zeros((len(questions), 0), dtype=np.int64)
    cosines = np.zeros((len(questions), 0), dtype=np.float32)
    for start in range(0, chunks, BATCH):
        vectors = vectors_of(start, min(BATCH, chunks - start), like)
        these = np.broadcast_to(np.arange(start, start + len(vectors)), (len(questions), len(vectors)))
        numbers, cosines = np.hstack([numbers, these]), np.hstack([cosines, questions @ vectors.T])
        best = np.argsort(-cosines, axis=1)[:, :10]
        numbers, cosines = (np.take_along_axis(values, best, axis=1) for values in (numbers, cosines))
    return [{str(UUID(int=int(number) + 1)) for number in row} for row in numbers]


def row(name: str, milliseconds: Sequence[float]) -> str:
    """A line with median and 95th percentile."""
    return f"  {name:34}{np.median(milliseconds):10.2f}{np.quantile(milliseconds, 0.95):10.2f}"


def print_scale(scale: Scale) -> None:
    built, asked = scale.built, scale.asked
    print(f"{scale.chunks} synthetic chunks; ms a question, {CANDIDATES} candidates: median, 95th percentile")
    for mode, times in asked.engine_ms.items():
        print(row(f"{mode}: engine", times))
        print(row(f"{mode}: EdgeStore.search", asked.store_ms[mode]))
        print(row(f"{mode}: the same, processor time", asked.store_cpu_ms[mode]))
    print(f"  of the 10 nearest {asked.recall:.4f} are found")
    print(row("hybrid, asked first", asked.first_ms), f"; the very first {asked.first_ms[0]:.0f}", sep="")
    print(f"  written in {built.write_s:.1f} s, flushed in {built.flush_s:.1f} s", end="")
    print(f" (the longest {built.longest_flush_s:.2f}); {built.peak_mb:.0f} MB of memory at the peak")
    if built.longest_search_s is not None:
        print(f"  sealed in {built.seal_s:.1f} s, of {built.searches} searches meanwhile the longest took", end=" ")
        print(f"{built.longest_search_s:.2f} s")
    print(f"  {scale.disk_mb:.0f} MB on disk, {scale.length_mb:.0f} MB by the lengths of the files")
    print(
        f"  opened in {asked.open_s:.2f} s; memory: {asked.before_mb:.0f} MB before, {asked.opened_mb:.0f} MB then,",
        end="",
    )
    print(f" {asked.after_mb:.0f} MB after the searches, {asked.files_mb:.0f} MB of it mapped files")


def memory_mb() -> tuple[float, float]:
    """Resident memory of this process, and what of it are mapped files."""
    return _status("VmRSS"), _status("RssFile")


def _status(name: str) -> float:
    """Megabytes, as Linux counts them; elsewhere the most that this process ever had.

    On Linux a child's highest by getrusage starts with its parent's, so it says nothing there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines[name].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
