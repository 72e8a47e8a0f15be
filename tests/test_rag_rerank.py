"""``--rerank``: none, late, and a real (random, tiny) cross-encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import EmbedderError
from ingest.pipeline import ingest
from rag.errors import SettingsError
from rag.rerank import open_reranker
from rag.retriever import Retriever

TEXTS = {
    "ferry.md": "# Ferry\n\nThe ferry Orrin carries 214 passengers and leaves at noon.\n",
    "lamp.md": "# Lamp\n\nA red lamp on the station means that its battery is low.\n",
    "cook.md": "# Cook\n\nThe cook serves soup at noon on the upper deck.\n",
}


def save_encoder(folder: Path, labels: dict[int, str]) -> Path:
    """A cross-encoder of random weights, small enough to be made here."""
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    words = sorted({word for text in TEXTS.values() for word in text.lower().replace(".", " ").split()})
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> EdgeIndex:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in TEXTS.items():
        (docs / name).write_text(text)
    embedder = HashEmbedder()
    opened = EdgeIndex(tmp_path / "index", embedder, create=True)
    ingest([docs], opened, embedder)
    return opened


def test_a_cross_encoder_orders_by_its_own_scores(index: EdgeIndex, tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "cross", {0: "LABEL_0"})
    question = "what does the red lamp mean"
    with index:
        plain = Retriever(index, HashEmbedder()).search(question, k=3)
        crossed = Retriever(index, HashEmbedder(), rerank=f"cross:{folder}").search(question, k=3)
        best = Retriever(index, HashEmbedder(), rerank=f"cross:{folder}").search(question, k=1)
        sparse = Retriever(index, HashEmbedder(), rerank=f"cross:{folder}").search(question, k=3, mode="sparse")
    assert {hit.chunk.id for hit in crossed.hits} == {hit.chunk.id for hit in plain.hits}
    scores = [hit.score for hit in crossed.hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert scores != [hit.score for hit in plain.hits]
    reranker = open_reranker(f"cross:{folder}")
    assert reranker is not None
    assert [h.score for h in reranker.rerank(question, plain.hits)] == pytest.approx(scores, abs=1e-6)
    assert best.hits[0].chunk.id == crossed.hits[0].chunk.id
    assert sparse.rerank_ms < crossed.rerank_ms


def test_late_and_none_find_the_same_candidates(index: EdgeIndex) -> None:
    with index:
        late = Retriever(index, HashEmbedder()).search("red lamp battery", k=3)
        none = Retriever(index, HashEmbedder(), rerank="none").search("red lamp battery", k=3)
    assert late.hits[0].chunk.source == none.hits[0].chunk.source == "lamp.md"
    assert {hit.chunk.id for hit in late.hits} == {hit.chunk.id for hit in none.hits}
    assert late.late is not None
    assert all(hit.codes for hit in late.hits)
    assert none.late is None
    assert not any(hit.codes for hit in none.hits)


@pytest.mark.parametrize("spec", ["", "cross", "cross:", "bm25", "late:x"])
def test_an_unknown_spec_is_refused(spec: str) -> None:
    with pytest.raises(SettingsError, match="late, none or cross:MODEL"):
        open_reranker(spec)


def test_a_missing_or_unfit_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmbedderError, match="not on this machine"):
        open_reranker(f"cross:{tmp_path / 'nothing'}")
    folder = save_encoder(tmp_path / "nli", {0: "entailment", 1: "neutral"})
    with pytest.raises(SettingsError, match="2 outputs"):
        open_reranker(f"cross:{folder}")
