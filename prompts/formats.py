"""Which format a model is prompted in, and the format itself: messages -> `Encoded`."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Protocol

from prompts.defuse import find_reserved
from prompts.encoding import Assembler, Piece, clean
from prompts.errors import TemplateError, UnsafePromptError
from prompts.llama2 import turns
from prompts.order import split_turns
from prompts.template import ChatTemplate, fill
from prompts.types import ControlToken, Encoded, Message, Tokenizer

__all__ = ["FORMAT_NAMES", "Encoded", "Llama2Format", "PromptFormat", "TemplateFormat", "choose_format"]

# The string by which each built-in format is known in a model's own template.
MARKERS = {
    "llama-2": "<<SYS>>",
    "chatml": "<|im_start|>",
    "llama-3": "<|start_header_id|>",
    "mistral": "[INST]",
    "gemma": "<start_of_turn>",
    "zephyr": "<|user|>",
}
FORMAT_NAMES = ("auto", "template", *MARKERS)
_SINGLE_TOKENS = frozenset({"chatml", "llama-3", "gemma"})
_LLAMA2_CHAT = re.compile(r"llama[-_ ]?v?2.*chat", re.IGNORECASE)


class PromptFormat(Protocol):
    """How one model wants its messages.

    Attributes:
        name: As for `--prompt-format`; "template" is the model's own.
        why: Why this one was chosen, for people; with "warning:" in it when the model says otherwise.
        tags: The vocabulary's control and user-defined tokens, to be passed to `defuse`.
    """

    @property
    def name(self) -> str: ...

    @property
    def why(self) -> str: ...

    @property
    def tags(self) -> tuple[str, ...]: ...

    def build(self, messages: Sequence[Message]) -> Encoded:
        """The prompt for these messages, answer left open.

        Raises:
            MessageOrderError: not an optional system message, then user, assistant, ..., user.
            UnsafePromptError: a content was not defused with `tags`.
            PromptError: the template or the tokenizer fails on these messages.
        """


def _check(messages: Sequence[Message], tags: tuple[str, ...]) -> None:
    split_turns(messages)
    for index, message in enumerate(messages):
        if found := find_reserved(message.content, tags):
            raise UnsafePromptError(index, found[0])


def _shown(tokenizer: Tokenizer, token_id: int) -> str:
    return tokenizer.detokenize([token_id], special=True).decode(errors="replace")


class _Vocabulary:
    """What both formats need of a model: its tokens by kind, and how BOS and EOS are written."""

    def __init__(self, tokenizer: Tokenizer, tokens: Sequence[ControlToken]) -> None:
        ends = [token_id for token_id in (tokenizer.token_bos(), tokenizer.token_eos()) if token_id >= 0]
        listed = (*(ControlToken(text=_shown(tokenizer, end), id=end) for end in ends), *tokens)
        by_id = {token.id: token for token in listed if token.text}
        self.bos = by_id.get(tokenizer.token_bos())
        self.eos = by_id.get(tokenizer.token_eos())
        self.controls = tuple(token for token in by_id.values() if not token.user_defined)
        self.tags = tuple(sorted({token.text for token in by_id.values()}))
        self.assembler = Assembler(tokenizer, frozenset(token.id for token in self.controls))


class Llama2Format:
    """Meta's format exactly (`prompts.llama2`), whatever template the model carries."""

    name = "llama-2"

    def __init__(self, vocabulary: _Vocabulary, why: str) -> None:
        self.why = why
        self.tags = vocabulary.tags
        self._vocabulary = vocabulary

    def build(self, messages: Sequence[Message]) -> Encoded:
        """See `PromptFormat.build`; the ids are those of `prompts.llama2.encode`."""
        _check(messages, self.tags)
        bos, eos = self._vocabulary.bos, self._vocabulary.eos
        pieces: list[Piece] = []
        spans: list[tuple[int, int]] = []
        offset = 0
        for turn in turns(messages):
            if bos is not None:
                pieces.append(Piece(bos.text, control=bos.id))
                offset += len(bos.text)
            pieces.append(Piece(turn.text))
            spans += [(offset + start, offset + end) for start, end in turn.spans]
            offset += len(turn.text)
            if turn.closed and eos is not None:
                pieces.append(Piece(eos.text, control=eos.id))
                offset += len(eos.text)
        return self._vocabulary.assembler.assemble(pieces, spans)


