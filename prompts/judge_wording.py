"""The sentences around a claim that a model judges, as data; strict like `prompts.wording`."""

from dataclasses import dataclass
from pathlib import Path

from prompts.wording import fill, read_texts

SLOTS: dict[str, frozenset[str]] = {
    "system": frozenset(),
    "pair": frozenset({"subject", "text", "claim", "question"}),
    "subject": frozenset({"subject"}),
    "supported": frozenset(),
    "contradicted": frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeWording:
    """The texts of one file; make it with `load_judge_wording`. What is put into it is not defused here."""

    system: str
    pair_text: str
    subject_text: str
    supported: str
    contradicted: str

    def pair(self, text: str, claim: str, subject: str, question: str) -> str:
        """The user message: a text, what it is about (may be empty), a claim, and one of the two questions."""
        about = fill(self.subject_text, subject=subject) if subject else ""
        return fill(self.pair_text, subject=about, text=text, claim=claim, question=question)


def load_judge_wording(path: Path | None = None) -> JudgeWording:
    """Read a wording file; without `path`, the one that is shipped (`templates/judge.toml`).

    Raises:
        WordingError: the file is not readable TOML, or a key or slot is missing or not known.
    """
    texts = read_texts(path, "judge.toml", SLOTS)
    return JudgeWording(
        system=texts["system"],
        pair_text=texts["pair"],
        subject_text=texts["subject"],
        supported=texts["supported"],
        contradicted=texts["contradicted"],
    )
