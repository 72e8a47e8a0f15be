"""The benchmark of kills, in small: nothing that was committed is lost, nothing half or double is served; and what else
can take a run's ground away: a folder that cannot be written, a file that is gone when it is to be read."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ingest_support import ROOT, child_environment, light_parse_files, run_python, state, write_files

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder

EMBEDDER = HashEmbedder(16)


def test_killed_ten_times() -> None:
    command = [sys.executable, str(ROOT / "bench" / "kills.py"), "--kills", "10", "--files", "12"]
    done = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines()[5:-1])
    assert table["kills"] == "10"
    assert int(table["documents that were committed before a kill"]) > 0


READ_ONLY = """if True:
    import os, sys, tempfile
    from pathlib import Path
    from ingest import pipeline
    from ingest.embed import HashEmbedder
    from ingest.errors import IngestError
    from ingest.edge_index import EdgeIndex
    from ingest_support import light_parse_files
    pipeline.parse_files = light_parse_files

    def run(folder):
        with EdgeIndex(folder, HashEmbedder(16), create=True) as index:
            pipeline.ingest([Path(sys.argv[1])], index, HashEmbedder(16))

    # All that is imported on the way: another user may not be able to read where it is installed.
    with tempfile.TemporaryDirectory() as home:
        run(Path(home, "index"))
    if os.geteuid() == 0:
        os.setuid(65534)
    try:
        run(Path(sys.argv[2]))
    except IngestError as error:
        print(error)"""


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A folder that every user can read: those of pytest are their owner's alone."""
    with tempfile.TemporaryDirectory(prefix="ingest-") as home:
        Path(home).chmod(0o755)
        yield Path(home)


@pytest.mark.parametrize("closed", ["index", "catalogue", "nothing yet"])
def test_a_folder_that_cannot_be_written(closed: str, open_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    docs, folder = write_files(open_home / "docs", {"a.md": "Text."}), open_home / "index"
    if closed != "nothing yet":
        with EdgeIndex(folder, EMBEDDER, create=True) as index:
            pipeline.ingest([docs], index, EMBEDDER)
            before = state(index)
    if closed == "catalogue":
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o777)
        (folder / "catalogue.sqlite3").chmod(0o444)
    else:
        (folder if folder.exists() else open_home).chmod(0o555)
    write_files(docs, {"a.md": "Changed.", "b.md": "New."})
    done = run_python(READ_ONLY, str(docs), str(folder))
    (line,) = done.stdout.splitlines()
    assert "check its p" in line, done.stderr
    assert str(folder) in line
    assert "Traceback" not in done.stderr
    if closed != "nothing yet":
        with EdgeIndex(folder, EMBEDDER) as index:
            assert state(index) == before


def test_a_file_that_is_gone_when_it_is_to_be_read(tmp_path: Path) -> None:
    """With real processes: it is hashed, then it vanishes."""
    docs = write_files(tmp_path / "docs", {"a.md": "First.", "b.md": "Second.", "c.md": "Third."})
    real = pipeline.parse_files

    def parse(files: Any, *rest: Any) -> Any:
        (docs / "b.md").unlink()
        return real(files, *rest)

    with pytest.MonkeyPatch.context() as patch, EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
        patch.setattr(pipeline, "parse_files", parse)
        report = pipeline.ingest([docs], index, EMBEDDER, workers=1)
        (failure,) = report.failed
        assert (failure.source, "No such file" in failure.error) == ("b.md", True)
        assert sorted(state(index)) == ["a.md", "c.md"]
        assert index.catalogue.refused() == {}


def test_a_file_that_is_gone_when_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    docs = write_files(tmp_path / "docs", {"a.md": "First.", "b.md": "Second."})
    real = pipeline.scan

    def scanned(paths: Any) -> Any:
        found = real(paths)
        (docs / "b.md").unlink()
        return found

    monkeypatch.setattr(pipeline, "scan", scanned)
    with EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
        (failure,) = pipeline.ingest([docs], index, EMBEDDER).failed
        assert (failure.source, "No such file" in failure.error) == ("b.md", True)
        assert [path.name for path in docs.iterdir()] == ["a.md"]
