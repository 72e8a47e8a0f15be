"""A GGUF model as judge: asked with Yes or No, its probabilities of the two words are read; nothing is sampled.

What makes it the same every time: the instruction is read once, and every pair from there on, in the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from prompts.defuse import defuse, find_reserved
from prompts.encoding import clean
from prompts.formats import PromptFormat
from prompts.judge_wording import JudgeWording, load_judge_wording
from prompts.types import Message
from rag.grounding import Grounding, Label, Verdict
from rag.reading import bare, near

YES = ("Yes", "yes", "YES")
NO = ("No", "no", "NO")
WINDOW = 2048
"""Tokens; a pair needs about 300."""
_READ_WHOLE = 250
"""Words; a longer text is cut down to the sentences that come closest."""


class Chooser(Protocol):
    """What a judge needs of a model; :class:`rag.llama.LlamaModel` has it."""

    format: PromptFormat
    context_window: int

    def choose(self, token_ids: Sequence[int], choices: Sequence[Sequence[str]], keep: int | None) -> tuple[float, ...]:
        """See :meth:`rag.llama.LlamaModel.choose`."""
        ...


class JudgeVerifier:
    """Judges claims by asking a model (:class:`rag.grounding.Verifier`).

    A claim that is not supported costs a second, short question: whether the text says that it is false.
    """

    def __init__(
        self,
        name: str,
        model: Chooser,
        *,
        measured: Mapping[str, float] | None = None,
        wording: JudgeWording | None = None,
        grounding: Grounding | None = None,
    ) -> None:
        self.name = name
        self.measured = measured
        self._model = model
        self._wording = wording or load_judge_wording()
        self._grounding = grounding or Grounding()
        blank, other = (self._ids(text, text, "", self._wording.supported) for text in ("", "other"))
        self._fixed = next(at for at, (one, two) in enumerate(zip(blank, other, strict=False)) if one != two)
        self._choose(blank[: self._fixed], keep=0)

    def verify(self, claim: str, evidence: str, subject: str = "") -> Verdict:
        """Judge a claim by a text. Of a text of more than 250 words the closest one to three sentences count.

        What still does not fit the model's window is cut off from the end of the text. A claim that leaves no room for
        a text is "not_enough", with the probability 0.
        """
        claim = bare(claim)
        read = near(self._grounding, claim, evidence, _READ_WHOLE)
        read = read[
            : self._room(lambda size: self._ids(read[:size], claim, subject, self._wording.supported), len(read))
        ]
        if not read.strip():
            return Verdict(label="not_enough", p_supported=0.0, evidence="")
        supported = self._yes(self._ids(read, claim, subject, self._wording.supported), keep=self._fixed)
        label: Label = "supported"
        if supported < 0.5:
            contradicted = self._yes(self._ids(read, claim, subject, self._wording.contradicted), keep=None)
            label = "contradicted" if contradicted >= 0.5 else "not_enough"
        return Verdict(label=label, p_supported=supported, evidence=read)

    def _room(self, ids: Callable[[int], list[int]], size: int) -> int:
        """The characters of the text, at most ``size``, with which the longer question fits the window."""
        spare = self._model.context_window - 32
        while size > 0 and (tokens := len(ids(size))) > spare:
            size = min(size - 1, size * spare // tokens)
        return size

    def _yes(self, token_ids: list[int], keep: int | None) -> float:
        return math.exp(self._choose(token_ids, keep)[0])

    def _choose(self, token_ids: list[int], keep: int | None) -> tuple[float, ...]:
        return self._model.choose(token_ids, (YES, NO), keep)

    def _ids(self, text: str, claim: str, subject: str, question: str) -> list[int]:
        asked = self._wording.pair(self._safe(text), self._safe(claim), self._safe(subject), question)
        tags = self._model.format.tags
        # Texts that are harmless apart can make a tag where the frame joins them.
        content = defuse(asked, tags) if find_reserved(asked, tags) else asked
        messages = (Message(role="system", content=self._wording.system), Message(role="user", content=content))
        return list(self._model.format.build(messages).token_ids)

    def _safe(self, text: str) -> str:
        return defuse(clean(text), self._model.format.tags)
