"""Embedding: the arithmetic that a processor is best at, and vectors that stay what they are."""

import numpy as np
import pytest
import torch

from ingest.embed import open_embedder

TEXTS = ["The ferry leaves at nine.", "Dogs travel free in winter. " * 20, "E-71: pressure port blocked", "x"]


@pytest.mark.parametrize("told", [{"avx512_bf16": True}, {"amx_bf16": True}])
def test_bfloat16_hardly_moves_a_vector(told: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = open_embedder()
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    exact, exact_tokens = embedder.encode_tokens(TEXTS)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told)
    found, tokens = embedder.encode_tokens(TEXTS)
    assert found.dtype == np.float32
    assert not np.array_equal(found, exact), "bfloat16 was not used"
    assert np.einsum("ij,ij->i", found, exact).min() > 0.999
    assert np.einsum("ij,ij->i", embedder.encode(TEXTS), exact).min() > 0.999
    for ours, theirs in zip(tokens, exact_tokens, strict=True):
        assert ours.spans == theirs.spans
        assert np.einsum("ij,ij->i", ours.vectors, theirs.vectors).min() > 0.99


def test_a_processor_without_bfloat16_keeps_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = open_embedder()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False})
    first = embedder.encode(TEXTS)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert np.array_equal(first, embedder.encode(TEXTS))
