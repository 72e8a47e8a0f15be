"""What ``rag demo`` shows: the sample handbook and three questions to it."""

from __future__ import annotations

from pathlib import Path

from rag.errors import SettingsError

QUESTIONS = (
    "How many months between annual inspections?",
    "What does a red light on the station mean?",
    "What is the capital of Australia?",
)


def corpus_folder() -> Path:
    """The sample documents: inside the installed package, or ``data/corpus`` of a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (here / "demo_corpus", here.parent / "data" / "corpus"):
        if folder.is_dir():
            return folder
    raise SettingsError("the sample documents are missing: install groundchat again, or run in a checkout")
