"""Invariants of the prompt, from what a run notes of it (:class:`eval.types.PromptFacts`).

Both are 1 where the promise was kept and 0 where it was broken; neither applies where the record has no prompt: the
model was not asked, or another system made the answer.
"""

from __future__ import annotations

from eval.types import Record, Score

_NO_PROMPT = "the record has no prompt"


def within_budget(record: Record) -> Score:
    """1 if the prompt and the tokens reserved for the answer fit the context window, and the answer kept to its own.

    tokens + reserved_tokens <= context_window and usage.answer_tokens <= reserved_tokens; and usage.prompt_tokens, as
    the engine counted, is tokens: else it read another prompt than the one that was measured. What usage does not say
    is not held against it. 0 or 1; the promise is groundchat's own (rag/context.py). Not applicable without a prompt.
    """
    prompt = record.prompt
    if prompt is None:
        return Score(name="within_budget", value=None, why=_NO_PROMPT)
    read = record.usage.get("prompt_tokens", prompt.tokens)
    answer = record.usage.get("answer_tokens", 0)
    fits = prompt.tokens + prompt.reserved_tokens <= prompt.context_window and answer <= prompt.reserved_tokens
    return Score(
        name="within_budget",
        value=float(fits and read == prompt.tokens),
        why=f"prompt {prompt.tokens} tokens, {read:g} by the engine; answer {answer:g} of {prompt.reserved_tokens}; "
        f"window {prompt.context_window}",
    )


def control_tokens_kept(record: Record) -> Score:
    """1 if the prompt has exactly the control tokens that its template puts there.

    control_tokens == template_tokens: one more and a passage or a question has become a command. 0 or 1; the promise is
    groundchat's own (prompts/). Not applicable without a prompt.
    """
    prompt = record.prompt
    if prompt is None:
        return Score(name="control_tokens_kept", value=None, why=_NO_PROMPT)
    return Score(
        name="control_tokens_kept",
        value=float(prompt.control_tokens == prompt.template_tokens),
        why=f"{prompt.control_tokens} found, {prompt.template_tokens} from the template",
    )
