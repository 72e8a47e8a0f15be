"""The index: one process at a time, one embedder, damage told, the old state served after a failure."""

import errno
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from ingest_support import light_parse_files, run_python, state, write_files

from ingest import pipeline
from ingest.catalogue import Catalogue
from ingest.edge import Bm25, EdgeStore
from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder
from ingest.errors import (
    IndexDamagedError,
    IndexInUseError,
    IndexMismatchError,
    IndexMissingError,
    IndexProblem,
    SourceNotFoundError,
)
from ingest.filters import parse_filters
from ingest.index import open_index

EMBEDDER = HashEmbedder(16)
DOCS = {
    "boats/orrin.md": "# The MV Orrin\nShe carries 214 passengers and was launched at Tollan yard.",
    "boats/pip.md": "# The MV Pip\nThe smaller boat carries 60 passengers.",
    "pets.md": "# Pets\nDogs travel free on the open deck. Cats stay in a carrier.",
}


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    return write_files(tmp_path / "docs", dict(DOCS))


@pytest.fixture
def folder(tmp_path: Path, docs: Path) -> Path:
    """An index of three documents, closed."""
    with EdgeIndex(tmp_path / "index", EMBEDDER, create=True) as index:
        pipeline.ingest([docs], index, EMBEDDER)
    return tmp_path / "index"


def search(index: EdgeIndex, query: str, **options: Any) -> list[str]:
    mode = options.pop("mode", "hybrid")
    dense = EMBEDDER.encode([query])[0] if mode != "sparse" else None
    result = index.search(dense, Bm25().query(query) if mode != "dense" else None, **options)
    return [hit.chunk.source for hit in result.hits]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "sparse"])
def test_search_finds_the_document(folder: Path, mode: Any) -> None:
    with EdgeIndex(folder, EMBEDDER) as index:
        assert search(index, "dogs on the open deck", mode=mode)[0] == "pets.md"
        assert search(index, "passengers", mode=mode, filters=parse_filters(["source=pip.md"])) == ["boats/pip.md"]
        assert search(index, "passengers", mode=mode, filters=parse_filters(["path=cars"])) == []


def test_search_reports_the_nearest_cosine(folder: Path) -> None:
    with EdgeIndex(folder, EMBEDDER) as index:
        text = index.chunks_of(index.documents()[2])[0].text
        dense = EMBEDDER.encode([f"Pets\n{text}"])[0]
        assert index.search(dense, None).best_cosine == pytest.approx(1.0, abs=1e-3)
        assert index.search(None, Bm25().query("dogs")).best_cosine is None
        assert index.search(None, Bm25().query("zeppelin")).hits == ()


def test_sources_are_found_by_name_or_suffix(folder: Path) -> None:
    with EdgeIndex(folder, EMBEDDER) as index:
        assert index.catalogue.find("boats/pip.md").source == "boats/pip.md"
        assert index.catalogue.find("pip.md").source == "boats/pip.md"
        for name in ("ip.md", "nowhere.md", "boats"):
            with pytest.raises(SourceNotFoundError, match="docs list"):
                index.catalogue.find(name)


def test_a_suffix_that_two_documents_share_is_refused(docs: Path, folder: Path) -> None:
    write_files(docs, {"cars/pip.md": "Another Pip."})
    with EdgeIndex(folder, EMBEDDER) as index:
        pipeline.ingest([docs], index, EMBEDDER)
        with pytest.raises(SourceNotFoundError, match=r"boats/pip\.md, cars/pip\.md"):
            search(index, "pip", filters=parse_filters(["source=pip.md"]))


