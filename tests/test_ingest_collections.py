"""Collections: indexes of their own in one folder, listed without a lock."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from ingest_support import light_parse_files, write_files

from ingest import pipeline
from ingest.collections import check_collection, collection_folder, list_collections
from ingest.embed import HashEmbedder
from ingest.errors import IndexDamagedError, IndexInUseError, IndexMismatchError, IndexMissingError, IndexProblem
from ingest.index import open_index

EMBEDDER = HashEmbedder(16)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with the collections default (two sources of one document), b and a."""
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    for name, embedder, files in (
        ("b", HashEmbedder(8), {"b.md": "One."}),
        ("default", EMBEDDER, {"one.md": "Same.", "two.md": "Same."}),
        ("a", EMBEDDER, {"a.md": "# A\nText."}),
    ):
        docs = write_files(tmp_path / f"docs-{name}", dict(files))
        with open_index(str(tmp_path / "index"), embedder, create=True, collection=name) as index:
            pipeline.ingest([docs], index, embedder)
    return tmp_path / "index"


def files(folder: Path) -> list[tuple[Path, int]]:
    return sorted((file, file.stat().st_mtime_ns) for file in folder.rglob("*"))


def test_they_are_listed_the_default_one_first_and_nothing_is_touched(root: Path) -> None:
    before = files(root)
    found = [(c.name, c.folder, c.documents, c.chunks, c.embedder) for c in list_collections(root)]
    assert found == [
        ("default", str(root), 2, 1, "hash-16"),
        ("a", str(root / "collections" / "a"), 1, 1, "hash-16"),
        ("b", str(root / "collections" / "b"), 1, 1, "hash-8"),
    ]
    assert files(root) == before


def test_each_has_its_own_documents_lock_and_embedder(root: Path) -> None:
    with (
        open_index(str(root), EMBEDDER) as default,
        open_index(str(root), EMBEDDER, collection="a") as a,
        open_index(str(root), HashEmbedder(8), collection="b") as b,
    ):
        assert [d.source for d in default.documents()] == ["one.md", "two.md"]
        assert [d.source for d in a.documents()] == ["a.md"]
        assert [d.source for d in b.documents()] == ["b.md"]
        with pytest.raises(IndexInUseError):
            open_index(str(root), EMBEDDER, collection="a")
        a.remove(["a.md"])
        assert [c.documents for c in list_collections(root)] == [2, 0, 1], "as it is, also while it is open"
    with pytest.raises(IndexMismatchError, match="hash-8"):
        open_index(str(root), EMBEDDER, collection="b")


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "../a", "a\\b", "a b", "ä", "x" * 65, "a\n", "a\0"])
def test_unsafe_names(root: Path, name: str) -> None:
    before = files(root)
    with pytest.raises(IndexProblem, match="64 letters"):
        open_index(str(root), EMBEDDER, create=True, collection=name)
    assert files(root) == before


@pytest.mark.parametrize("name", ["a", "A-b_c.9", "-", "x" * 64, "default"])
def test_safe_names(tmp_path: Path, name: str) -> None:
    check_collection(name)
    expected = tmp_path if name == "default" else tmp_path / "collections" / name
    assert collection_folder(tmp_path, name) == expected


def test_one_that_is_not_there_is_told_with_those_that_are(root: Path) -> None:
    with pytest.raises(IndexMissingError, match=r"no collection 'c'.*there are default, a, b;"):
        open_index(str(root), EMBEDDER, collection="c")
    shutil.rmtree(root / "shard")
    (root / "catalogue.sqlite3").unlink()
    with pytest.raises(IndexMissingError, match=r"no collection 'default'.*there are a, b;"):
        open_index(str(root), EMBEDDER)
    open_index(str(root), EMBEDDER, create=True).close()


def test_no_index_at_all(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(IndexMissingError, match="rag ingest"):
            list_collections(folder)
        with pytest.raises(IndexMissingError, match="rag ingest"):
            open_index(str(folder), EMBEDDER, collection="a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_other_files_takes_no_collection(tmp_path: Path) -> None:
    write_files(tmp_path, {"letter.txt": "Dear"})
    with pytest.raises(IndexMismatchError, match="empty folder"):
        open_index(str(tmp_path), EMBEDDER, create=True, collection="a")
    assert [file.name for file in tmp_path.iterdir()] == ["letter.txt"]


def test_a_catalogue_after_a_crash_is_read(root: Path) -> None:
    """Its log is still beside it, and holds what the file itself does not."""
    with open_index(str(root), EMBEDDER, collection="a") as index:
        index.remove(["a.md"])
        shutil.copytree(index.folder, root / "collections" / "crashed")
    assert {c.name: c.documents for c in list_collections(root)}["crashed"] == 0


@pytest.mark.parametrize("damage", [b"garbage " * 1000, b""])
def test_a_damaged_catalogue(root: Path, damage: bytes) -> None:
    (root / "collections" / "a" / "catalogue.sqlite3").write_bytes(damage)
    with pytest.raises(IndexDamagedError, match=r"collections/a/catalogue\.sqlite3 cannot be read"):
        list_collections(root)


def test_a_catalogue_without_its_facts(root: Path) -> None:
    with sqlite3.connect(root / "catalogue.sqlite3") as db:
        db.execute("DELETE FROM meta")
    db.close()
    assert list_collections(root)[0].embedder == ""
