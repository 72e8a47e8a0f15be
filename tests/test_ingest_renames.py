"""A renamed file keeps the fields that were given to it; a copy has its own."""

import os
import shutil
from pathlib import Path

import pytest
from ingest_support import CountingEmbedder, light_parse_files, write_files

from ingest import pipeline
from ingest.edge_index import EdgeIndex
from ingest.fields import parse_meta
from ingest.pipeline import ingest
from ingest.renames import heirs


@pytest.mark.parametrize(
    ("new", "gone", "expected"),
    [
        ({"b": "1"}, {"a": "1"}, {"b": "a"}),
        ({"b": "1"}, {"a": "2"}, {}),
        ({"b": "1", "c": "2"}, {}, {}),
        # The same file name counts more than the same folder, and that more than the order.
        ({"x/a.md": "1", "b.md": "1"}, {"a.md": "1", "x/b.md": "1"}, {"x/a.md": "a.md", "b.md": "x/b.md"}),
        ({"q/n.md": "1", "p/n.md": "1"}, {"p/m.md": "1", "q/m.md": "1"}, {"p/n.md": "p/m.md", "q/n.md": "q/m.md"}),
        ({"n": "1", "m": "1"}, {"b": "1", "a": "1"}, {"m": "a", "n": "b"}),
        # One was renamed, the other copied from it: which is which cannot be told.
        ({"b": "1", "c": "1"}, {"a": "1"}, {"b": "a", "c": "a"}),
    ],
)
def test_which_file_was_which(new: dict[str, str], gone: dict[str, str], expected: dict[str, str]) -> None:
    assert heirs(new, gone) == expected


class Bench:
    def __init__(self, folder: Path) -> None:
        self.docs = write_files(
            folder / "docs", {"a.md": "Text of a.", "b.md": "Text of b.", "deep/c.md": "Text of c."}
        )
        self.folder = folder / "index"
        self.embedder = CountingEmbedder()

    def run(self, *meta: str, paths: tuple[str, ...] = (), prune: bool = False) -> None:
        with EdgeIndex(self.folder, self.embedder, create=True) as index:
            chosen = [self.docs / path for path in paths] or [self.docs]
            ingest(chosen, index, self.embedder, prune=prune, fields=parse_meta(meta))

    def teams(self) -> dict[str, tuple[str, ...]]:
        with EdgeIndex(self.folder, self.embedder) as index:
            return {d.source: d.fields["team"] for d in index.documents() if "team" in d.fields}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(pipeline, "parse_files", light_parse_files)
    found = Bench(tmp_path)
    found.run("team=Sea", paths=("a.md",))
    found.run()
    assert found.teams() == {"a.md": ("Sea",)}
    return found


@pytest.mark.parametrize("prune", [True, False])
def test_a_rename_keeps_them(bench: Bench, prune: bool) -> None:
    (bench.docs / "a.md").rename(bench.docs / "deep/z.md")
    bench.run(prune=prune)
    assert bench.teams() == {"deep/z.md": ("Sea",)} | ({} if prune else {"a.md": ("Sea",)})
    (bench.docs / "deep/z.md").rename(bench.docs / "a.md")
    bench.run(prune=True)
    assert bench.teams() == {"a.md": ("Sea",)}


def test_a_renamed_folder_keeps_them(bench: Bench) -> None:
    bench.run("team=Deep")
    (bench.docs / "deep").rename(bench.docs / "far")
    bench.run(prune=True)
    assert bench.teams() == {"a.md": ("Deep",), "b.md": ("Deep",), "far/c.md": ("Deep",)}


def test_a_copy_has_none(bench: Bench) -> None:
    shutil.copy(bench.docs / "a.md", bench.docs / "copy.md")
    bench.run(prune=True)
    assert bench.teams() == {"a.md": ("Sea",)}
    (bench.docs / "a.md").unlink()
    bench.run(prune=True)
    assert bench.teams() == {}, "the copy was there before: it is no rename"


def test_a_file_of_another_folder_that_is_still_there_was_not_renamed(bench: Bench, tmp_path: Path) -> None:
    other = write_files(tmp_path / "other", {"new.md": "Text of a."})
    with EdgeIndex(bench.folder, bench.embedder) as index:
        ingest([other], index, bench.embedder)
    assert bench.teams() == {"a.md": ("Sea",)}


def test_an_edit_keeps_the_names_own(bench: Bench) -> None:
    bench.run("team=Shore", paths=("b.md",))
    for old, new in [("a.md", "x"), ("b.md", "a.md"), ("x", "b.md")]:
        (bench.docs / old).rename(bench.docs / new)
    bench.run(prune=True)
    assert bench.teams() == {"a.md": ("Sea",), "b.md": ("Shore",)}


def test_meta_of_the_same_run_comes_after(bench: Bench) -> None:
    (bench.docs / "a.md").rename(bench.docs / "z.md")
    bench.run("team=", "year=2024", prune=True)
    assert bench.teams() == {}


def test_a_run_that_dies_before_it_prunes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.docs / "a.md").rename(bench.docs / "z.md")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_prune", lambda *_: os._exit)
        bench.run(prune=True)
    bench.run(prune=True)
    assert bench.teams() == {"z.md": ("Sea",)}
