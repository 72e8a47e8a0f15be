"""Parser processes: what hangs, crashes or eats memory costs one file; none outlives the run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from ingest_support import (
    child_environment,
    clean_state,
    light_parse_files,
    state,
    wayward_parse,
    write_files,
)

from ingest import pipeline, workers
from ingest.chunk import ChunkPolicy
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import ParseError

EMBEDDER = HashEmbedder(16)
HANGING = """if True:
    import sys
    from pathlib import Path
    from ingest import pipeline, workers
    from ingest.embed import HashEmbedder
    from ingest.edge_index import EdgeIndex
    from ingest_support import wayward_parse
    if __name__ == "__main__":
        workers.parse_file = wayward_parse
        pipeline.GROUP_CHUNKS = 1
        tell = lambda done, total, source: print(done, source, flush=True)
        with EdgeIndex(Path(sys.argv[2]), HashEmbedder(16), create=True) as index:
            pipeline.ingest([Path(sys.argv[1])], index, HashEmbedder(16), workers=2, progress=tell)
"""


def test_what_goes_wrong_in_a_parser_costs_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "parse_file", wayward_parse)
    monkeypatch.setattr(workers, "PARSE_SECONDS", 3.0)
    names = ["hangs", "exits", "dies", "eats", *(f"good {n}" for n in range(6))]
    docs = write_files(tmp_path / "docs", {f"{name}.md": f"Text of {name}." for name in names})
    with EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
        report = pipeline.ingest([docs], index, EMBEDDER, workers=2)
        assert sorted(state(index)) == [f"good {n}.md" for n in range(6)]
    reasons = {failure.source: failure.error for failure in report.failed}
    assert sorted(reasons) == ["dies.md", "eats.md", "exits.md", "hangs.md"]
    assert "longer than 3 s" in reasons["hangs.md"]
    assert "crashed" in reasons["exits.md"]
    assert "crashed" in reasons["dies.md"]
    assert "more memory" in reasons["eats.md"]
    assert not psutil.Process().children(recursive=True)[1:], "at most the resource tracker is left"


def interrupted(tmp_path: Path, how: int) -> "subprocess.CompletedProcess[str]":
    """Signal a run (for Ctrl-C its whole group) while a parser hangs; all children end with it."""
    docs = write_files(tmp_path / "docs", {"a.md": "First.", "b.md": "Second.", "hangs.md": "x", "z.md": "Last."})
    script = tmp_path / "script.py"
    script.write_text(HANGING)
    arguments = [sys.executable, str(script), str(docs), str(tmp_path / "index")]
    child = subprocess.Popen(
        arguments,
        env=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "1 a.md\n"
    assert child.stdout.readline() == "2 b.md\n"
    family = psutil.Process(child.pid).children(recursive=True)
    assert len(family) >= 2
    if how == signal.SIGINT:
        os.killpg(child.pid, how)
    else:
        child.send_signal(how)
    output, errors = child.communicate(timeout=60)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == [], "a parser outlived its run"
    return subprocess.CompletedProcess(arguments, child.returncode, output, errors)


def check_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written is whole; the next run completes it."""
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    with EdgeIndex(tmp_path / "index", EMBEDDER) as index:
        assert sorted(state(index)) == ["a.md", "b.md"]
        pipeline.ingest([tmp_path / "docs"], index, EMBEDDER)
        after = state(index)
    assert after == clean_state(tmp_path / "docs", tmp_path / "clean")


def test_ctrl_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = interrupted(tmp_path, signal.SIGINT)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("KeyboardInterrupt") == 1, done.stderr
    check_end(tmp_path, monkeypatch)


def test_parsers_end_with_a_killed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert interrupted(tmp_path, signal.SIGKILL).returncode == -signal.SIGKILL
    check_end(tmp_path, monkeypatch)


def test_a_script_without_a_main_guard_is_told(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"a.md": "First."})
    script = tmp_path / "script.py"
    script.write_text(HANGING.replace('if __name__ == "__main__":', "if True:"))
    done = subprocess.run(
        [sys.executable, str(script), str(docs), str(tmp_path / "index")],
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ingest.errors.IngestError: the parser processes cannot")


@pytest.mark.parametrize(
    ("cause", "lasting"),
    [
        (ImportError("no lxml"), False),
        (AttributeError("partially initialized module 'torch' has no attribute 'library'"), False),
        (FileNotFoundError("the working folder is gone"), False),
        (ValueError("the file's seventh table is broken"), True),
        (None, True),
    ],
)
def test_what_may_not_be_the_files_fault_is_tried_again(
    cause: Exception | None, lasting: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(data: bytes, source: str, ocr: str) -> None:
        raise ParseError("cannot be read as markdown") from cause

    monkeypatch.setattr(workers, "parse_bytes", broken)
    file = tmp_path / "a.md"
    file.write_text("# A")
    embedder = HashEmbedder()
    found = workers.parse_file(str(file), "a.md", embedder.counter, ChunkPolicy(window=embedder.window))
    assert found == workers.Unparsed(reason="cannot be read as markdown", lasting=lasting)
