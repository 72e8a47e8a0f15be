"""Late interaction: token codes and MaxSim, against whole vectors."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.embed import HashEmbedder
from ingest.late import BITS, MINOR, TOKEN_BYTES, LateQuery, late_query, late_scores, token_codes, token_matches
from ingest.types import TokenVectors


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def query(vectors: np.ndarray, minor: list[bool] | None = None) -> LateQuery:
    tokens = TokenVectors(spans=tuple((at, at + 1) for at in range(len(vectors))), vectors=vectors)
    found = late_query(tokens, minor or [False] * len(vectors))
    assert found is not None
    return found


@pytest.mark.parametrize("dimension", [16, 64, 256, 384, 768])
def test_codes_estimate_cosines(dimension: int) -> None:
    document, asked = unit(200, dimension, 1), unit(20, dimension, 2)
    document[:20] = asked + 0.3 * document[:20]
    document /= np.linalg.norm(document, axis=1, keepdims=True)
    found = token_matches(query(asked), token_codes(document))
    assert found.shape == (200, 20)
    error = found - document @ asked.T
    assert abs(error.mean()) < 0.01
    assert np.sqrt((error**2).mean()) < math.sqrt(math.pi / 2 / BITS)  # what independent hyperplanes would give
    assert (found.argmax(axis=0) == np.arange(20)).all()


def test_codes_stay_what_they_are() -> None:
    """Stored codes outlive this process: another rotation would make every index worthless without a word."""
    for dimension, digest in ((64, "d32055ae607650ef"), (384, "7c770a1f635af12b")):
        rows = np.eye(dimension, dtype=np.float32)[:8]
        assert hashlib.sha256(token_codes(rows)).hexdigest()[:16] == digest


def test_a_score_is_the_weighted_mean_of_each_tokens_best() -> None:
    asked = unit(4, 64, 3)
    minor = [True, False, False, True]
    late = query(asked, minor)
    assert late.weights == pytest.approx(np.array([MINOR, 1, 1, MINOR]) / (2 + 2 * MINOR))
    codes = token_codes(unit(30, 64, 4))
    expected = token_matches(late, codes).max(axis=0) @ late.weights
    assert late_scores(late, [codes]) == pytest.approx([expected])


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 5), st.integers(0, 1000))
def test_chunks_are_scored_alone(lengths: list[int], tokens: int, seed: int) -> None:
    late = query(unit(tokens, 32, seed))
    chunks = [token_codes(unit(length, 32, seed + at + 1)) if length else b"" for at, length in enumerate(lengths)]
    together = late_scores(late, chunks)
    assert together.shape == (len(chunks),)
    assert together == pytest.approx([float(late_scores(late, [chunk])[0]) for chunk in chunks], abs=1e-5)
    assert all(score == 0 for score, chunk in zip(together, chunks, strict=True) if not chunk)
    assert all(len(chunk) == TOKEN_BYTES * length for chunk, length in zip(chunks, lengths, strict=True))


def test_a_chunk_with_the_words_is_above_one_without() -> None:
    embedder = HashEmbedder(dimension=128)
    texts = ["The red lamp means that a battery is low.", "Ships leave at noon.", ""]
    _, read = embedder.encode_tokens(texts)
    _, (asked,) = embedder.encode_tokens(["what does the red lamp mean"])
    late = late_query(asked, [False] * len(asked.vectors))
    assert late is not None
    scores = late_scores(late, [token_codes(item.vectors) for item in read])
    assert scores[0] > 0.4 > scores[1] > -0.2
    assert scores[2] == 0


def test_a_question_without_tokens_has_no_query() -> None:
    _, (nothing,) = HashEmbedder().encode_tokens(["  "])
    assert late_query(nothing, []) is None
    assert BITS % 8 == 0
