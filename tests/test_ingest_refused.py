"""A file whose parser gave up is told in every run, and parsed again only when it has changed."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ingest_support import CountingEmbedder, light_parse_files, wayward_parse, write_files

from ingest import pipeline, plan, workers
from ingest.edge_index import EdgeIndex
from ingest.errors import MissingPartError, SourceNotFoundError
from ingest.pipeline import IngestReport, ingest
from ingest.workers import Unparsed, parse_file

AGAIN = "not tried again"


class Bench:
    """Counts the files that were given to the parser, and says what it answers."""

    def __init__(self, folder: Path) -> None:
        self.docs = write_files(folder / "docs", {"good.md": "Good.", "bad.md": "FAIL", "other.md": "More."})
        self.folder = folder / "index"
        self.embedder = CountingEmbedder()
        self.parsed: list[str] = []
        self.failure = Unparsed(reason="its parser crashed", lasting=True)

    def parse(self, files: Any, *rest: Any) -> Iterator[Any]:
        for file in files:
            self.parsed.append(file.source)
            (found,) = light_parse_files([file], *rest)
            yield self.failure if isinstance(found, Unparsed) else found

    def run(self, **options: Any) -> dict[str, str]:
        """The failures."""
        self.parsed = []
        with EdgeIndex(self.folder, self.embedder, create=True) as index:
            report: IngestReport = ingest([self.docs], index, self.embedder, **options)
        return {failure.source: failure.error for failure in report.failed}

    def refused(self) -> dict[str, str]:
        with EdgeIndex(self.folder, self.embedder) as index:
            return {source: refused.reason for source, refused in index.catalogue.refused().items()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    found = Bench(tmp_path)
    monkeypatch.setattr(pipeline, "parse_files", found.parse)
    return found


def age(file: Path, seconds: float) -> None:
    stamp = file.stat()
    os.utime(file, (stamp.st_atime - seconds, stamp.st_mtime - seconds))


@pytest.mark.parametrize("old", [True, False])
def test_it_is_parsed_once(bench: Bench, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old:
        age(bench.docs / "bad.md", 100)
    assert bench.run() == {"bad.md": "its parser crashed"}
    if old:
        real = plan.file_hash
        monkeypatch.setattr("ingest.plan.file_hash", lambda p: real(p) if p.name != "bad.md" else pytest.fail("read"))
    for _ in range(2):
        (error,) = bench.run(prune=True).values()
        assert bench.parsed == []
        assert error.startswith("its parser crashed (not tried again")
        assert "touch" in error
    assert bench.refused() == {"bad.md": "its parser crashed"}


def test_a_change_or_a_touch_has_it_tried_again(bench: Bench) -> None:
    age(bench.docs / "bad.md", 100)
    bench.run()
    (bench.docs / "bad.md").touch()
    assert bench.run() == {"bad.md": "its parser crashed"}
    assert bench.parsed == ["bad.md"]
    write_files(bench.docs, {"bad.md": "FAIL otherwise"})
    bench.run()
    assert bench.parsed == ["bad.md"]
    write_files(bench.docs, {"bad.md": "Good now."})
    assert bench.run() == {}
    assert bench.refused() == {}


def test_an_edit_of_the_same_size_within_the_clock_tick_is_tried(bench: Bench) -> None:
    bench.run()
    stamp = (bench.docs / "bad.md").stat()
    (bench.docs / "bad.md").write_text("Good")
    os.utime(bench.docs / "bad.md", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert bench.run() == {}


def test_the_old_version_is_served_and_can_come_back(bench: Bench) -> None:
    bench.run()
    age(bench.docs / "good.md", 100)
    stamp = (bench.docs / "good.md").stat()
    bench.run()
    write_files(bench.docs, {"good.md": "FAIL too"})
    assert sorted(bench.run()) == ["bad.md", "good.md"]
    with EdgeIndex(bench.folder, bench.embedder) as index:
        assert [document.source for document in index.documents()] == ["good.md", "other.md"]
    (bench.docs / "good.md").write_text("Good.")
    os.utime(bench.docs / "good.md", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert sorted(bench.run()) == ["bad.md"]
    assert sorted(bench.refused()) == ["bad.md"]


def test_prune_forgets_what_is_gone(bench: Bench) -> None:
    bench.run()
    (bench.docs / "bad.md").unlink()
    assert bench.run() == {}
    assert sorted(bench.refused()) == ["bad.md"]
    with EdgeIndex(bench.folder, bench.embedder) as index:
        assert ingest([bench.docs], index, bench.embedder, prune=True).removed == 0
    assert bench.refused() == {}


def test_it_can_be_removed_by_name(bench: Bench) -> None:
    bench.run()
    with EdgeIndex(bench.folder, bench.embedder) as index:
        with pytest.raises(SourceNotFoundError, match="its parser crashed"):
            index.catalogue.find("bad.md")
        index.remove([index.catalogue.find_source("bad.md")])
    bench.run()
    assert bench.parsed == ["bad.md"]


def test_what_is_not_the_files_fault_is_tried_again(bench: Bench) -> None:
    bench.failure = Unparsed(reason="cannot be opened", lasting=False)
    for _ in range(2):
        assert bench.run() == {"bad.md": "cannot be opened"}
        assert "bad.md" in bench.parsed
    assert bench.refused() == {}


def test_copies_in_one_run_are_all_refused(bench: Bench) -> None:
    write_files(bench.docs, {"copy.md": "FAIL"})
    assert sorted(bench.run()) == ["bad.md", "copy.md"]
    assert bench.parsed == ["bad.md", "good.md", "other.md"]
    assert all(AGAIN in error for error in bench.run().values())


def _fails(error: BaseException) -> Any:
    def parse(*_: object) -> None:
        raise error

    return parse


def _without(name: str) -> MissingPartError | Exception:
    from ingest.errors import ParseError

    wrapped = ParseError("cannot be read as docx (ImportError)")
    wrapped.__cause__ = ImportError(name)
    return wrapped


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (MissingPartError("the spaCy model is missing"), False),
        (_without("docx"), False),
        (workers.IngestError("no text was found in it"), True),
        (FileNotFoundError(2, "No such file"), False),
        (MemoryError(), True),
        (ZeroDivisionError(), False),
    ],
)
def test_which_failures_last(
    error: BaseException, lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "parse_bytes", _fails(error))
    (tmp_path / "a.md").write_text("text")
    embedder = CountingEmbedder()
    found = parse_file(str(tmp_path / "a.md"), "a.md", embedder.counter, pipeline.ChunkPolicy(window=64))
    assert isinstance(found, Unparsed)
    assert found.lasting == lasting
    assert found.reason


def test_what_hangs_or_dies_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With real processes."""
    docs = write_files(tmp_path / "docs", {f"{name}.md": f"Text of {name}." for name in ("hangs", "dies", "good")})
    embedder = CountingEmbedder()
    with monkeypatch.context() as patch:
        patch.setattr(workers, "parse_file", wayward_parse)
        patch.setattr(workers, "PARSE_SECONDS", 1.0)
        with EdgeIndex(tmp_path / "index", embedder, create=True) as index:
            first = ingest([docs], index, embedder, workers=2)
    monkeypatch.setattr(pipeline, "parse_files", lambda *_: pytest.fail("a file was parsed again"))
    with EdgeIndex(tmp_path / "index", embedder) as index:
        second = ingest([docs], index, embedder, workers=2)
    assert [failure.source for failure in first.failed] == ["dies.md", "hangs.md"]
    for before, after in zip(first.failed, second.failed, strict=True):
        assert after.error.startswith(before.error)
        assert AGAIN in after.error


def test_what_was_refused_survives_the_process(bench: Bench) -> None:
    bench.run()
    with sqlite3.connect(bench.folder / "catalogue.sqlite3") as db:
        assert db.execute("SELECT source, reason FROM refused").fetchall() == [("bad.md", "its parser crashed")]
    db.close()
