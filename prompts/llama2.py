"""Llama 2's chat format, to the byte.

Source: Meta's `llama/generation.py` (`Llama.chat_completion`). What it strips, and what it does not:

- the system text goes into the first user turn unstripped, between `<<SYS>>\\n` and `\\n<</SYS>>\\n\\n`;
- that merged turn is stripped as a whole, so with a system message the user's first text keeps its
  leading whitespace, and an empty one takes the two newlines before it away too;
- every other user text and every answer is stripped;
- a closed pair is BOS `[INST] {user} [/INST] {answer} ` EOS, with nothing before the next BOS;
- an empty system text still makes a (hollow) system block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prompts.defuse import defuse, find_llama2_tags, find_reserved, undefuse
from prompts.encoding import clean, tokenize_plain
from prompts.errors import MessageOrderError, PromptError, UnsafePromptError
from prompts.order import split_turns
from prompts.types import Message, Tokenizer

__all__ = [
    "Message", "MessageOrderError", "PromptError", "Turn", "UnsafePromptError",
    "defuse", "encode", "find_reserved", "render", "turns", "undefuse",
]  # fmt: skip

B_INST, E_INST = "[INST]", "[/INST]"
B_SYS, E_SYS = "<<SYS>>\n", "\n<</SYS>>\n\n"
BOS, EOS = "<s>", "</s>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The text between one BOS and its EOS, if it has one.

    Attributes:
        text: The turn without BOS and EOS.
        closed: Whether an answer and EOS end it; only the last turn is open.
        spans: `(start, end)` in `text` of the contents in it, in the order of their messages.
    """

    text: str
    closed: bool
    spans: tuple[tuple[int, int], ...]


def _user(system: Message | None, user: Message) -> tuple[str, list[tuple[int, int]]]:
    """The stripped text between [INST] and [/INST], and the places of its contents."""
    if system is None:
        text = user.content.strip()
        return text, [(0, len(text))]
    opening = B_SYS + system.content
    text = (opening + E_SYS + user.content).strip()
    start = min(len(opening + E_SYS), len(text))
    return text, [(len(B_SYS), len(opening)), (start, len(text))]


def turns(messages: Sequence[Message]) -> tuple[Turn, ...]:
    """The conversation as Llama 2 reads it, one `Turn` a user message.

    Raises:
        MessageOrderError: not an optional system message, then user and assistant in turn, ending on user.
    """
    system, spoken = split_turns(messages)
    made: list[Turn] = []
    for position in range(0, len(spoken), 2):
        body, inner = _user(None if position else system, spoken[position])
        text = f"{B_INST} {body} {E_INST}"
        spans = [(start + len(B_INST) + 1, end + len(B_INST) + 1) for start, end in inner]
        closed = position + 1 < len(spoken)
        if closed:
            answer = spoken[position + 1].content.strip()
            spans.append((len(text) + 1, len(text) + 1 + len(answer)))
            text += f" {answer} "
        made.append(Turn(text=text, closed=closed, spans=tuple(spans)))
    return tuple(made)


def check_contents(messages: Sequence[Message]) -> None:
    """Raise UnsafePromptError for the first message whose content holds one of Llama 2's tags (folded)."""
    for index, message in enumerate(messages):
        if found := find_llama2_tags(message.content):
            raise UnsafePromptError(index, found[0])


def render(messages: Sequence[Message], *, check: bool = True) -> str:
    """The prompt as people read it, BOS as `<s>` and EOS as `</s>`, lone surrogates as U+FFFD.

    For the model use `encode`: tokenising this string again would not give the same ids.

    Args:
        messages: An optional system message, then user and assistant in turn, ending on user.
        check: Refuse contents that hold a tag of the format.

    Raises:
        MessageOrderError: the roles are in another order, or there is no user message.
        UnsafePromptError: a content holds a reserved tag (see `prompts.defuse`), and `check` is on.
    """
    made = turns(messages)
    if check:
        check_contents(messages)
    return clean("".join(f"{BOS}{turn.text}{EOS if turn.closed else ''}" for turn in made))


def encode(messages: Sequence[Message], tokenizer: Tokenizer, *, check: bool = True) -> list[int]:
    """The ids that Meta's code gives: each turn encoded on its own between BOS and EOS.

    BOS and EOS are put in as ids; text is tokenised without special tokens, so nothing in it can become
    one. A lone surrogate is read as U+FFFD. A vocabulary without BOS or EOS (id -1) gets none.

    Args:
        messages: As for `render`.
        tokenizer: A `llama_cpp.Llama`, or anything with its `tokenize`, `token_bos` and `token_eos`.
        check: As for `render`.

    Raises:
        MessageOrderError, UnsafePromptError: as for `render`.
    """
    made = turns(messages)
    if check:
        check_contents(messages)
    bos, eos = ([token] if token >= 0 else [] for token in (tokenizer.token_bos(), tokenizer.token_eos()))
    ids: list[int] = []
    for turn in made:
        ids += bos + tokenize_plain(turn.text, tokenizer) + (eos if turn.closed else [])
    return ids