def test_another_process_gets_the_pid(folder: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from ingest.embed import HashEmbedder
        from ingest.edge_index import EdgeIndex
        EdgeIndex(Path(sys.argv[1]), HashEmbedder(16))"""
    with EdgeIndex(folder, EMBEDDER):
        done = run_python(code, str(folder))
        assert f"IndexInUseError: the index in {folder} is in use" in done.stderr
        assert f"(pid {os.getpid()})" in done.stderr
    assert run_python(code, str(folder)).returncode == 0


def test_a_late_second_close_leaves_the_next_holder_alone(folder: Path) -> None:
    first = EdgeIndex(folder, EMBEDDER)
    first.close()
    with EdgeIndex(folder, EMBEDDER):
        first.close()
        with pytest.raises(IndexInUseError, match=str(os.getpid())):
            EdgeIndex(folder, EMBEDDER)


def test_a_closed_index_says_so(folder: Path) -> None:
    index = EdgeIndex(folder, EMBEDDER)
    index.close()
    with pytest.raises(IndexProblem, match="open it again"):
        index.documents()
    with pytest.raises(IndexProblem, match="open it again"):
        search(index, "pets")


def test_a_url_of_no_server_is_refused() -> None:
    with pytest.raises(IndexProblem, match="--index"):
        open_index("ftp://localhost:6333", EMBEDDER)


def test_no_index_there(tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match="rag ingest"):
        open_index(str(tmp_path / "nowhere"), EMBEDDER)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_with_other_files(docs: Path) -> None:
    before = sorted(docs.rglob("*"))
    with pytest.raises(IndexMismatchError, match="no index"):
        EdgeIndex(docs, EMBEDDER, create=True)
    assert sorted(docs.rglob("*")) == before


def test_a_file_in_place_of_the_folder(docs: Path) -> None:
    with pytest.raises(IndexDamagedError, match="permissions"):
        EdgeIndex(docs / "pets.md", EMBEDDER, create=True)


@pytest.mark.parametrize(
    ("fact", "value", "remedy"),
    [("embedder", "other", "--embedder other"), ("dimension", 8, "--index"), ("pipeline", "0", "--index")],
)
def test_made_with_something_else(folder: Path, fact: str, value: object, remedy: str) -> None:
    catalogue = Catalogue(folder / "catalogue.sqlite3")
    catalogue.set_meta({fact: value})
    catalogue.close()
    with pytest.raises(IndexMismatchError, match=fact) as error:
        EdgeIndex(folder, EMBEDDER)
    assert remedy in str(error.value)
    with pytest.raises(IndexMismatchError):
        EdgeIndex(folder, EMBEDDER, create=True)


def test_an_embedder_of_another_size(folder: Path) -> None:
    with pytest.raises(IndexMismatchError, match="hash-16"):
        EdgeIndex(folder, HashEmbedder(32))


@pytest.mark.parametrize("damage", [b"", b"garbage " * 1000])
def test_a_damaged_catalogue(folder: Path, damage: bytes) -> None:
    file = folder / "catalogue.sqlite3"
    file.write_bytes(damage if damage else b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(IndexDamagedError, match=r"delete the index folder"):
        EdgeIndex(folder, EMBEDDER)


def test_a_catalogue_that_lost_a_table(folder: Path) -> None:
    with sqlite3.connect(folder / "catalogue.sqlite3") as db:
        db.execute("ALTER TABLE sources RENAME COLUMN size TO weight")
    db.close()
    with EdgeIndex(folder, EMBEDDER) as index, pytest.raises(IndexDamagedError, match="size"):
        index.documents()


def test_missing_points(folder: Path) -> None:
    with EdgeIndex(folder, EMBEDDER) as index:
        index.store.delete([index.documents()[0].document_id])
        index.store.flush()
    with pytest.raises(IndexDamagedError, match="2 chunks, its catalogue says 3"):
        EdgeIndex(folder, EMBEDDER)


def test_a_lost_shard(folder: Path) -> None:
    (folder / "shard").rename(folder.parent / "elsewhere")
    with pytest.raises(IndexDamagedError, match="0 chunks, its catalogue says 3"):
        EdgeIndex(folder, EMBEDDER)


def test_a_shard_without_its_files(folder: Path) -> None:
    for file in (folder / "shard").glob("*.json"):
        file.unlink()
    segments = folder / "shard" / "segments"
    for file in segments.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")
    with pytest.raises(IndexDamagedError, match="rag docs rebuild"):
        EdgeIndex(folder, EMBEDDER)


@pytest.mark.parametrize("method", ["write", "flush", "delete"])
def test_the_old_state_is_served_after_a_failed_write(
    docs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    with EdgeIndex(folder, EMBEDDER) as index:
        before = state(index)
    write_files(docs, {"pets.md": "No pets any more.", "new.md": "New."})

    def fail(self: EdgeStore, *_: object) -> None:
        with self._told("written"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with EdgeIndex(folder, EMBEDDER) as index:
        with monkeypatch.context() as patch:
            patch.setattr(EdgeStore, method, fail)
            with pytest.raises(IndexDamagedError, match=r"No space left.*free disk space"):
                pipeline.ingest([docs], index, EMBEDDER)
        shown = search(index, "pets dogs deck")
        assert set(shown) <= {*before, "new.md"}, "no half-written document is found"
        report = pipeline.ingest([docs], index, EMBEDDER)
        assert report.failed == ()
    with EdgeIndex(folder, EMBEDDER) as index:
        after = state(index)
        assert index.catalogue.text(after["pets.md"][0]) == "No pets any more."


def test_a_full_disk_in_the_catalogue(docs: Path, folder: Path) -> None:
    with EdgeIndex(folder, EMBEDDER) as index:
        before = state(index)
        pages = index.catalogue._rows("PRAGMA page_count")[0][0]
        index.catalogue._rows(f"PRAGMA max_page_count={pages}")
        noise = " ".join(f"word{n * 7919 % 100_003}" for n in range(20_000))
        write_files(docs, {"pets.md": "Changed.", "big.md": noise})
        with pytest.raises(IndexDamagedError, match=r"full.*free disk space"):
            pipeline.ingest([docs], index, EMBEDDER)
    with EdgeIndex(folder, EMBEDDER) as index:
        assert state(index) == before
        assert search(index, "dogs")[0] == "pets.md"


def test_files_cannot_grow(docs: Path, folder: Path) -> None:
    """As on a full disk, for every file of the index at once: writes end with an error of the system."""
    noise = " ".join(f"word{n * 7919 % 100_003}" for n in range(60_000))
    write_files(docs, {"big.md": noise})
    code = """if True:
        import resource, signal, sys
        from pathlib import Path
        from ingest import pipeline
        from ingest.embed import HashEmbedder
        from ingest.errors import IndexDamagedError
        from ingest.edge_index import EdgeIndex
        from ingest_support import light_parse_files
        pipeline.parse_files = light_parse_files
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with EdgeIndex(Path(sys.argv[2]), HashEmbedder(16)) as index:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            try:
                pipeline.ingest([Path(sys.argv[1])], index, HashEmbedder(16))
            except IndexDamagedError as error:
                print(error)"""
    with EdgeIndex(folder, EMBEDDER) as index:
        before = state(index)
    done = run_python(code, str(docs), str(folder))
    assert "free disk space" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    with EdgeIndex(folder, EMBEDDER) as index:
        assert state(index) == before


def test_a_disk_without_room(docs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing on would end in a signal, for the engine writes through memory."""
    with EdgeIndex(folder, EMBEDDER) as index:
        before = state(index)
    usage = shutil.disk_usage(folder)
    write_files(docs, {"pets.md": "Changed."})
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=20 * 2**20))
        with EdgeIndex(folder, EMBEDDER) as index:
            with pytest.raises(IndexDamagedError, match=r"20 MiB are free, 64 are needed.*free disk space"):
                pipeline.ingest([docs], index, EMBEDDER)
            assert search(index, "dogs")[0] == "pets.md"
        with pytest.raises(IndexDamagedError, match="64 are needed"):
            EdgeIndex(folder.parent / "other", EMBEDDER, create=True)
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20))
        with pytest.raises(IndexDamagedError, match="1 MiB are free, 8 are needed"):
            EdgeIndex(folder, EMBEDDER)
    with EdgeIndex(folder, EMBEDDER) as index:
        assert state(index) == before


def test_a_write_that_is_under_way_is_not_found(folder: Path, monkeypatch: pytest.MonkeyPatch, docs: Path) -> None:
    seen: list[list[str]] = []
    real = EdgeStore.flush

    def look(self: EdgeStore) -> None:
        real(self)
        seen.append(search(index, "pets dogs deck aardvark"))

    write_files(docs, {"pets.md": "aardvark " * 5, "zoo.md": "aardvark dogs"})
    with EdgeIndex(folder, EMBEDDER) as index:
        monkeypatch.setattr(EdgeStore, "flush", look)
        pipeline.ingest([docs], index, EMBEDDER)
    assert sorted(seen[0]) == sorted(DOCS), "the old version only, until the new one is committed"
    assert sorted(seen[1]) == sorted([*DOCS, "zoo.md"]), "the new version only, while the old one is deleted"
