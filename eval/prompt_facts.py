"""What a run notes of a prompt, counted with the vocabulary of the model's own file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from eval.types import PromptFacts
from prompts.defuse import find_reserved
from prompts.types import Message, Prompt
from rag.model import ChatModel
from rag.models import find_model, is_server
from rag.settings import Settings


def control_ids(settings: Settings) -> frozenset[int]:
    """Ids of every token that steers the settings' model and is not text.

    They are read from the model's file (for a server, from that of ``--tokenizer``), not asked of the chat, whose
    prompts are checked by them. Empty for a server without ``--tokenizer``: its prompts have no ids here. Words and
    runs of spaces that a vocabulary lists as user-defined are text (:func:`prompts.defuse.find_reserved`).
    """
    from rag import engine

    if is_server(settings.model) and not settings.tokenizer:
        return frozenset()
    file = find_model(settings.tokenizer if is_server(settings.model) else settings.model)
    vocabulary = engine.load(
        file, window=512, threads=1, gpu_layers=0, batch=0, flash_attention="off", vocabulary_only=True
    )
    try:
        tokens = engine.control_tokens(vocabulary)
    finally:
        vocabulary.close()
    tags = tuple(token.text for token in tokens)
    return frozenset(token.id for token in tokens if not token.user_defined or find_reserved(token.text, tags))


def prompt_facts(
    prompt: Prompt | None, model: ChatModel, reserved: int, controls: frozenset[int]
) -> PromptFacts | None:
    """The facts of a prompt; ``reserved``: tokens kept for the answer; ``controls``: ids of control tokens.

    None where the model was not asked, and where a server writes the prompt from the messages. The template's share
    of control tokens is counted on a prompt of the same roles with a harmless word in place of every content.
    """
    if prompt is None or not prompt.token_ids:
        return None
    harmless = model.format.build([Message(role=message.role, content="x") for message in prompt.messages])
    return PromptFacts(
        tokens=len(prompt.token_ids),
        context_window=model.context_window,
        reserved_tokens=reserved,
        control_tokens=_count(prompt.token_ids, controls),
        template_tokens=_count(harmless.token_ids, controls),
        sha256=ids_digest(prompt.token_ids),
    )


def ids_digest(token_ids: Sequence[int]) -> str:
    """sha256 of token ids, written in decimal with a comma between them."""
    return hashlib.sha256(",".join(map(str, token_ids)).encode()).hexdigest()


def _count(token_ids: Sequence[int], controls: frozenset[int]) -> int:
    return sum(token_id in controls for token_id in token_ids)
