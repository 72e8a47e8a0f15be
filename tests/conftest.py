"""What all tests share: a small index with a fake embedder, and one of the sample corpus with the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingest.edge_index import EdgeIndex
from ingest.embed import HashEmbedder, open_embedder
from ingest.index import open_index
from ingest.pipeline import ingest
from rag.retriever import Retriever

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "data" / "corpus"

FERRY = {
    "crew.md": "# Crew\n\nThe chief engineer is Marit Solheim. She joined the company in 2004.\n",
    "boats.md": "# Boats\n\n## Orrin\n\nThe MV Orrin carries 214 passengers. She was launched in 1987.\n\n"
    "## Pip\n\nThe MV Pip carries 60 passengers.\n",
    "pets.txt": "Dogs travel free on the open deck. Cats must stay in a carrier in the lounge.\n",
}

Rag = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def ferry_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small documents about a ferry company."""
    folder = tmp_path_factory.mktemp("ferry")
    for name, text in FERRY.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def ferry_index(ferry_folder: Path, tmp_path: Path) -> Iterator[EdgeIndex]:
    """The ferry documents in a real engine, embedded by the fake embedder."""
    embedder = HashEmbedder()
    with open_index(str(tmp_path / "index"), embedder, create=True) as index:
        ingest([ferry_folder], index, embedder, workers=1)
        yield index


@pytest.fixture
def ferry_retriever(ferry_index: EdgeIndex) -> Retriever:
    return Retriever(ferry_index, HashEmbedder())


@pytest.fixture(scope="session")
def corpus_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an index of data/corpus, made with the packaged MiniLM."""
    folder = tmp_path_factory.mktemp("corpus") / "index"
    embedder = open_embedder()
    with open_index(str(folder), embedder, create=True) as index:
        report = ingest([CORPUS], index, embedder)
    assert not report.failed
    return folder


@pytest.fixture(scope="session")
def rag() -> Rag:
    """Run the installed command as a user would; settings of the developer's shell do not leak in."""

    def run(*args: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
        command = [sys.executable, "-c", "from rag.cli.main import main; main()", *args]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=600,
            cwd=cwd,
            env=clean | env,
            stdin=subprocess.DEVNULL,
        )

    return run
