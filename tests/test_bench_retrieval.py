"""The benchmarks of retrieval and search, through their functions, on sets small enough to know the figures of."""

import json
import random
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from ingest_support import light_parse_files

from eval.errors import InputError
from eval.retrieval_scores import mrr_at_10, ndcg_at_10, recall_at_5
from eval.types import Case, Record
from ingest import edge, pipeline
from ingest.embed import HashEmbedder
from ingest.types import Chunk, ScoredChunk
from rag.retriever import Retriever
from rag.types import Passage

sys.path.append(str(ROOT / "bench"))

import fetch_squad
import retrieval
import retrieval_sets
import search
import synthetic
from tape import taped

TEXTS = {
    "boats": "The ferry Orrin carries 214 passengers across the fjord.",
    "crew": "Marit Solheim is chief engineer.",
    "pets": "Dogs travel free on the open deck.",
    "food": "The kitchen closes at nine in the evening.",
}
QUERIES = {
    "q1": ("Who is the chief engineer?", {"crew": 1, "food": 0}),
    "q2": ("Which passengers travel on the deck?", {"pets": 1, "boats": 1}),
    "q3": ("zeppelin moorings", {"gone": 1}),
}


def write_lines(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    write_lines(folder / "corpus.jsonl", [{"_id": id_, "title": "", "text": text} for id_, text in TEXTS.items()])
    write_lines(folder / "queries.jsonl", [{"_id": id_, "text": text} for id_, (text, _) in QUERIES.items()])
    (folder / "qrels").mkdir()
    judged = [f"{id_}\t{doc}\t{grade}" for id_, (_, docs) in QUERIES.items() for doc, grade in docs.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]), encoding="utf-8")
    return folder


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process, line by line."""
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)


def hits(*sources: str) -> list[ScoredChunk]:
    return [
        ScoredChunk(
            chunk=Chunk(
                id=str(place),
                document_id=source,
                source=source,
                index=place,
                start=0,
                end=1,
                text=TEXTS.get(source, "."),
                headings=(),
                pages=(),
            ),
            score=-float(place),
        )
        for place, source in enumerate(sources)
    ]


@pytest.mark.usefixtures("light")
def test_a_beir_folder_from_its_files_to_the_table(
    beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, embedder = retrieval_sets.read_set(beir), HashEmbedder(256)
    cases = data.rows["all"]
    for _ in range(2):  # the second time from what the first one kept
        with retrieval_sets.indexed(data, embedder, tmp_path / "kept") as index:
            assert len(index.documents()) == len(TEXTS)
            found = retrieval.retrieve(index, embedder, cases, retrieval.CONFIGURATIONS["sparse"])
            measured = [retrieval.measure(case, one.hits) for case, one in zip(cases, found, strict=True)]
            retrieval.run(data, index, embedder, k=10, answers=True)
    assert measured[0] == {"recall@1": 1.0, "recall@5": 1.0, "recall@10": 1.0, "MRR@10": 1.0, "nDCG@10": 1.0}
    assert (measured[1]["recall@1"], measured[1]["recall@5"]) == (0.5, 1.0)
    assert set(measured[2].values()) == {0.0}
    columns = retrieval.columns_of(cases, measured)
    assert columns["recall@1"].value == pytest.approx(0.5)
    table = capsys.readouterr().out
    assert "all: 3 questions, 3 clusters" in table
    assert re.search(r"^sparse +0\.500 \[", table, re.MULTILINE)
    assert table.count("hybrid - ") == 6
    assert len(list((tmp_path / "kept").iterdir())) == 1


@given(
    st.lists(st.sampled_from("abcdefghijklmnop"), max_size=40),
    st.sets(st.sampled_from("abcdxyz"), min_size=1),
)
def test_measures_are_those_of_the_evaluation(ranking: list[str], gold: set[str]) -> None:
    case = Case(id="1", question="?", gold_docs=tuple(sorted(gold)))
    found = retrieval.measure(case, hits(*ranking))
    passages = tuple(
        Passage.of(hit.chunk, number=rank, score=hit.score)
        for rank, hit in enumerate(hits(*dict.fromkeys(ranking)), start=1)
    )
    record = Record(id="1", answer="", retrieved=passages)
    scores = (recall_at_5(case, record), mrr_at_10(case, record), ndcg_at_10(case, record))
    assert [found["recall@5"], found["MRR@10"], found["nDCG@10"]] == pytest.approx([score.value for score in scores])


@pytest.mark.parametrize(
    ("answers", "text", "end"),
    [
        (["214"], "It carries 214 people.", 14),
        (["21"], "It carries 214 people.", None),
        (["no", "MARIT  Solheim"], "Nothing is known of Marit Solheim.", 33),
        (["$5 (net)"], "It costs $5 (net), no more.", 17),
        (["a.b"], "acb", None),
        ([], "text", None),
    ],
)
def test_an_answer_stands_there_as_whole_words(answers: list[str], text: str, end: int | None) -> None:
    assert retrieval.answer_end(answers, text) == end


def test_how_soon_an_answer_is_read() -> None:
    case = Case(id="1", question="?", answers=("free on  the open",))
    read = retrieval.answered(case, [*hits("boats") * 33, *hits("pets")], HashEmbedder().counter)
    assert read == {
        "2,000 chars": 1.0,
        "6,000 chars": 1.0,
        "256 tokens": 0.0,
        "512 tokens": 1.0,
        "1,024 tokens": 1.0,
        "2,048 tokens": 1.0,
    }
    assert set(retrieval.answered(case, [], HashEmbedder().counter).values()) == {0.0}


def test_halves_part_the_clusters_and_samples_spread_over_them() -> None:
    cases = [Case(id=f"{n}", question="?", cluster=f"article {n % 20}" if n < 190 else "small") for n in range(200)]
    halves = [retrieval_sets.half_of(cases, half) for half in ("dev", "test")]
    clusters = [{case.cluster for case in half} for half in halves]
    assert not clusters[0] & clusters[1]
    assert clusters[0]
    assert clusters[1]
    assert sorted(case.id for half in halves for case in half) == sorted(case.id for case in cases)
    for count in (0, 5, 21, 42, 500):
        sample = retrieval_sets.sample_of(cases, count)
        assert sample == retrieval_sets.sample_of(random.Random(count).sample(cases, len(cases)), count)
        assert len({case.id for case in sample}) == len(sample) == min(count, len(cases))
        assert len({case.cluster for case in sample}) == min(count, 21)


def test_questions_to_a_folder_and_data_of_no_known_shape(tmp_path: Path, beir: Path) -> None:
    rows = [
        {"id": "1", "question": "Who?", "gold_docs": ["crew.md"], "gold_quotes": ["Marit"], "kind": "answerable"},
        {"id": "2", "question": "Why?", "kind": "near_miss", "gold_docs": ["crew.md"]},
    ]
    questions = write_lines(tmp_path / "asked.jsonl", rows)
    data = retrieval_sets.read_set(beir, questions)
    assert not data.written
    assert {kind: [(case.id, case.gold_quotes) for case in found] for kind, found in data.rows.items()} == {
        "answerable": [("1", ())]
    }
    with pytest.raises(InputError, match="no question is left"):
        data.narrowed(half=None, sample=0)
    with pytest.raises(InputError, match=r"no corpus\.jsonl"):
        retrieval_sets.read_set(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        retrieval_sets.read_set(questions, questions)
    with pytest.raises(InputError, match="no question with gold_docs"):
        retrieval_sets.read_set(beir, write_lines(tmp_path / "none.jsonl", rows[1:]))


@pytest.mark.usefixtures("light")
def test_what_the_engine_is_asked_is_asked_again(beir: Path) -> None:
    data, embedder = retrieval_sets.read_set(beir), HashEmbedder()
    questions = [case.question for case in data.rows["all"]]
    with taped(embedder) as tape, retrieval_sets.indexed(data, embedder) as index:
        retriever = Retriever(index, embedder)
        tape.wind_back()
        retriever.search(questions[0])
        assert {call.part for call in tape.wind_back()} == {"embedder", "engine", "rerank"}
        assert not tape.calls
        times = search.overhead(retriever, tape, questions, k=2)
        assert {len(times[name]) for name in search.ROWS} == {len(questions)}
        for place in range(len(questions)):
            parts = [times[part][place] for part in ("embedder", "engine", "rerank")]
            assert min(parts) > 0
            assert sum(parts) <= times["bare"][place]
        rates = search.rates(retriever, questions, k=2)
        assert min(rates.alone, rates.batch) > 0
    assert "encode" not in vars(embedder)
    assert search.ratio({"ours": [9.0, 11.0, 10.0], "bare": [7.0, 8.0, 9.0]}) == 1.25


def test_a_store_of_synthetic_chunks_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(edge, "SEALED", 500)
        built = synthetic.build(tmp_path / "shard", 1200, "scalar")
    assert min(built.write_s, built.flush_s, built.seal_s) > 0
    assert built.searches
    assert built.longest_search_s
    asked = synthetic.ask(tmp_path / "shard", 1200, 3)
    for mode in synthetic.MODES:
        assert len(asked.engine_ms[mode]) == 3
        assert all(0 < a <= b for a, b in zip(asked.engine_ms[mode], asked.store_ms[mode], strict=True))
    assert asked.recall > 0.9
    whole = synthetic.Scale(chunks=1200, built=built, asked=asked, disk_mb=1.0, length_mb=2.0)
    synthetic.print_scale(whole)
    assert "1200 synthetic chunks" in capsys.readouterr().out


def test_synthetic_words_and_vectors() -> None:
    ranks, vectors = synthetic.ranks_of(0, 50), synthetic.vectors_of(0, 50)
    assert ranks.max() < len(synthetic.vocabulary()) == synthetic.VOCABULARY
    assert (ranks == 0).mean() == pytest.approx(0.09, abs=0.03)
    assert (vectors**2).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    like = synthetic.vectors_of(0, 20)
    mixed = synthetic.vectors_of(0, 50, like)
    assert (mixed**2).sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert ((mixed @ like.T).max(axis=1) > 0.6).all()


def test_answers_of_squad_are_moved_to_where_they_stand(tmp_path: Path) -> None:
    def squad(start: int) -> dict[str, Any]:
        question = {"id": "1", "answers": [{"text": " two", "answer_start": start}]}
        return {"version": "1.1", "data": [{"paragraphs": [{"context": "a, two, b, two", "qas": [question]}]}]}

    assert fetch_squad.mended(squad(2)) == (squad(2), 0)
    assert fetch_squad.mended(squad(3)) == (squad(2), 1)
    assert fetch_squad.mended(squad(9)) == (squad(10), 1)
    file = write_lines(tmp_path / "squaddev_v1.1.json", [squad(2)])
    with tarfile.open(tmp_path / "made.tar.gz", "w:gz") as archive:
        archive.add(file, arcname="bigbench-1.0.0/tasks/squad_shifts/squaddev_v1.1.json")
    assert json.loads(fetch_squad.member(tmp_path / "made.tar.gz")) == squad(2)
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    with pytest.raises(SystemExit, match="holds no"):
        fetch_squad.member(tmp_path / "empty.tar.gz")
