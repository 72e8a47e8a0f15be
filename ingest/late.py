"""Late interaction: how well each word of a question is met somewhere in a chunk, from 32 bytes a token.

A token's vector is kept as the sides of 256 random hyperplanes on which it lies (Charikar 2002), the hyperplanes in
blocks of orthogonal ones (Ji et al. 2012). A chunk's score is MaxSim (Khattab and Zaharia 2020): for each token of the
question the cosine of the chunk's token that is nearest, averaged with weights. This loses little against whole
vectors, at a fiftieth of their size (docs/decisions/0015-retrieval.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ingest.types import TokenVectors, Vectors

BITS = 256
"""Hyperplanes, a multiple of 8."""
TOKEN_BYTES = BITS // 8
MINOR = 0.2
"""Weight of a question's stop word or punctuation mark against that of a content word."""
_SEED = 20_251


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LateQuery:
    """A question ready to be compared: ``vectors`` float32 (tokens, BITS), its unit token vectors seen from the
    hyperplanes; ``weights`` float32 (tokens,), adding up to 1."""

    vectors: Vectors
    weights: Vectors


@lru_cache(maxsize=4)
def _hyperplanes(dimension: int) -> Vectors:
    """float32 (dimension, BITS); the same for ever, for what is stored depends on them."""
    random = np.random.RandomState(_SEED)
    blocks: list[np.ndarray] = []
    while sum(block.shape[1] for block in blocks) < BITS:
        basis, triangle = np.linalg.qr(random.standard_normal((dimension, dimension)))
        blocks.append(basis * np.sign(np.diag(triangle)))
    planes: Vectors = (np.hstack(blocks)[:, :BITS] * math.sqrt(dimension)).astype(np.float32)
    return planes


def token_codes(vectors: Vectors) -> bytes:
    """TOKEN_BYTES bytes for each row of ``vectors`` (tokens, dimension)."""
    return np.packbits(vectors @ _hyperplanes(vectors.shape[1]) > 0, axis=1).tobytes()


def late_query(tokens: TokenVectors, minor: Sequence[bool]) -> LateQuery | None:
    """A question by its token vectors; ``minor`` says which of them are of no content word. None without tokens."""
    if not len(tokens.vectors):
        return None
    weights = np.where(np.asarray(minor), np.float32(MINOR), np.float32(1.0))
    # A unit vector's mean product with the signs of one at cosine c is c * sqrt(2 / pi).
    seen = tokens.vectors @ _hyperplanes(tokens.vectors.shape[1]) * (math.sqrt(math.pi / 2) / BITS)
    return LateQuery(vectors=seen.astype(np.float32), weights=weights / weights.sum())


def token_matches(query: LateQuery, codes: bytes) -> Vectors:
    """float32 (tokens of the chunk, tokens of the question): estimated cosines, -1 to 1 with noise of about 0.07."""
    packed = np.frombuffer(codes, dtype=np.uint8).reshape(-1, TOKEN_BYTES)
    bits = np.unpackbits(packed, axis=1).astype(np.float32)
    found: Vectors = 2.0 * (bits @ query.vectors.T) - query.vectors.sum(axis=1)
    return found


def late_scores(query: LateQuery, chunks: Sequence[bytes]) -> Vectors:
    """float32 (chunks,): MaxSim of the question with each chunk by its codes, about 0 to 1; 0 for one without codes."""
    scores = np.zeros(len(chunks), dtype=np.float32)
    held = [number for number, codes in enumerate(chunks) if codes]
    if held:
        matches = token_matches(query, b"".join(chunks[number] for number in held))
        starts = np.cumsum([0, *(len(chunks[number]) // TOKEN_BYTES for number in held[:-1])])
        scores[held] = np.maximum.reduceat(matches, starts, axis=0) @ query.weights
    return scores
