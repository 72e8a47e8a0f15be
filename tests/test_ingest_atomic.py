"""A process that dies at any point leaves an index that the next run completes to what a clean run gives."""

import random
import time
from pathlib import Path
from typing import Any

import pytest
from ingest_support import BORDERS, clean_state, light_parse_files, main, start, state, write_files

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder

FILES = {
    f"part {n % 3}/file {n}.md": "\n".join(f"# Title {line}\nLine {line} of {n}." * 3 for line in range(6))
    for n in range(24)
}


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)


def opened(folder: Path) -> dict[str, Any]:
    """What a reader sees of the index right after the death."""
    with EdgeIndex(folder, HashEmbedder(16), create=True) as index:
        return state(index)


def edit(docs: Path, step: int) -> None:
    """Change, add, copy and delete a few files."""
    names = sorted(p for p in docs.rglob("*.md"))
    for name in names[step % 3 :: 7]:
        name.write_text(f"# Edited {step}\nNew text {step} of {name.name}.\n" * 5)
    (docs / f"new {step}.md").write_text(f"Added in step {step}.\n")
    (docs / f"copy {step}.md").write_bytes(names[-1].read_bytes())
    names[0].unlink()


def half_or_old(seen: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Sources that are neither as before the run nor as after it."""
    return [s for s, document in seen.items() if document not in (old.get(s), new.get(s))]


def test_killed_at_random_points(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", FILES)
    index = tmp_path / "index"
    dice = random.Random(7)
    old: dict[str, Any] = {}
    killed = 0
    for step in range(10):
        new = clean_state(docs, tmp_path / f"clean {step}")
        child = start(str(docs), str(index))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(dice.uniform(0.0, 0.4))
        child.kill()
        killed += child.wait() == -9
        seen = opened(index)
        assert half_or_old(seen, old, new) == []
        assert set(seen) >= set(old) & set(new), "a document that was there and is still on disk is gone"
        old = seen
        if step % 2:
            edit(docs, step)
    assert killed
    main(str(docs), str(index))
    assert opened(index) == clean_state(docs, tmp_path / "clean")


@pytest.mark.parametrize("border", BORDERS)
def test_dies_between_catalogue_and_store(border: str, tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", dict(list(FILES.items())[:8]))
    index = tmp_path / "index"
    main(str(docs), str(index))
    old = opened(index)
    edit(docs, 1)
    new = clean_state(docs, tmp_path / "clean")
    child = start(str(docs), str(index), border)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 9, errors
    seen = opened(index)
    assert half_or_old(seen, old, new) == []
    main(str(docs), str(index))
    assert opened(index) == new


def test_dies_while_the_index_is_made(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"a.md": "text"})
    index = tmp_path / "index"
    for pause in (0.0, 0.01, 0.02, 0.03):
        child = start(str(docs), str(index))
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(pause)
        child.kill()
        child.wait()
    main(str(docs), str(index))
    assert opened(index) == clean_state(docs, tmp_path / "clean")


def test_half_a_shard_from_a_run_that_died_is_made_again(tmp_path: Path) -> None:
    index = tmp_path / "index"
    with EdgeIndex(index, HashEmbedder(16), create=True):
        pass
    (index / "shard").rename(index / "shard.new")
    (index / "shard.new" / "edge_config.json").unlink(missing_ok=True)
    assert opened(index) == {}


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    docs = write_files(tmp_path / "docs", {"a.md": "text"})
    child = start(str(docs), str(tmp_path / "index"), "EdgeStore.write:before:1")
    child.communicate(timeout=60)
    assert (tmp_path / "index" / "pid").read_text() == str(child.pid)
    assert opened(tmp_path / "index") == {}
    assert not (tmp_path / "index" / "pid").exists()
