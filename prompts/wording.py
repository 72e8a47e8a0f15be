"""The sentences around a question, as data: a TOML file of texts with `{slots}`.

Strict both ways: a file must have exactly the keys of `SLOTS`, and each text exactly the slots listed
there. Slots are filled in one pass, so that a passage that holds `{question}` stays as it is.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from prompts.errors import WordingError

SLOTS: dict[str, frozenset[str]] = {
    "refusal": frozenset(),
    "system": frozenset({"refusal", "passages"}),
    "passage": frozenset({"number", "source", "headings", "text"}),
    "heading": frozenset({"heading"}),
    "between_passages": frozenset(),
    "question": frozenset({"question"}),
    "summary": frozenset({"summary"}),
    "summarise": frozenset(),
}
_SLOT = re.compile(r"\{(\w+)\}")


def fill(text: str, /, **values: str) -> str:
    """`text` with its slots filled, in one pass."""
    return _SLOT.sub(lambda slot: values[slot[1]], text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The texts of one wording file; make it with `load_wording`.

    What is put into it is not defused here: do that before, to each text on its own.
    """

    refusal: str
    system_text: str
    passage_text: str
    heading_text: str
    between_passages: str
    question_text: str
    summary_text: str
    summarise: str

    def passage(self, number: int, text: str, source: str, headings: Sequence[str] = ()) -> str:
        """One passage in its frame. `number` is from 1, `headings` from the outermost in."""
        above = "".join(fill(self.heading_text, heading=heading) for heading in headings)
        return fill(self.passage_text, number=str(number), source=source, headings=above, text=text)

    def system(self, passages: Sequence[str], summary: str = "") -> str:
        """The system message: the instruction, the framed passages in their order, what was said before them."""
        text = fill(self.system_text, refusal=self.refusal, passages=self.between_passages.join(passages))
        return text + (fill(self.summary_text, summary=summary) if summary else "")

    def question(self, text: str) -> str:
        """The user message."""
        return fill(self.question_text, question=text)


def load_wording(path: Path | None = None) -> Wording:
    """Read a wording file; without `path`, the one that is shipped (`templates/answer.toml`).

    Raises:
        WordingError: the file is not readable TOML, or a key or slot is missing or not known.
    """
    table = read_texts(path, "answer.toml", SLOTS)
    return Wording(
        refusal=table["refusal"],
        system_text=table["system"],
        passage_text=table["passage"],
        heading_text=table["heading"],
        between_passages=table["between_passages"],
        question_text=table["question"],
        summary_text=table["summary"],
        summarise=table["summarise"],
    )


def read_texts(path: Path | None, shipped: str, slots: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """The texts of a wording file: exactly the keys of `slots`, each with exactly the slots listed there.

    Without `path`, the file `shipped` of `prompts/templates`.

    Raises:
        WordingError: the file is not readable TOML, or a key or slot is missing or not known.
    """
    name = str(path) if path else f"the shipped {shipped}"
    file = path or resources.files("prompts").joinpath("templates", shipped)
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WordingError(f"the wording file {name} cannot be read ({error}); give a UTF-8 TOML file") from error
    _compare(f"{name} has keys", set(table), frozenset(slots))
    for key, wanted in slots.items():
        if not isinstance(table[key], str):
            raise WordingError(f"{name}: {key} is {table[key]!r}; it must be a text")
        _compare(f"{name}: {key} has slots", set(_SLOT.findall(table[key])), wanted)
    return table


def _compare(what: str, found: set[str], expected: frozenset[str]) -> None:
    if found != expected:
        missing, unknown = sorted(expected - found), sorted(found - expected)
        needed = f"it needs exactly {sorted(expected)}"
        raise WordingError(f"{what} that do not fit: missing {missing}, unknown {unknown}; {needed}")
