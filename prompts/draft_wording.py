"""The sentences that ask a model to draft a case, as data; strict like `prompts.wording`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompts.wording import fill, read_texts

SLOTS: dict[str, frozenset[str]] = {
    "system": frozenset(),
    "passage": frozenset({"source", "headings", "text", "shape"}),
    "heading": frozenset({"heading"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftWording:
    """The texts of one file; make it with `load_draft_wording`.

    What is put into it is not defused here: whoever makes messages of it does that, to the whole.
    """

    system: str
    passage_text: str
    heading_text: str

    def passage(self, text: str, source: str, headings: Sequence[str], shape: str) -> str:
        """The user message: one passage, with the headings above it from the outermost in, and what is wanted."""
        above = "".join(fill(self.heading_text, heading=heading) for heading in headings)
        return fill(self.passage_text, source=source, headings=above, text=text, shape=shape)


def load_draft_wording(path: Path | None = None) -> DraftWording:
    """Read a wording file; without `path`, the one that is shipped (`templates/drafts.toml`).

    Raises:
        WordingError: the file is not readable TOML, or a key or slot is missing or not known.
    """
    texts = read_texts(path, "drafts.toml", SLOTS)
    return DraftWording(system=texts["system"], passage_text=texts["passage"], heading_text=texts["heading"])
