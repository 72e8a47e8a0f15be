"""A store of synthetic chunks, and how long hybrid searches take in it.

Words follow Zipf's law. The most frequent ones are English function words, which BM25 leaves out as it does in real
texts; the others are made of syllables. Vectors are random, of unit length: there is no easier order for a graph to
use. Questions are words of a chunk, with a vector near that chunk's.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import numpy as np
from tape import taped

from ingest.document_index import CANDIDATES
from ingest.edge import Bm25, EdgeStore
from ingest.types import Chunk, SearchMode

DIMENSION = 384
WORDS = 120
"""Words of a chunk; chunks of real documents have about so many."""
VOCABULARY = 30_000
QUESTION_WORDS = 12
BATCH = 1_000
SEED = 5
MODES: tuple[SearchMode, ...] = ("hybrid", "dense", "sparse")
_FUNCTION_WORDS = """
the of and to in a is that for it as was with be by on not he his but at are this have from or had an they which
you were all we can her has there been if more when will would who so no
"""
_SYLLABLES = [first + vowel for first in "bcdfghklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a store of so many chunks takes. Milliseconds of each question by mode: in the engine, and of the whole
    ``EdgeStore.search``, of which also the processor time, for as many candidates as the index asks for."""

    chunks: int
    write_s: float
    optimize_s: float
    disk_mb: float
    engine_ms: dict[str, list[float]]
    store_ms: dict[str, list[float]]
    store_cpu_ms: dict[str, list[float]]
    before_mb: float
    after_mb: float


def at_scale(chunks: int, questions: int) -> Scale:
    """Write a store in a process of its own, and search it in another one."""
    with TemporaryDirectory() as folder:
        write_s, optimize_s = _alone(build, Path(folder, "shard"), chunks)
        blocks = sum(path.stat().st_blocks for path in Path(folder).rglob("*") if path.is_file())
        found: dict[str, Any] = _alone(ask, Path(folder, "shard"), chunks, questions)
    return Scale(chunks=chunks, write_s=write_s, optimize_s=optimize_s, disk_mb=blocks * 512 / 1e6, **found)


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


def rows_of(start: int, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The words' ranks (count, WORDS) and the vectors (count, DIMENSION) of chunks start, start + 1, ...

    A word of rank r, from 1, has a share of about 1 / r of the text.
    """
    rng = np.random.default_rng((SEED, start))
    shares = 1 / np.arange(1, VOCABULARY + 1)
    bounds = np.cumsum(shares / shares.sum())
    ranks = np.minimum(np.searchsorted(bounds, rng.random((count, WORDS))), VOCABULARY - 1)
    vectors = rng.standard_normal((count, DIMENSION), dtype=np.float32)
    return ranks, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def build(folder: Path, chunks: int) -> tuple[float, float]:
    """Write a store; seconds for writing and for :meth:`EdgeStore.optimize`."""
    words, bm25 = vocabulary(), Bm25()
    store = EdgeStore(folder, DIMENSION)
    write = 0.0
    for start in range(0, chunks, BATCH):
        ranks, vectors = rows_of(start, min(BATCH, chunks - start))
        texts = [" ".join(words[rank] for rank in row) for row in ranks]
        batch = [_chunk(start + number, text) for number, text in enumerate(texts)]
        sparse = [bm25.document(text) for text in texts]
        began = time.perf_counter()
        store.write(batch, vectors, sparse)
        write += time.perf_counter() - began
    began = time.perf_counter()
    store.optimize()
    optimize = time.perf_counter() - began
    store.close()
    return write, optimize


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


def _questions(chunks: int, count: int) -> Iterator[tuple[np.ndarray[Any, Any], str]]:
    """(vector, text): words of a chunk in their order, and its vector with as much noise again."""
    words = vocabulary()
    rng = np.random.default_rng(SEED)
    for start in rng.integers(0, max(1, chunks // BATCH), size=count) * BATCH:
        ranks, vectors = rows_of(int(start), min(BATCH, chunks - int(start)))
        row = int(rng.integers(len(ranks)))
        chosen = np.sort(rng.choice(WORDS, size=QUESTION_WORDS, replace=False))
        noise = rng.standard_normal(DIMENSION).astype(np.float32)
        vector = vectors[row] + noise / np.linalg.norm(noise)
        yield vector / np.linalg.norm(vector), " ".join(words[rank] for rank in ranks[row][chosen])


def ask(folder: Path, chunks: int, count: int) -> dict[str, Any]:
    """Search a store that :func:`build` wrote; what :class:`Scale` has of it."""
    bm25 = Bm25()
    asked = [(vector, bm25.query(text)) for vector, text in _questions(chunks, count)]
    before = _memory_mb()
    engine: dict[str, list[float]] = {mode: [] for mode in MODES}
    store_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    store_cpu_ms: dict[str, list[float]] = {mode: [] for mode in MODES}
    with taped() as tape:
        store = EdgeStore(folder, DIMENSION)
        for vector, terms in asked[:5]:
            store.search(vector, terms, CANDIDATES, None)
        for vector, terms in asked:
            for mode in MODES:
                dense, sparse = (vector if mode != "sparse" else None), (terms if mode != "dense" else None)
                tape.wind_back()
                began, used = time.perf_counter(), time.process_time()
                store.search(dense, sparse, CANDIDATES, None)
                store_ms[mode].append(1000 * (time.perf_counter() - began))
                store_cpu_ms[mode].append(1000 * (time.process_time() - used))
                engine[mode].append(1000 * sum(call.seconds for call in tape.wind_back()))
        store.close()
    return {
        "engine_ms": engine,
        "store_ms": store_ms,
        "store_cpu_ms": store_cpu_ms,
        "before_mb": before,
        "after_mb": _memory_mb(),
    }


def _memory_mb() -> float:
    """Resident memory: at this moment where the system says so, else at its highest.

    A child's highest starts with its parent's on Linux, so it says nothing there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
