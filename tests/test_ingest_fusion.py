"""The ranking that comes of two candidate lists and late interaction."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.embed import HashEmbedder
from ingest.fusion import DENSE, LATE, RERANKED, SPARSE, fuse
from ingest.late import late_query, token_codes
from ingest.types import Candidate

EMBEDDER = HashEmbedder(dimension=128)


def hit(name: str, score: float) -> Candidate:
    return Candidate(chunk_id=name, document_id=name, index=0, score=score)


def no_codes(hits: Sequence[Candidate]) -> list[bytes]:
    return [b""] * len(hits)


def names(hits: Sequence[Candidate]) -> list[str]:
    return [item.chunk_id for item in hits]


def test_scores_count_and_not_ranks_alone() -> None:
    dense = [hit("a", 0.9), hit("b", 0.3), hit("c", 0.29)]
    sparse = [hit("b", 10.0), hit("a", 9.5), hit("d", 1.0)]
    found = fuse(dense, sparse, None, no_codes, 10)
    assert names(found) == ["a", "b", "c", "d"]
    assert all(0 <= item.score <= 1 for item in found)


def test_what_one_search_did_not_find_counts_as_its_last() -> None:
    dense = [hit("a", 0.5), hit("b", 0.4)]
    (a, c, b) = fuse(dense, [hit("a", 4.0), hit("c", 4.0)], None, no_codes, 10)
    assert (a.chunk_id, c.chunk_id, b.chunk_id) == ("a", "b", "c")
    assert c.score == (0.4 / 0.5 + 1.0) / 2
    assert b.score == (0.4 / 0.5 + 1.0) / 2


def test_late_interaction_decides_among_candidates() -> None:
    texts = {"near": "boats and ships at sea", "right": "the battery of the red lamp"}
    _, (asked,) = EMBEDDER.encode_tokens(["battery of the red lamp"])
    late = late_query(asked, [False] * len(asked.vectors))
    codes = {name: token_codes(EMBEDDER.encode_tokens([text])[1][0].vectors) for name, text in texts.items()}
    found = fuse(
        [hit("near", 0.5), hit("right", 0.4)], [], late, lambda hits: [codes[item.chunk_id] for item in hits], 5
    )
    assert names(found) == ["right", "near"]
    assert [item.codes for item in found] == [codes["right"], codes["near"]]
    assert abs(LATE + DENSE + SPARSE - 1) < 1e-9


def test_nothing_found_is_nothing() -> None:
    assert fuse([], [], None, no_codes, 5) == []


@given(
    st.lists(st.tuples(st.integers(0, 60), st.floats(-1, 1, width=32)), max_size=60, unique_by=lambda pair: pair[0]),
    st.lists(st.tuples(st.integers(0, 60), st.floats(0, 30, width=32)), max_size=60, unique_by=lambda pair: pair[0]),
    st.integers(1, 80),
    st.booleans(),
)
def test_every_candidate_comes_once(
    nearest: list[tuple[int, float]], matching: list[tuple[int, float]], limit: int, with_late: bool
) -> None:
    dense, sparse = ([hit(str(n), s) for n, s in sorted(p, key=lambda x: -x[1])] for p in (nearest, matching))
    _, (asked,) = EMBEDDER.encode_tokens(["red lamp"])
    late = late_query(asked, [False, False]) if with_late else None
    found = fuse(dense, sparse, late, lambda hits: [token_codes(np.ones((2, 128), np.float32)) for _ in hits], limit)
    candidates = {item.chunk_id for item in (*dense, *sparse)}
    assert len(names(found)) == len(set(names(found)))
    assert set(names(found)) <= candidates
    assert len(found) == min(len(candidates), max(RERANKED, limit) if with_late else limit)
    assert all(one.score >= other.score for one, other in itertools.pairwise(found))
