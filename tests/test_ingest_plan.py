"""``rag ingest --dry-run`` (that a run does what a plan says: the state machine of test_ingest_states.py)."""

import json
import os
from pathlib import Path

import pytest
from ingest_support import CountingEmbedder, light_parse_files, write_files
from typer.testing import CliRunner

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.errors import IndexMismatchError, NothingToIngestError
from ingest.pipeline import ingest
from ingest.plan import Plan, plan
from rag.cli.main import app

SEA = "# Sea\nThe sea is deep."


def test_a_plan_names_every_source_by_what_a_run_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    files = {
        "same.md": "Same.",
        "old.md": "Old.",
        "edit.md": SEA,
        "gone.md": "Gone.",
        "touch.md": "T",
        "bad.md": "FAIL",
    }
    docs, embedder = write_files(tmp_path / "docs", files), CountingEmbedder()
    with EdgeIndex(tmp_path / "index", embedder, create=True) as index:
        ingest([docs], index, embedder)
        write_files(docs, {"edit.md": f"{SEA} And cold.", "new.md": "New.", "film.mkv": "?"})
        (docs / "old.md").rename(docs / "renamed.md")
        (docs / "gone.md").unlink()
        os.utime(docs / "touch.md", (1e9, 1e9))
        before, embedded = index.catalogue.stamps(), embedder.embedded
        planned = plan([docs], index.catalogue, prune=True)
        assert index.catalogue.stamps() == before
        assert embedder.embedded == embedded
        assert planned.files == 7
        assert planned.added == ("new.md", "renamed.md")
        assert planned.updated == ("edit.md",)
        assert planned.unchanged == ("same.md", "touch.md")
        assert planned.removed == ("gone.md", "old.md")
        assert [failure.source for failure in planned.failed] == ["bad.md", "film.mkv"]
        assert plan([docs], index.catalogue).removed == ()


def test_without_an_index_everything_is_new(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"a.md": SEA, "b.md": SEA})
    assert plan([docs], None, prune=True) == Plan(
        files=2, added=("a.md", "b.md"), updated=(), unchanged=(), removed=(), failed=()
    )
    with pytest.raises(NothingToIngestError):
        plan([tmp_path / "nowhere"], None)


def test_a_dry_run_makes_no_index_and_ends_with_1_for_a_file_that_would_fail(tmp_path: Path) -> None:
    docs, index = write_files(tmp_path / "docs", {"a.md": SEA}), tmp_path / "index"
    run = CliRunner().invoke
    said = run(app, ["ingest", str(docs), "--index", str(index), "--dry-run"])
    assert said.exit_code == 0
    assert said.stdout == "would add a.md\n1 files: 1 to add, 0 to update, 0 unchanged, 0 to remove, 0 not readable\n"
    write_files(docs, {"b\x1b[2J.mkv": "?"})
    said = run(app, ["ingest", str(docs), "--index", str(index), "--dry-run"])
    assert said.exit_code == 1
    assert "\x1b" not in said.output
    said = run(app, ["ingest", str(docs), "--index", str(index), "--dry-run", "--json"])
    found = json.loads(said.stdout)
    assert found["dry_run"]
    assert found["sources"] == {"added": ["a.md"], "updated": [], "removed": []}
    assert [failure["source"] for failure in found["documents"]["failed"]] == ["b\x1b[2J.mkv"]
    assert not index.exists()
    assert run(app, ["ingest", str(docs), "--dry-run", "--watch"]).exit_code == 2


def test_a_folder_of_other_files_is_no_place_for_an_index(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"a.md": SEA})
    for command in (["ingest", str(docs), "--dry-run"], ["ingest", str(docs)], ["search", "sea"]):
        done = CliRunner().invoke(app, [*command, "--index", str(docs)])
        assert isinstance(done.exception, IndexMismatchError)
    assert [file.name for file in docs.iterdir()] == ["a.md"]
