"""The README's Python examples run as they stand, one after the other, and the docs say what the code does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def python_examples() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def test_the_readme_examples_run(
    corpus_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example = "\n".join(python_examples())
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".rag").mkdir()
    (tmp_path / ".rag" / "demo").symlink_to(corpus_index)
    exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    said = capsys.readouterr().out
    assert "14 months" in said
    assert "verified" in said
    assert re.search(r"\d citations", said)
    assert "annual inspections? " in said  # what the follow-up is searched for


def test_the_docs_agree_with_the_code() -> None:
    done = subprocess.run([sys.executable, ROOT / ".ci" / "check_docs.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_name_that_rag_exports_exists() -> None:
    import rag

    assert all(getattr(rag, name) is not None for name in rag.__all__)
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = rag.nothing_of_this_name
