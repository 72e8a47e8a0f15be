"""A run: what is unchanged costs nothing, one bad file costs itself, the end is that of a clean run."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ingest_support import CountingEmbedder, light_parse_files, state, write_files

from ingest import pipeline, plan
from ingest.edge_index import EdgeIndex
from ingest.errors import NothingToIngestError
from ingest.pipeline import IngestReport, ingest

DOCS = {
    "a.md": "# Boats\nThe Orrin carries 214 passengers.",
    "b.txt": "Dogs travel free.",
    "deep/c.md": "# Far\nCats stay in a carrier.",
}


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)


class Bench:
    """A folder of documents, its index, and an embedder that counts."""

    def __init__(self, folder: Path) -> None:
        self.docs = write_files(folder / "docs", dict(DOCS))
        self.folder = folder / "index"
        self.embedder = CountingEmbedder()

    def run(self, *paths: Path, **options: Any) -> IngestReport:
        """One run in a freshly opened index; ``embedder.embedded`` counts its chunks alone."""
        self.embedder.embedded = 0
        with EdgeIndex(self.folder, self.embedder, create=True) as index:
            return ingest(paths or [self.docs], index, self.embedder, **options)

    def state(self) -> dict[str, Any]:
        with EdgeIndex(self.folder, self.embedder) as index:
            return state(index)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def counts(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed, len(report.failed)


def age(folder: Path, seconds: float = 100) -> None:
    """Make files old enough that their time stamp can be trusted."""
    for file in folder.rglob("*"):
        found = file.stat()
        os.utime(file, (found.st_atime - seconds, found.st_mtime - seconds))


def test_first_run(bench: Bench) -> None:
    told: list[tuple[int, int, str]] = []
    report = bench.run(progress=lambda *step: told.append(step))
    assert counts(report) == (3, 0, 0, 0, 0)
    assert report.files == 3
    assert report.chunks == bench.embedder.embedded == 3
    assert report.coverage == 1.0
    assert set(report.seconds) == {"total", "parse", "embed", "index"}
    assert report.peak_rss_mb > 10
    assert [(done, total) for done, total, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert {source for _, _, source in told} == set(DOCS)


@pytest.mark.parametrize("old", [True, False])
def test_second_run_embeds_nothing(bench: Bench, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if old:
        age(bench.docs)
    bench.run()
    before = bench.state()
    if old:
        monkeypatch.setattr("ingest.plan.file_hash", lambda _: pytest.fail("an unchanged file was read"))
    report = bench.run()
    assert counts(report) == (0, 0, 3, 0, 0)
    assert (bench.embedder.embedded, report.chunks, report.coverage) == (0, 0, 1.0)
    assert bench.state() == before


def test_an_edit_of_the_same_size_within_the_clock_tick_is_seen(bench: Bench) -> None:
    bench.run()
    file = bench.docs / "b.txt"
    stamp = file.stat()
    file.write_text("Dogs travel cost.")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert counts(bench.run()) == (0, 1, 2, 0, 0)


def test_edit_replaces_the_chunks_of_that_file_alone(bench: Bench) -> None:
    bench.run()
    before = bench.state()
    write_files(bench.docs, {"a.md": "# Boats\nSold."})
    assert counts(bench.run()) == (0, 1, 2, 0, 0)
    assert bench.embedder.embedded == 1
    after = bench.state()
    assert after["a.md"][0] != before["a.md"][0]
    assert after["b.txt"] == before["b.txt"]


def test_rename_and_copy_embed_nothing(bench: Bench) -> None:
    bench.run()
    (bench.docs / "b.txt").rename(bench.docs / "moved.txt")
    shutil.copy(bench.docs / "a.md", bench.docs / "copy.md")
    assert counts(bench.run(prune=True)) == (2, 0, 2, 1, 0)
    assert bench.embedder.embedded == 0
    after = bench.state()
    assert sorted(after) == ["a.md", "copy.md", "deep/c.md", "moved.txt"]
    assert after["a.md"][0] == after["copy.md"][0]


def test_copies_in_one_run_are_embedded_once(bench: Bench) -> None:
    shutil.copy(bench.docs / "a.md", bench.docs / "copy.md")
    assert counts(bench.run()) == (4, 0, 0, 0, 0)
    assert bench.embedder.embedded == 3


def test_two_files_swap_their_contents(bench: Bench) -> None:
    bench.run()
    shutil.move(bench.docs / "a.md", bench.docs / "x")
    shutil.move(bench.docs / "deep/c.md", bench.docs / "a.md")
    shutil.move(bench.docs / "x", bench.docs / "deep/c.md")
    assert counts(bench.run()) == (0, 2, 1, 0, 0)
    assert bench.embedder.embedded == 0
    assert bench.state()["a.md"][2][0].text.startswith("Far")


def test_the_last_copy_keeps_the_chunks(bench: Bench) -> None:
    shutil.copy(bench.docs / "a.md", bench.docs / "copy.md")
    bench.run()
    (bench.docs / "a.md").unlink()
    assert bench.run(prune=True).removed == 1
    assert "copy.md" in bench.state()
    (bench.docs / "copy.md").unlink()
    assert bench.run(prune=True).removed == 1
    assert sorted(bench.state()) == ["b.txt", "deep/c.md"]


def test_deleted_files_stay_until_prune(bench: Bench) -> None:
    bench.run()
    (bench.docs / "a.md").unlink()
    assert counts(bench.run()) == (0, 0, 2, 0, 0)
    assert "a.md" in bench.state()
    assert counts(bench.run(prune=True)) == (0, 0, 2, 1, 0)
    assert "a.md" not in bench.state()


def test_prune_with_one_file_named_removes_no_other(bench: Bench) -> None:
    bench.run()
    assert bench.run(bench.docs / "a.md", prune=True).removed == 0
    assert sorted(bench.state()) == sorted(DOCS)


def test_prune_leaves_other_folders_alone(bench: Bench, tmp_path: Path) -> None:
    other = write_files(tmp_path / "other", {"o.md": "Other."})
    bench.run(bench.docs, other)
    assert bench.run(prune=True).removed == 0
    shutil.rmtree(bench.docs / "deep")
    assert bench.run(other, prune=True).removed == 0
    assert bench.run(prune=True).removed == 1


def test_prune_waits_while_a_folder_cannot_be_listed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    real = os.scandir

    def closed(path: Any) -> Any:
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)
    report = bench.run(prune=True)
    assert (report.removed, [failure.source for failure in report.failed]) == (0, ["deep"])
    monkeypatch.undo()
    assert "deep/c.md" in bench.state()


def test_two_folders_with_the_same_source_name(bench: Bench, tmp_path: Path) -> None:
    other = write_files(tmp_path / "other", {"a.md": "Another."})
    for _ in range(2):
        report = bench.run(bench.docs, other)
        (failure,) = report.failed
        assert failure.source == "a.md"
        assert f"from {bench.docs} is in this index" in failure.error
        assert bench.state()["a.md"][2][0].text.startswith("Boats")
    (failure,) = bench.run(other, bench.docs / "b.txt").failed
    assert f"from {bench.docs} is in this index" in failure.error


def test_a_folder_that_moved_keeps_its_documents(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    moved = bench.docs.rename(tmp_path / "moved")
    assert counts(bench.run(moved, prune=True)) == (0, 0, 3, 0, 0)
    assert bench.embedder.embedded == 0
    (moved / "a.md").unlink()
    assert bench.run(moved, prune=True).removed == 1


def test_a_failed_file_keeps_its_old_version(bench: Bench) -> None:
    bench.run()
    before = bench.state()
    write_files(bench.docs, {"a.md": "FAIL"})
    for again in (False, True):
        (failure,) = bench.run(prune=True).failed
        assert (failure.source, "cannot be read" in failure.error) == ("a.md", True)
        assert ("not tried again" in failure.error) == again
    assert bench.state() == before
    write_files(bench.docs, {"a.md": "Good again."})
    assert counts(bench.run()) == (0, 1, 2, 0, 0)


def test_odd_files_cost_only_themselves(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(bench.docs, {"photo.jpg": b"\xff\xd8", "bare": "x", "big.md": "y" * 3000})
    (bench.docs / "dangling.md").symlink_to(bench.docs / "nowhere.md")
    (bench.docs / "loop.md").symlink_to(bench.docs / "loop.md")
    (bench.docs / "around").symlink_to(bench.docs)
    os.mkfifo(bench.docs / "pipe.md")
    monkeypatch.setattr("ingest.plan.MAX_FILE_BYTES", 2000)
    report = bench.run()
    assert counts(report) == (3, 0, 0, 0, 6)
    reasons = {failure.source: failure.error for failure in report.failed}
    assert sorted(reasons) == ["bare", "big.md", "dangling.md", "loop.md", "photo.jpg", "pipe.md"]
    assert "unknown file type '.jpg': known are .html" in reasons["photo.jpg"]
    assert "No such file" in reasons["dangling.md"]
    assert "regular file" in reasons["pipe.md"]
    assert all(": " in reason or "(" in reason for reason in reasons.values())


def test_a_file_that_cannot_be_opened(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real = plan.file_hash

    def denied(path: Path) -> str:
        if path.name == "a.md":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr("ingest.plan.file_hash", denied)
    (failure,) = bench.run().failed
    assert failure.error == "cannot be opened (Permission denied): check that it exists and its permissions"
    assert sorted(bench.state()) == ["b.txt", "deep/c.md"]


def test_a_file_that_changes_while_it_is_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(files: Any, *rest: Any) -> Any:
        (bench.docs / "a.md").write_text("Changed after it was hashed.")
        return light_parse_files(files, *rest)

    monkeypatch.setattr(pipeline, "parse_files", parse)
    (failure,) = bench.run().failed
    assert (failure.source, "changed while" in failure.error) == ("a.md", True)
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    assert counts(bench.run()) == (1, 0, 2, 0, 0)


@pytest.mark.parametrize(
    "name", ["with space.md", "smørbrød – 漢字 👍.md", "new\nline.md", "quote'\"%s;--.md", "a\\b.md"]
)
def test_odd_names(bench: Bench, name: str) -> None:
    write_files(bench.docs, {name: "An odd name."})
    assert bench.run().added == 4
    assert name in bench.state()
    assert bench.run(prune=True).unchanged == 4


def test_a_name_and_a_folder_that_are_not_utf_8(bench: Bench, tmp_path: Path) -> None:
    docs = tmp_path / os.fsdecode(b"f\xf8lder")
    docs.mkdir()
    (docs / os.fsdecode(b"sm\xf8r.md")).write_text("Butter.")
    assert bench.run(docs).added == 1
    assert list(bench.state()) == ["sm\\udcf8r.md"]
    assert counts(bench.run(docs, prune=True)) == (0, 0, 1, 0, 0)


def test_nothing_that_can_be_read(bench: Bench, tmp_path: Path) -> None:
    bad = write_files(tmp_path / "bad", {"a.md": "FAIL", "b.jpg": "x"})
    with pytest.raises(NothingToIngestError, match=r"none of the 2 files.*a\.md"):
        bench.run(bad)


def test_groups_are_committed_as_they_fill(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "GROUP_CHUNKS", 2)
    write_files(bench.docs, {f"{n}.md": f"Text {n}." for n in range(9)})
    seen: list[int] = []

    def stop(done: int, total: int, _: str) -> None:
        assert total == 12
        seen.append(done)
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(progress=stop)
    assert 4 <= len(bench.state()) < 12
    assert bench.run().failed == ()
    assert len(bench.state()) == 12


@pytest.mark.parametrize("year", [1600, 1969, 2262, 2263, 9999])
def test_a_file_of_any_year(bench: Bench, year: int) -> None:
    seconds = int((datetime(year, 6, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    try:
        os.utime(bench.docs / "a.md", (seconds, seconds))
    except OSError:
        seconds = max(-(2**31), min(2**34 - 1, seconds))
        os.utime(bench.docs / "a.md", (seconds, seconds))
    assert counts(bench.run()) == (3, 0, 0, 0, 0)
    assert counts(bench.run()) == (0, 0, 3, 0, 0)
    write_files(bench.docs, {"a.md": "Changed."})
    os.utime(bench.docs / "a.md", (seconds, seconds))
    assert counts(bench.run()) == (0, 1, 2, 0, 0)
