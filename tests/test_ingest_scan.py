"""Paths to files: order, names, and what is left out."""

from pathlib import Path

import pytest
from ingest_support import write_files

from ingest.errors import NothingToIngestError
from ingest.scan import scan

FILES = {
    "b.md": "",
    "a.md": "",
    ".hidden.md": "",
    ".git/config.md": "",
    "node_modules/x.md": "",
    "__pycache__/y.md": "",
    "z/c.md": "",
    "B/d.md": "",
}


def test_order_and_what_is_left_out(tmp_path: Path) -> None:
    root = write_files(tmp_path / "docs", dict(FILES))
    found = scan([root])
    assert [file.source for file in found.files] == ["B/d.md", "a.md", "b.md", "z/c.md"]
    assert all(file.path == root / file.source and file.root == str(root) for file in found.files)
    assert found.complete == {str(root)}
    assert found.unlisted == ()


def test_a_file_is_named_below_its_folder(tmp_path: Path) -> None:
    root = write_files(tmp_path / "docs", dict(FILES))
    found = scan([root / "a.md"])
    assert [(file.source, file.root) for file in found.files] == [("a.md", str(root))]
    assert found.complete == frozenset()


def test_a_file_named_twice_is_there_once(tmp_path: Path) -> None:
    root = write_files(tmp_path / "docs", dict(FILES))
    found = scan([root, root / "z", root / "a.md", root / "z" / ".."])
    assert [file.source for file in found.files] == ["B/d.md", "a.md", "b.md", "z/c.md"]


def test_links(tmp_path: Path) -> None:
    root = write_files(tmp_path / "docs", {"a.md": "x"})
    outside = write_files(tmp_path / "outside", {"secret.md": "x"})
    (root / "linked.md").symlink_to(outside / "secret.md")
    (root / "up").symlink_to(root.parent)
    (root / "self").symlink_to(root)
    (tmp_path / "entry").symlink_to(root)
    assert [file.source for file in scan([root]).files] == ["a.md", "linked.md"]
    assert [file.root for file in scan([tmp_path / "entry"]).files] == [str(root)] * 2


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NothingToIngestError, match="does not exist"):
        scan([tmp_path / "nowhere"])
    write_files(tmp_path / "docs", {".hidden": ""})
    with pytest.raises(NothingToIngestError, match="no files in"):
        scan([tmp_path / "docs"])
