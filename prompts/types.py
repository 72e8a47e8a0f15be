"""Nouns of this room: messages in, prompts out, and the little we need of a tokenizer."""

from dataclasses import dataclass
from typing import Literal, Protocol

Role = Literal["system", "user", "assistant"]
Action = Literal["kept", "shortened", "dropped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation; `content` is plain text, never markup."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """What became of one part of the prompt, and how many tokens of the final ids it takes (0 if dropped)."""

    part: str
    tokens: int
    action: Action
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What the model is given. The ledger's tokens add up to `len(token_ids)`.

    `text` is for people: control tokens stand in it in their text form. Never tokenise it again. A server that
    applies its own template is given `messages`: then there are no ids, and the ledger holds estimates.
    """

    messages: tuple[Message, ...]
    token_ids: tuple[int, ...]
    text: str
    ledger: tuple[LedgerEntry, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt by the ledger."""
        return sum(entry.tokens for entry in self.ledger)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlToken:
    """A token of the vocabulary that steers the model and is not text, such as `<|im_end|>`.

    Attributes:
        text: As the vocabulary writes it.
        id: Its id.
        lstrip: ASCII whitespace before it belongs to it and is not tokenised.
        rstrip: The same behind it.
        user_defined: llama.cpp reads it in any text, even with `special=False`; so it cannot be kept out
            by how text is tokenised, only by `defuse`.
    """

    text: str
    id: int
    lstrip: bool = False
    rstrip: bool = False
    user_defined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A prompt's ids, and where in the shown text each token and each content stands.

    Attributes:
        text: The shown prompt, control tokens in their text form, lone surrogates as U+FFFD.
        token_ids: What the model is given, BOS included where the model wants one.
        token_starts: `token_starts[i]` is the offset in `text`, in characters, where token i begins;
            as many as there are ids, non-decreasing (without ids, as many as there may be). A token that
            begins inside a character (byte fallback) has the offset of that character; an
            invisible one (SentencePiece's dummy space) that of what follows it.
        content_spans: `(start, end)` in `text` of each message's content as it stands there, in the
            order of the messages.
    """

    text: str
    token_ids: tuple[int, ...]
    token_starts: tuple[int, ...]
    content_spans: tuple[tuple[int, int], ...]


class Tokenizer(Protocol):
    """The part of `llama_cpp.Llama`'s own interface that we use, so that a `Llama` passes as it is."""

    def tokenize(self, text: bytes, add_bos: bool, special: bool) -> list[int]:
        """Token ids of UTF-8 text; `special=False` reads control tokens in it as plain text."""

    def detokenize(self, tokens: list[int], prev_tokens: list[int] | None = None, special: bool = False) -> bytes:
        """Bytes of the tokens; `special=True` shows control tokens in their text form."""

    def token_bos(self) -> int:
        """Id of the beginning-of-sequence token, -1 if the vocabulary has none."""

    def token_eos(self) -> int:
        """Id of the end-of-sequence token, -1 if the vocabulary has none."""
