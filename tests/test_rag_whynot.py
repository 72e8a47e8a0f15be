"""Every stage at which a text can be lost is named, and nothing else is claimed."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ingest_support import parse_files_here, write_files
from typer.testing import CliRunner

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import SourceNotFoundError
from ingest.pipeline import ingest
from rag.cli.main import app
from rag.retriever import Retriever
from rag.types import Passage
from rag.whynot import Prompted, WhyNot, explain

EMBEDDER = HashEmbedder(64)
PLACES = ["office", "pier", "slip", "crane", "store", "shed", "bank", "school", "chapel", "inn", "mill", "forge"]
RULES = [f"Rule {n}: the {PLACES[n % 12]} of the harbour is open at {n} in the morning." for n in range(48)]
DOCS: dict[str, str | bytes] = {
    "rules.md": "# Rules\n\n" + "\n\n".join(RULES),
    "site/page.html": "<nav>Home Prices Contact</nav><p>The ferry, in winter, leaves at noon.</p>"
    "<object>Zeppelin</object><table><tr><td>Noon</td></tr></table><script>hidden()</script>",
    "site/copy.html": "<nav>Home Prices Contact</nav><p>The ferry, in winter, leaves at noon.</p>"
    "<object>Zeppelin</object><table><tr><td>Noon</td></tr></table><script>hidden()</script>",
    "broken.pdf": b"this is no PDF",
}


@pytest.fixture(autouse=True, scope="module")
def _here() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "parse_files", parse_files_here)
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whynot")
    docs = write_files(home / "docs", DOCS)
    with EdgeIndex(home / "index", EMBEDDER, create=True) as index:
        report = ingest([docs], index, EMBEDDER)
    assert [failure.source for failure in report.failed] == ["broken.pdf"]
    return home


@pytest.fixture
def index(made: Path, tmp_path: Path) -> Iterator[EdgeIndex]:
    """A copy that may be damaged; its files are where they were."""
    shutil.copytree(made / "index", tmp_path / "index")
    with EdgeIndex(tmp_path / "index", EMBEDDER) as opened:
        yield opened


def asked(
    index: EdgeIndex, source: str, text: str, question: str = "", k: int = 50, prompted: Prompted | None = None
) -> WhyNot:
    retriever = Retriever(index, EMBEDDER)

    def all_of_them(question: str) -> Sequence[Passage]:
        hits = retriever.search(question, k=k).hits
        return [Passage.of(hit.chunk, number=n, score=hit.score) for n, hit in enumerate(hits, start=1)]

    return explain(index, retriever, prompted or all_of_them, source, text, question or text, k)


@pytest.mark.parametrize(
    ("source", "text", "stage", "told"),
    [
        ("page.html", "The ferry, in winter, leaves at noon.", "found", "at rank 1 of "),
        ("page.html", "in \n winter,  leaves", "found", "at rank 1 of "),
        ("page.html", "the FERRY in winter leaves - at noon", "found", "at rank 1 of "),
        ("copy.html", "The ferry, in winter", "found", "at rank 1 of "),
        ("rules.md", f"{RULES[2]} {RULES[3]} {RULES[4]} {RULES[5]} {RULES[6]}", "found", "at rank "),
        (
            "page.html",
            "Prices Contact",
            "boilerplate",
            "(navigation, or outside of the main part of the page): 'Home P",
        ),
        ("page.html", "airship", "parse", "nor does the file seem to hold it: compare"),
        ("page.html", "ferr", "found", "at rank "),
        ("page.html", "erry in wint", "parse", "nor does the file seem"),
        ("page.html", "hidden()", "parse", "nor does the file seem"),
        ("page.html", "ZEPPELIN", "parse", "although the file holds it: please report"),
        ("broken.pdf", "no PDF", "parse", "the file could not be read: not a PDF although its name says so"),
    ],
)
def test_stages(index: EdgeIndex, source: str, text: str, stage: str, told: str) -> None:
    found = asked(index, source, text)
    assert (found.stage, found.chunks) == (stage, index.catalogue.chunk_count())
    assert found.source.endswith(source)
    assert told in found.detail
    assert (found.rank is not None) == (stage == "found")


def test_a_text_over_a_border_needs_all_its_chunks(index: EdgeIndex) -> None:
    document = index.catalogue.find("rules.md")
    first, second, *_ = index.chunks_of(document)
    across = f"{first.text[-70:]} {second.text[:70]}"
    assert across not in first.text
    found = asked(index, "rules.md", across)
    assert found.stage == "found"
    alone = asked(index, "rules.md", first.text)
    assert alone.stage == "found"
    ranks = {hit.chunk.id: n for n, hit in enumerate(Retriever(index, EMBEDDER).search(across, k=50).hits, start=1)}
    assert found.rank == max(ranks[first.id], ranks[second.id])


def test_rank_and_budget(index: EdgeIndex) -> None:
    question, text = "which rule is of the harbour pier", RULES[11]
    rank = asked(index, "rules.md", text, question).rank
    assert rank is not None
    assert rank > 1
    for k in (1, rank - 1):
        below = asked(index, "rules.md", text, question, k=k)
        assert below.stage == "rank"
        assert below.detail.endswith(f"below the {k} that are used")
        assert below.rank is not None
        assert below.rank > k
    at = asked(index, "rules.md", text, question, k=rank)
    assert (at.stage, at.rank) == ("found", rank)
    assert asked(index, "page.html", "ferry", "harbour rule morning", k=1).stage == "rank"
    retriever = Retriever(index, EMBEDDER)
    by_words = explain(index, retriever, lambda _: (), "page.html", "ferry", "zeppelin", 50, "sparse")
    assert (by_words.stage, by_words.rank) == ("rank", None), "no word of the question is in it"
    cut = asked(index, "page.html", "ferry", prompted=lambda _: ())
    assert (cut.stage, cut.rank) == ("budget", 1)
    assert "but nothing of its document fit into the prompt" in cut.detail
    passage = Passage(
        number=1, text="leaves", source="site/copy.html", start=23, end=29, pages=(), headings=(), score=1.0
    )
    cut = asked(index, "page.html", "ferry", prompted=lambda _: (passage,))
    assert (cut.stage, "but only other sentences of its document fit" in cut.detail) == ("budget", True)


def test_beyond_the_ranks_that_are_looked_at(index: EdgeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.whynot.DEPTH", 1)
    found = asked(index, "page.html", "ferry", "harbour rule morning", k=1)
    assert (found.stage, found.rank) == ("rank", None)
    assert found.detail.startswith("not among the first 1 of ")


def test_a_file_that_has_changed_or_gone(made: Path, index: EdgeIndex) -> None:
    file = made / "docs" / "rules.md"
    before = file.stat()
    file.write_text("# Rules\n\nThe airship lands on Sundays.")
    try:
        assert "the file has changed since: ingest it again" in asked(index, "rules.md", "airship").detail
        file.unlink()
        assert asked(index, "rules.md", "airship").detail.endswith(
            "extracted from the file: compare with another wording of it"
        )
        assert asked(index, "rules.md", RULES[0]).stage == "found", "the index needs no file"
    finally:
        write_files(made / "docs", {"rules.md": DOCS["rules.md"]})
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_of_which_only_an_older_version_could_be_read(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"plan.json": '{"plan": "to paint the boat"}', "b.md": "Else."})
    with EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
        ingest([docs], index, EMBEDDER)
        write_files(docs, {"plan.json": '{"plan": "to sell the boat'})
        assert len(ingest([docs], index, EMBEDDER).failed) == 1
        assert asked(index, "plan.json", "paint the boat").stage == "found"
        found = asked(index, "plan.json", "sell the boat")
    assert (found.stage, "the file as it is now could not be read: not valid JSON" in found.detail) == ("parse", True)


def test_what_is_lost_of_the_index(index: EdgeIndex) -> None:
    document = index.catalogue.find("rules.md")
    index.store.delete([document.document_id])
    index.store.flush()
    gone = asked(index, "rules.md", RULES[0])
    assert (gone.stage, "but not in the index as it was: run 'rag docs verify'" in gone.detail) == ("index", True)
    run_sql(index, "DELETE FROM chunks WHERE chunk=0 AND document_id=?", document.document_id)
    first = asked(index, "rules.md", "Rules")
    assert (first.stage, "chunks are there" in first.detail) == ("index", True)
    run_sql(index, "UPDATE documents SET chunks=chunks - 1 WHERE id=?", document.document_id)
    first = asked(index, "rules.md", "Rules")
    assert (first.stage, first.detail) == ("chunk", "5 of its characters are in no chunk: please report this")
    index.catalogue.lose([document.document_id])
    lost = asked(index, "rules.md", RULES[0])
    assert (lost.stage, "ingest its folder again" in lost.detail) == ("index", True)


def run_sql(index: EdgeIndex, statement: str, value: str) -> None:
    index.catalogue._db.execute(statement, (value,))


def test_a_source_that_was_never_seen(index: EdgeIndex) -> None:
    with pytest.raises(SourceNotFoundError, match="docs list"):
        asked(index, "nowhere.md", "text")


def test_the_commands(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: EMBEDDER)
    index = ["--index", str(made / "index")]

    def ran(*arguments: str, code: int) -> Any:
        done = CliRunner().invoke(app, [*arguments, *index, "--json"])
        assert done.exit_code == code, done.output
        return json.loads(done.stdout)

    told = ran("why-not", "page.html", "Home Prices", code=1)
    assert set(told) == {"stage", "detail", "source", "rank", "chunks"}
    assert (told["stage"], told["source"]) == ("boilerplate", "site/page.html")
    listed = {document["source"]: document for document in ran("docs", "list", code=0)["documents"]}
    assert [(one["coverage"], one["warnings"]) for one in listed.values()] == [(1.0, [])] * 3
    lines = CliRunner().invoke(app, ["docs", "list", *index])
    assert "in no chunk" not in lines.stdout
    assert "failed: broken.pdf: not a PDF" in lines.stderr
    empty = CliRunner().invoke(app, ["why-not", "page.html", " \n", *index])
    assert (empty.exit_code, "the text is empty" in empty.output) == (2, True)


def test_what_looks_wrong_is_told_by_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.embed.open_embedder", lambda _: EMBEDDER)
    garbled = "Crème brûlée à la carte.".encode().decode("cp1252")
    docs = write_files(tmp_path / "docs", {"menu.txt": garbled, "sound.txt": "Bread and cheese."})
    index = ["--index", str(tmp_path / "index")]
    made = CliRunner().invoke(app, ["ingest", str(docs), "--json", *index])
    assert made.exit_code == 0, made.output
    (told,) = json.loads(made.stdout)["warnings"]
    assert told["source"] == "menu.txt"
    assert "another encoding ('Ã¨', 'Ã»', 'Ã©')" in told["warning"]
    listed = CliRunner().invoke(app, ["docs", "list", *index])
    assert listed.stderr == f"warning: menu.txt: {told['warning']}\n"
    write_files(docs, {"menu.txt": f"{garbled} Else."})
    again = CliRunner().invoke(app, ["ingest", str(docs), *index])
    assert (again.exit_code, again.stderr.count("warning: menu.txt: its text looks as if")) == (0, 1)
    with EdgeIndex(tmp_path / "index", EMBEDDER) as opened:
        opened.catalogue._db.execute("UPDATE documents SET covered=covered - 3 WHERE warnings != '[]'")
    short = CliRunner().invoke(app, ["docs", "list", *index])
    assert "menu.txt  (3 of its " in short.stdout
    assert "sound.txt\n" in short.stdout