class TemplateFormat:
    """A Jinja chat template, the model's own or a built-in one."""

    def __init__(self, name: str, source: str, vocabulary: _Vocabulary, why: str, *, add_bos: bool) -> None:
        self.name = name
        self.why = why
        self.tags = vocabulary.tags
        self._assembler = vocabulary.assembler
        bos, eos = vocabulary.bos, vocabulary.eos
        self._template = ChatTemplate(
            source,
            controls=vocabulary.controls,
            bos=bos if add_bos else None,
            bos_text=bos.text if bos else "",
            eos_text=eos.text if eos else "",
        )
        if self._template.merges_system:
            self.why += "; it has no place for a system message, which goes into the first user message"

    def build(self, messages: Sequence[Message]) -> Encoded:
        """See `PromptFormat.build`. Contents are stripped: some templates do, and then all do."""
        _check(messages, self.tags)
        layout = self._template.layout(tuple(message.role for message in messages))
        pieces, spans = fill(layout, [clean(message.content.strip()) for message in messages])
        return self._assembler.assemble(pieces, spans)


def _warning(name: str, chat_template: str | None, vocabulary: _Vocabulary) -> str:
    """A sentence for `why` when the model does not look made for the format `name`; else empty."""
    marker = MARKERS[name]
    if chat_template:
        if marker not in chat_template:
            return f"; warning: the model's own chat template has no {marker}, so answers may be poor"
    elif name in _SINGLE_TOKENS and marker not in vocabulary.tags:
        return f"; warning: the model's vocabulary has no token {marker}, so answers may be poor"
    if name == "llama-2" and (vocabulary.bos is None or vocabulary.bos.text != "<s>"):
        return "; warning: the model's vocabulary has no <s> at its beginning of sequence, as Llama 2's has"
    return ""


def choose_format(
    requested: str,
    *,
    model_name: str,
    chat_template: str | None,
    tokenizer: Tokenizer,
    control_tokens: Sequence[ControlToken],
    add_bos: bool,
) -> PromptFormat:
    """The format to prompt a model in.

    Args:
        requested: One of `FORMAT_NAMES`. "auto" is the exact Llama 2 format when the model's template
            mentions `<<SYS>>`, or when it has none and its name says Llama 2 chat; else its own template.
        model_name: The model's name, or its file's; only read when there is no template.
        chat_template: GGUF metadata `tokenizer.chat_template`; None or empty if there is none.
        tokenizer: The model's, as `llama_cpp.Llama` is one.
        control_tokens: Every control, unknown and user-defined token of the vocabulary.
        add_bos: Whether the model wants BOS at the start of a prompt (`llama_vocab_get_add_bos`).

    Raises:
        TemplateError: an unknown name, no way to tell the format, or a template that cannot be used.
    """
    vocabulary = _Vocabulary(tokenizer, control_tokens)
    if requested not in FORMAT_NAMES:
        raise TemplateError(f"unknown prompt format {requested!r}; choose one of {', '.join(FORMAT_NAMES)}")
    if requested == "llama-2":
        return Llama2Format(vocabulary, "asked for by name" + _warning("llama-2", chat_template, vocabulary))
    if requested in MARKERS:
        source = resources.files("prompts").joinpath("templates", "formats", f"{requested}.jinja").read_text("utf-8")
        why = "asked for by name" + _warning(requested, chat_template, vocabulary)
        return TemplateFormat(requested, source, vocabulary, why, add_bos=add_bos)
    if requested == "auto" and chat_template and MARKERS["llama-2"] in chat_template:
        return Llama2Format(vocabulary, "the model's chat template mentions <<SYS>>")
    if requested == "auto" and not chat_template and _LLAMA2_CHAT.search(model_name):
        return Llama2Format(vocabulary, f"no chat template, and the name {model_name!r} says Llama 2 chat")
    if not chat_template:
        raise TemplateError(
            f"the model {model_name!r} carries no chat template; "
            f"name its format with --prompt-format ({', '.join(MARKERS)})"
        )
    return TemplateFormat("template", chat_template, vocabulary, "the model's own chat template", add_bos=add_bos)
