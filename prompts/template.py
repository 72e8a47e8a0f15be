"""A chat template in Jinja, the GGUF's own or one of ours, as a layout: its text, and where contents go.

Contents never reach the template. Each is replaced by a random word, the template is rendered, and the
result is cut at the words; so every character is known to be the template's own or a content's, and
control tokens are looked for in the template's own only. The layout depends on the roles alone, hence
one rendering serves every prompt of the same shape.
"""

import re
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache

from prompts.encoding import Piece
from prompts.errors import TemplateError
from prompts.types import ControlToken, Role

# Text of the template, a control token printed by it, or the index of the message whose content stands here.
Part = str | ControlToken | int
# What C's isspace() takes for whitespace: the set that llama.cpp strips around tokens with lstrip or rstrip.
_SPACE = " \t\n\v\f\r"
_REMEDY = "choose a built-in format with --prompt-format"


class ChatTemplate:
    """One template with one vocabulary.

    Args:
        source: Jinja text as in GGUF metadata `tokenizer.chat_template`. Rendered in a sandbox with
            `messages`, `add_generation_prompt=True`, `bos_token`, `eos_token`, `tools=None`.
        controls: The vocabulary's control tokens, to be recognised in the template's own text.
        bos: The token that the model wants at the start of every prompt; None if it wants none.
        bos_text: What the template prints for `bos_token`.
        eos_text: What the template prints for `eos_token`.

    Raises:
        TemplateError: the template does not compile, or cannot express a system and a user message.
    """

    def __init__(
        self,
        source: str,
        *,
        controls: Iterable[ControlToken],
        bos: ControlToken | None,
        bos_text: str,
        eos_text: str,
    ) -> None:
        from prompts.sandbox import BoundedEnvironment

        self._environment = BoundedEnvironment()
        try:
            self._template = self._environment.compile_bounded(source)
        except TemplateError:
            raise
        except Exception as error:  # foreign code: Jinja and Python both refuse it in many ways
            raise TemplateError(f"the chat template does not compile ({error}); {_REMEDY}") from error
        self._controls = sorted(controls, key=lambda token: -len(token.text.encode()))
        self._bos = bos
        self._variables: dict[str, object] = {
            "add_generation_prompt": True,
            "bos_token": bos_text,
            "eos_token": eos_text,
            "tools": None,
        }
        self.merges_system = self._must_merge()
        self.layout = lru_cache(maxsize=64)(self._layout)

    def _must_merge(self) -> bool:
        """Whether the template has no place for a system text, which then goes into the first user turn."""
        try:
            self._cut(("system", "user"), merge=False)
        except TemplateError as refusal:
            try:
                self._cut(("system", "user"), merge=True)
            except TemplateError:
                raise refusal from None
            return True
        return False

    def _layout(self, roles: tuple[Role, ...]) -> tuple[Part, ...]:
        """The prompt for messages of these roles: every message's index stands in it exactly once.

        Raises:
            TemplateError: the template fails, or prints a content not at all or twice.
        """
        parts = self._cut(roles, merge=self.merges_system)
        # Longest token first over the whole text, as llama.cpp does (tokenizer_st_partition).
        for token in self._controls:
            cut = (_split(part, token) if isinstance(part, str) else [part] for part in parts)
            parts = [part for pieces in cut for part in pieces]
        first = next((part for part in parts if not (isinstance(part, str) and part.isspace())), None)
        printed = isinstance(first, ControlToken) and self._bos is not None and first.id == self._bos.id
        return tuple(parts if self._bos is None or printed else [self._bos, *parts])

    def _cut(self, roles: tuple[Role, ...], *, merge: bool) -> list[Part]:
        """Render with random words for contents and cut the result at them."""
        salt = f"Qz{secrets.token_hex(12)}x"
        contents = [f"{salt}{index}z" for index in range(len(roles))]
        messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
        if merge and roles[0] == "system":
            messages[1]["content"] = f"{contents[0]}\n\n{contents[1]}"
            del messages[0]
        try:
            text = self._environment.render_bounded(self._template, {**self._variables, "messages": messages})
        except TemplateError:
            raise
        except Exception as error:  # foreign code: anything can come out of it
            what = f"{type(error).__name__}: {error}"
            raise TemplateError(f"the chat template failed ({what}); {_REMEDY}") from error
        cut = re.split(rf"{salt}(\d+)z", text)
        found = [int(index) for index in cut[1::2]]
        for index, role in enumerate(roles):
            if found.count(index) != 1:
                raise TemplateError(
                    f"the chat template prints the content of message {index} ({role}) "
                    f"{found.count(index)} times, not once; {_REMEDY}"
                )
        return [int(part) if position % 2 else part for position, part in enumerate(cut) if position % 2 or part]


def _split(text: str, token: ControlToken) -> list[Part]:
    """`text` cut at every occurrence of `token`."""
    parts: list[Part] = []
    for position, between in enumerate(text.split(token.text)):
        parts += [token] * (position > 0)
        parts += [between] * (between != "")
    return parts


def fill(layout: Sequence[Part], contents: Sequence[str]) -> tuple[list[Piece], list[tuple[int, int]]]:
    """The layout with its contents: pieces to encode, and each content's `(start, end)` in their joined text.

    Everything between two control tokens, the template's text and contents alike, is one piece of plain
    text, as it is one fragment for llama.cpp; whitespace that a token takes in is a silent piece.
    """
    spans = [(0, 0)] * len(contents)
    pieces: list[Piece] = []
    run: list[str] = []
    offset = 0
    before: ControlToken | None = None
    for part in (*layout, None):
        if isinstance(part, ControlToken | None):
            pieces += _run("".join(run), before, part)
            run = []
            before = part
            if part is not None:
                pieces.append(Piece(part.text, control=part.id))
                offset += len(part.text)
            continue
        text = contents[part] if isinstance(part, int) else part
        if isinstance(part, int):
            spans[part] = (offset, offset + len(text))
        run.append(text)
        offset += len(text)
    return pieces, spans


def _run(text: str, before: ControlToken | None, after: ControlToken | None) -> list[Piece]:
    """Text between two control tokens, less the whitespace that they take in."""
    start = len(text) - len(text.lstrip(_SPACE)) if before and before.rstrip else 0
    end = max(start, len(text.rstrip(_SPACE))) if after and after.lstrip else len(text)
    pieces = [Piece(text[:start], silent=True), Piece(text[start:end]), Piece(text[end:], silent=True)]
    return [piece for piece in pieces if piece.text]
