"""The conversational cases: well formed, evenly split by document, and true to the stored texts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from eval.cases import read_cases
from ingest.embed import open_embedder
from ingest.index import open_index

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "data" / "eval" / "conversations.jsonl"
TEXTS = ("id", "question", "kind", "standalone", "cluster", "split")
LISTS = ("gold_quotes", "gold_docs", "answers")
PER_SPLIT = {"follow_up": 25, "topic_change": 10, "standalone": 10}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def stored(corpus_index: Path) -> dict[str, str]:
    """By source, the text of every document as the index keeps it."""
    with open_index(str(corpus_index), open_embedder()) as index:
        return {document.source: index.catalogue.text(document.document_id) for document in index.documents()}


def test_the_case_reader_takes_the_file() -> None:
    cases = read_cases(FILE)
    assert len(cases) == 90
    assert all(case.history and case.answerable for case in cases)


def test_every_field_is_there(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        assert set(row) == {*TEXTS, *LISTS, "history"}
        assert all(isinstance(row[name], str) and row[name].strip() == row[name] != "" for name in TEXTS)
        for name in LISTS:
            assert row[name]
            assert all(isinstance(text, str) and text.strip() == text != "" for text in row[name])


def test_ids_questions_and_gold_passages_are_unique(rows: list[dict[str, Any]]) -> None:
    quotes = [quote for row in rows for quote in row["gold_quotes"]]
    for values in ([row["id"] for row in rows], [row["standalone"] for row in rows], quotes):
        assert len(set(values)) == len(values)


def test_kinds_are_the_same_in_both_splits(rows: list[dict[str, Any]]) -> None:
    counts = Counter((row["split"], row["kind"]) for row in rows)
    assert counts == {(split, kind): n for split in ("dev", "test") for kind, n in PER_SPLIT.items()}


def test_no_document_is_in_both_splits(rows: list[dict[str, Any]]) -> None:
    splits: dict[str, set[str]] = {}
    for row in rows:
        assert row["cluster"] == row["gold_docs"][0]
        for source in row["gold_docs"]:
            splits.setdefault(source, set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())


def test_histories_are_one_to_three_pairs_that_alternate(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        roles = [message["role"] for message in row["history"]]
        assert roles in (["user", "assistant"] * pairs for pairs in (1, 2, 3))
        assert all(set(message) == {"role", "content"} and message["content"].strip() for message in row["history"])


def test_every_quote_is_once_in_its_document_and_nowhere_else(
    rows: list[dict[str, Any]], stored: dict[str, str]
) -> None:
    assert {row["cluster"] for row in rows} == set(stored)
    for row in rows:
        for quote in row["gold_quotes"]:
            found = {source: text.count(quote) for source, text in stored.items() if quote in text}
            assert found == {row["cluster"]: 1}, (row["id"], quote)
