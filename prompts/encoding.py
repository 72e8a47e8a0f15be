"""Pieces of a prompt -> ids, with the place of each token in the shown text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from prompts.errors import PromptError
from prompts.types import Encoded, Tokenizer

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the shown text: one control token, or text that can never become one.

    Attributes:
        text: As shown.
        control: The id this piece stands for; None for text.
        silent: Shown only; yields no token (whitespace that a neighbouring control token takes in).
    """

    text: str
    control: int | None = None
    silent: bool = False


def clean(text: str) -> str:
    """`text` with each lone surrogate, which UTF-8 cannot write, replaced by U+FFFD; same length."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def tokenize_plain(text: str, tokenizer: Tokenizer) -> list[int]:
    """Ids of `text` read as plain text on its own: no BOS, no control token."""
    return tokenizer.tokenize(clean(text).encode(), add_bos=False, special=False) if text else []


def _piece_starts(data: bytes, pieces: Sequence[bytes]) -> list[int]:
    """Byte offset in `data` where each token's piece begins.

    A piece that does not stand at the current offset is either one with SentencePiece's dummy space, or
    one from a tokenizer that normalises (or that llama-cpp-python cannot show: its buffer is 32 bytes);
    then it takes no width, or the next place where it is found nearby.
    """
    starts: list[int] = []
    position = 0
    for piece in pieces:
        if data.startswith(piece, position):
            width = len(piece)
        elif piece.startswith(b" ") and data.startswith(piece[1:], position):
            width = len(piece) - 1
        else:
            found = data.find(piece, position, position + 256)
            width = 0 if found < 0 else len(piece)
            position = max(position, found)
        starts.append(position)
        position += width
    return starts


def _character_of_byte(text: str) -> Sequence[int]:
    """For each byte of `text` in UTF-8, and for its end, the offset of the character it belongs to."""
    if text.isascii():
        return range(len(text) + 1)
    widths = (1 if c < "\x80" else 2 if c < "\u0800" else 3 if c < "\U00010000" else 4 for c in text)
    return [offset for offset, width in enumerate(widths) for _ in range(width)] + [len(text)]


class Assembler:
    """Encodes pieces with one tokenizer, remembering how each id is shown.

    Args:
        tokenizer: The model's own.
        control_ids: Ids that text must never become; a tokenizer that makes one from text is refused.
    """

    def __init__(self, tokenizer: Tokenizer, control_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._control_ids = control_ids
        self._shown: dict[int, bytes] = {}

    def _show(self, token_id: int) -> bytes:
        if token_id not in self._shown:
            self._shown[token_id] = self._tokenizer.detokenize([token_id], special=True)
        return self._shown[token_id]

    def _text(self, text: str) -> tuple[list[int], list[int]]:
        """Ids of a text piece, and the offset of each in it, in characters."""
        ids = tokenize_plain(text, self._tokenizer)
        if smuggled := self._control_ids.intersection(ids):
            shown = self._show(min(smuggled)).decode(errors="replace")
            raise PromptError(
                f"the tokenizer reads plain text as the control token {shown!r}; "
                "pass untrusted text through prompts.llama2.defuse(text, tags) with the format's `tags`"
            )
        characters = _character_of_byte(text)
        starts = _piece_starts(text.encode(), [self._show(token_id) for token_id in ids])
        return ids, [characters[start] for start in starts]

    def assemble(self, pieces: Sequence[Piece], spans: Sequence[tuple[int, int]]) -> Encoded:
        """The ids of `pieces` one after the other. `spans` are the contents' places in their joined text.

        Raises:
            PromptError: the tokenizer made a control token from plain text.
        """
        texts = [clean(piece.text) for piece in pieces]
        offsets = accumulate((len(text) for text in texts), initial=0)
        token_ids: list[int] = []
        token_starts: list[int] = []
        for piece, text, offset in zip(pieces, texts, offsets, strict=False):
            if piece.silent:
                continue
            if piece.control is not None:
                token_ids.append(piece.control)
                token_starts.append(offset)
                continue
            ids, starts = self._text(text)
            token_ids += ids
            token_starts += [offset + start for start in starts]
        return Encoded(
            text="".join(texts),
            token_ids=tuple(token_ids),
            token_starts=tuple(token_starts),
            content_spans=tuple(spans),
        )
