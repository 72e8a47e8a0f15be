"""Long runs: Ctrl-C finishes the documents in hand, and changes of files are noticed."""

import os
import signal
import sys
from itertools import count
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pytest
from ingest_support import CountingEmbedder, light_parse_files, state, write_files

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.embed import open_embedder
from ingest.pipeline import ingest
from rag.cli.watch import changes, stoppable

DOCS = {f"{name}.md": f"# Boat {name}\nThe boat {name} carries {name * 3} passengers." for name in "abcdef"}


@pytest.mark.parametrize("after", [0, 3, 6, 8, 11, 13])
def test_a_run_that_is_asked_to_stop_writes_what_it_has_and_the_next_one_goes_on(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    docs, embedder = write_files(tmp_path / "docs", dict(DOCS)), CountingEmbedder()
    asked = count()
    with EdgeIndex(tmp_path / "index", embedder, create=True) as index:
        report = ingest([docs], index, embedder, prune=True, stop=lambda: next(asked) >= after)
        assert report.stopped
        assert report.added + report.left == len(DOCS)
        assert len(index.documents()) == report.added == embedder.embedded
        again = ingest([docs], index, embedder)
        assert (again.added, again.unchanged, again.left) == (report.left, report.added, 0)
        assert not again.stopped
        ended = state(index)
    with EdgeIndex(tmp_path / "clean", embedder, create=True) as index:
        ingest([docs], index, embedder)
        assert ended == state(index)


def test_the_first_ctrl_c_asks_and_the_second_interrupts(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stoppable() as stop:  # noqa: PT012
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        assert "Ctrl-C again stops at once" in capfd.readouterr().err
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_changes_are_noticed_but_not_our_own_or_hidden_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.cli.watch.QUIET_MS", 100)
    monkeypatch.setattr("rag.cli.watch.FIRST_MS", 300)
    docs = write_files(tmp_path / "docs", dict(DOCS))
    noticed = changes([docs], str(docs / "index"))
    next(noticed)
    for place in (".git/x", "index/shard", ".hidden.md"):
        write_files(docs, {place: "nothing to see"})
    read: list[dict[str, Any]] = []
    for name in ("g.md", "deep/h.md"):
        write_files(docs, {name: "# New"})
        next(noticed)
        read.append({name: (docs / name).read_text()})
    (docs / "a.md").unlink()
    next(noticed)
    noticed.close()
    assert read == [{"g.md": "# New"}, {"deep/h.md": "# New"}]


def test_ctrl_c_at_a_terminal_ends_with_130_and_an_index_to_go_on_with(tmp_path: Path) -> None:
    # What fails needs no embedding, so the first line of progress comes long before the end.
    files = {f"a{n:02}.pdf": "no PDF" for n in range(30)} | {f"b{n:02}.md": f"# Boat {n}" for n in range(30)}
    docs = write_files(tmp_path / "docs", files)
    command = [sys.executable, "-c", _RAG, "ingest", str(docs), "--index", str(tmp_path / "index"), "--workers", "1"]
    with Popen(command, stderr=PIPE, stdout=PIPE, text=True) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    assert first.startswith("ingest: ")
    assert running.returncode == 130, err
    added, failed = (int(out.split(f" {what}")[0].split()[-1]) for what in ("added", "failed"))
    assert added + failed < len(files)
    assert f"stopped: {len(files) - added - failed} files were not looked at; run it again to go on" in err
    with EdgeIndex(tmp_path / "index", open_embedder()) as index:
        assert index.swept == 0
        assert len(index.documents()) == added


_RAG = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from rag.cli.main import main; main()"
