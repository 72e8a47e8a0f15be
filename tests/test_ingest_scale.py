"""A store seals what is written to it: nothing is lost, changed or blocked by it, whatever ends it half-way."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from ingest_support import child_environment, light_parse_files, run_python, state, write_files

from ingest import edge, pipeline, sealing
from ingest.edge import Bm25, EdgeStore
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import IndexDamagedError
from ingest.index import rebuild_index
from ingest.points import Choice
from ingest.types import Chunk

DIMENSION = 16
SEALED = 40
BM25 = Bm25()
DICE = np.random.default_rng(3)
VECTORS = DICE.standard_normal((400, DIMENSION), dtype=np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)


@pytest.fixture(autouse=True)
def _early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "SEALED", SEALED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shard"


def document(number: int) -> str:
    return str(UUID(int=number + 1, version=4))


def chunk(number: int) -> Chunk:
    """Number 10 d + i is the i-th chunk of document d."""
    text = f"word{number % 7} word{number % 11} only{number}"
    return Chunk(
        id=str(UUID(int=number + 1)),
        document_id=document(number // 10),
        source="",
        index=number % 10,
        start=0,
        end=len(text),
        text=text,
        headings=("Title",),
        pages=(number,),
    )


def write(store: EdgeStore, numbers: range, *, settle: bool = True) -> None:
    chunks = [chunk(number) for number in numbers]
    store.write(chunks, VECTORS[numbers.start : numbers.stop], [BM25.document(one.text) for one in chunks])
    store.flush()
    if settle:
        store.settle()


def held(store: EdgeStore) -> dict[str, Any]:
    """All that is stored, by chunk id."""
    points = {id_: point for one in store.counts() for id_, point in store.points(one).items()}
    return {
        id_: (
            point.chunk,
            point.dense.round(5).tolist(),
            dict(zip(point.sparse.indices, point.sparse.values, strict=True)),
        )
        for id_, point in points.items()
    }


def found(store: EdgeStore, choice: Choice | None = None) -> list[dict[str, float]]:
    """Scores of hits by id, of some searches by cosine and by BM25."""
    queries = [(VECTORS[number], BM25.query(f"only{number} word3")) for number in range(0, 40, 7)]
    lists = [hits for query in queries for hits in store.search(*query, 150, choice)]
    return [{hit.chunk_id: round(hit.score, 4) for hit in hits} for hits in lists]


def sealed(store: EdgeStore) -> int:
    """Segments that are not written to any more."""
    return len(list(store._folder.glob("segments/*/id_tracker.versions")))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()}


def test_a_sealed_store_holds_and_finds_what_it_did(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(edge, "SEALED", 10_000)
        plain = EdgeStore(folder.with_name("plain"), DIMENSION)
        write(plain, range(130))
        assert sealed(plain) == 0
    store = EdgeStore(folder, DIMENSION)
    for start in range(0, 130, 10):
        write(store, range(start, start + 10))
    assert sealed(store) >= 2
    assert names(folder) == {"plain", "shard"}
    some = Choice.of([document(number) for number in (0, 3, 12)])
    for _ in range(2):
        assert held(store) == held(plain)
        assert found(store) == found(plain)
        assert found(store, some) == found(plain, some)
        store.close()
        store = EdgeStore(folder, DIMENSION)
    for one in (store, plain):
        one.delete([document(2), document(12)])
        one.flush()
    assert store.count() == plain.count() == 110
    assert held(store) == held(plain)
    for one in (store, plain):
        one.close()


def test_what_a_flush_left_that_was_killed_at_its_end_is_deleted(folder: Path) -> None:
    """All was written but the number of the last operation, so that the engine counts from an earlier one."""
    store = EdgeStore(folder, DIMENSION)
    write(store, range(10), settle=False)
    (file,) = folder.glob("segments/*/segment.json")
    number = file.read_bytes()
    for start in range(10, 90, 10):
        chunks = [chunk(n) for n in range(start, start + 10)]
        store.write(chunks, VECTORS[start : start + 10], [BM25.document(one.text) for one in chunks])
    store.flush()
    store.close()
    file.write_bytes(number)
    store = EdgeStore(folder, DIMENSION)
    store.delete([document(8), document(3), document(4)])
    assert {id_ for id_, points in store.counts().items() if points} == {document(n) for n in (0, 1, 2, 5, 6, 7)}
    store.flush()
    store.close()
    store = EdgeStore(folder, DIMENSION)
    assert store.count() == 60
    store.close()


def test_the_room_of_what_was_deleted_is_won_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "SEALED", 10_000)
    monkeypatch.setattr(edge, "_MANY_DEAD", 30)
    store = EdgeStore(folder, DIMENSION)
    for _ in range(9):
        write(store, range(20), settle=False)
        store.delete([document(0)])
        store.flush()
    assert store._written() > 60
    store.settle()
    assert store._written() == 10
    store.close()
    store = EdgeStore(folder, DIMENSION)
    assert held(store).keys() == {chunk(number).id for number in range(10, 20)}
    store.close()


def test_searches_go_on_and_writes_wait(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = EdgeStore(folder, DIMENSION)
    write(store, range(50), settle=False)
    before, order = found(store), []
    working, go_on = threading.Event(), threading.Event()
    real = sealing.seal

    def slow(shard: Path, copy: Path) -> None:
        working.set()
        assert go_on.wait(20)
        real(shard, copy)
        order.append("sealed")

    def wrote() -> None:
        write(store, range(50, 60), settle=False)
        order.append("written")

    monkeypatch.setattr(edge, "seal", slow)
    threads = [threading.Thread(target=store.settle), threading.Thread(target=wrote)]
    threads[0].start()
    assert working.wait(20)
    threads[1].start()
    assert found(store) == before
    go_on.set()
    while threads[0].is_alive():
        # The write may be done before the thread has ended.
        assert all(old.keys() <= new.keys() for old, new in zip(before, found(store), strict=True))
    for thread in threads:
        thread.join(20)
    assert order == ["sealed", "written"]
    assert len(held(store)) == 60
    store.close()


def _fails(*_: object, **__: object) -> None:
    raise OSError("a reason")


def _panics(folder: str, parent: int, tells: Any) -> None:
    del folder, parent
    tells.send("PanicException: a reason")


def _dies(folder: str, parent: int, tells: Any) -> None:
    del folder, parent, tells
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("where", "instead", "told"),
    [
        ("copytree", _fails, "a reason"),
        ("_optimize", _panics, "a reason"),
        ("_optimize", _dies, "want of memory"),
        ("room", None, "No space left"),
    ],
)
def test_what_cannot_be_sealed_stays_as_it_is(
    where: str,
    instead: Any,
    told: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = EdgeStore(folder, DIMENSION)
    write(store, range(50), settle=False)
    before = held(store), found(store)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        if where == "room":
            usage = shutil.disk_usage(folder)
            patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=64 * 2**20))
        else:
            patch.setattr(*((shutil, where) if where == "copytree" else (sealing, where)), instead)
        store.settle()
        assert told in caplog.text
        assert (held(store), found(store)) == before
        assert (sealed(store), names(folder)) == (0, {"shard"})
        caplog.clear()
        write(store, range(50, 60))
        assert caplog.text == "", "it is not tried again at once"
    write(store, range(60, 100))
    assert sealed(store) == 1
    assert len(held(store)) == 100
    store.close()


def test_a_copy_that_cannot_be_opened_is_not_taken(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EdgeStore(folder, DIMENSION)
    write(store, range(20))
    copy = folder.with_name("shard.sealed")
    copy.mkdir()
    before = held(store)
    with pytest.raises(IndexDamagedError):
        store._take(copy)
    assert held(store) == before
    shutil.rmtree(copy)
    write(store, range(20, 60))
    assert (sealed(store), len(held(store))) == (1, 60)
    store.close()
    assert names(folder) == {"shard"}


def test_a_copy_that_cannot_be_searched_is_not_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = EdgeStore(folder, DIMENSION)
    write(store, range(50), settle=False)
    before = held(store), found(store)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(EdgeStore, "search", _fails)
        store.settle()
    assert "a reason" in caplog.text
    assert names(folder) == {"shard"}
    assert (held(store), found(store)) == before
    write(store, range(50, 90))
    assert (sealed(store), len(held(store))) == (1, 90)
    store.close()


def test_what_is_read_ahead_is_there(folder: Path) -> None:
    """Under the names that the engine gives to its files."""
    store = EdgeStore(folder, DIMENSION)
    write(store, range(50))
    store.close()
    (segment,) = (path.parent for path in folder.glob("segments/*/id_tracker.versions"))
    for part in sealing._READ_WHOLE:
        assert sum(path.stat().st_size for path in segment.glob(part)) > 0, part


@pytest.mark.parametrize(
    "left", [{"shard.old"}, {"shard.old", "shard.sealed"}, {"shard", "shard.old"}, {"shard", "shard.sealed"}]
)
def test_what_a_death_leaves_is_put_right(left: set[str], folder: Path) -> None:
    """At each moment between two steps: before the new shard is there, the old one is taken back."""
    store = EdgeStore(folder, DIMENSION)
    write(store, range(20))
    before = held(store)
    store.close()
    folder.rename(folder.with_name("kept"))
    for name in left:
        whole = name == "shard" or ("shard" not in left and name == "shard.old")
        shutil.copytree(folder.with_name("kept"), folder.with_name(name)) if whole else folder.with_name(name).mkdir()
    store = EdgeStore(folder, DIMENSION)
    assert held(store) == before
    assert names(folder) == {"shard", "kept"}
    store.close()


INGEST = """if True:
    import os, sys
    from pathlib import Path
    from ingest import edge, pipeline
    from ingest.edge_index import EdgeIndex
    from ingest.embed import HashEmbedder
    from ingest_support import light_parse_files

    docs, folder, dies_after = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    edge.SEALED, pipeline.GROUP_CHUNKS = 20, 8
    pipeline.parse_files = light_parse_files
    seal, rename, renamed = edge.seal, Path.rename, 0

    def told(shard, copy):
        print("sealing", flush=True)
        seal(shard, copy)

    def counted(self, target):
        global renamed
        found = rename(self, target)
        renamed += self.name.startswith("shard")
        if renamed == dies_after:
            os._exit(9)
        return found

    edge.seal, Path.rename = told, counted
    with EdgeIndex(folder, HashEmbedder(16), create=True) as index:
        pipeline.ingest([docs], index, HashEmbedder(16))"""
FILES = {f"file {n}.md": "\n".join(f"# Title {line}\nLine {line} of {n}." * 3 for line in range(4)) for n in range(48)}


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """docs/ are made, and what one run that seals nothing makes of them."""
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    monkeypatch.setattr(edge, "SEALED", 10_000)
    docs = write_files(tmp_path / "docs", FILES)
    with EdgeIndex(tmp_path / "clean", HashEmbedder(16), create=True) as index:
        pipeline.ingest([docs], index, HashEmbedder(16))
        return state(index)


def opened(folder: Path) -> dict[str, Any]:
    with EdgeIndex(folder, HashEmbedder(16)) as index:
        assert index.damage() == {}
        assert names(folder / "shard") <= {"shard", "lock", "pid", "catalogue.sqlite3"} | {
            f"catalogue.sqlite3-{end}" for end in ("wal", "shm")
        }
        return state(index)


def test_killed_while_it_seals(tmp_path: Path, clean: dict[str, Any]) -> None:
    folder, dice = tmp_path / "index", np.random.default_rng(1)
    command = [sys.executable, "-c", INGEST, str(tmp_path / "docs"), str(folder), "0"]
    before: dict[str, Any] = {}
    killed = 0
    for _ in range(3):
        child = subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        if child.stdout.readline() == "sealing\n":
            killed += 1
            time.sleep(dice.uniform(0.0, 0.5))
        child.kill()
        # Ends when nothing holds its output open any more: what it had started is gone too.
        child.communicate(timeout=60)
        seen = opened(folder)
        assert before.items() <= seen.items() <= clean.items()
        before = seen
    assert killed
    done = run_python(INGEST, str(tmp_path / "docs"), str(folder), "0")
    assert done.returncode == 0, done.stderr
    assert opened(folder) == clean


@pytest.mark.parametrize("renames", [2, 3])
def test_dies_while_one_shard_takes_the_place_of_another(renames: int, tmp_path: Path, clean: dict[str, Any]) -> None:
    """The first rename makes the store."""
    folder = tmp_path / "index"
    done = run_python(INGEST, str(tmp_path / "docs"), str(folder), str(renames))
    assert done.returncode == 9, done.stderr
    assert (folder / "shard.old").is_dir()
    seen = opened(folder)
    assert seen
    assert seen.items() <= clean.items()
    done = run_python(INGEST, str(tmp_path / "docs"), str(folder), "0")
    assert done.returncode == 0, done.stderr
    assert opened(folder) == clean


def test_a_rebuilt_store_is_sealed_too(tmp_path: Path, clean: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "SEALED", 40)
    report = rebuild_index(str(tmp_path / "clean"), HashEmbedder(16))
    assert report.documents == len(clean)
    assert opened(tmp_path / "clean") == clean
    assert list((tmp_path / "clean" / "shard").glob("segments/*/vector_index-dense"))


def test_a_small_index_is_small(tmp_path: Path, clean: dict[str, Any]) -> None:
    """Its files have room for what is to come, but there is no log, and nothing is stored twice."""
    assert clean
    files = [file.stat() for file in (tmp_path / "clean").rglob("*") if file.is_file()]
    assert sum(file.st_blocks * 512 for file in files) < 2_000_000
    assert sum(file.st_size for file in files) < 160_000_000
    assert not list((tmp_path / "clean" / "shard").glob("wal/*"))
