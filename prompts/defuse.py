r"""Find reserved tags in text that we did not write, and rewrite them visibly and reversibly.

A tag is looked for in the *folded* text: each character on its own through NFKC and casefold, with
characters that nobody sees (format, control and other default-ignorable ones) left out. So `[INST]`
is also found as `[inst]`, in full-width letters, or with a zero-width space inside. The rest of the
text is never changed.

Why it is reversible. Call the text without the backslashes that directly follow an opening character
(`<`, `[`, or the first character of one of `tags`) its skeleton. Adding or removing such backslashes
does not change the skeleton, hence not where tags begin in it. `defuse` puts one more backslash at
every place where a tag begins in the skeleton, `undefuse` takes one away there; so `undefuse(defuse(x))
== x` for every text, also one that holds escapes already. And no tag contains a backslash, so none is
left afterwards, however tags overlap or nest.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

_BLANK = r"[^\S\n]{0,3}"
LLAMA2_PATTERN = (
    r"</?s>|<unk>"
    rf"|\[{_BLANK}/?{_BLANK}inst{_BLANK}\]"
    rf"|<{_BLANK}<{_BLANK}/?{_BLANK}sys{_BLANK}>{_BLANK}>"
)
_FAMILIES_PATTERN = (
    r"<\|[^<>|\\\n]{1,64}\|>"  # ChatML, Llama 3, Phi, Zephyr, DeepSeek (its full-width bars fold to |)
    r"|</?(?:bos|eos|pad|mask|cls|sep)>"
    r"|<(?:start|end)_of_turn>"
    r"|\[/?(?:system_prompt|available_tools|tool_calls|tool_results|tool_content)\]"
    r"|<0x[0-9a-f]{2}>"
)
_BRACKETS = "<>[]|"
_RUNS = re.compile(r"([\x09-\x0d\x1c-\x7e]+)|.", re.DOTALL)
_ASCII_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
# Default-ignorable code points that are not of category Cf (Unicode, DerivedCoreProperties.txt).
_UNSEEN = frozenset(
    chr(code)
    for first, last in (
        (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2065, 0x2065),
        (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF),
    )
    for code in range(first, last + 1)
)  # fmt: skip


@lru_cache(maxsize=4096)
def _fold(character: str) -> str:
    if character in _UNSEEN:
        return ""
    category = unicodedata.category(character)
    if category == "Cf" or (category == "Cc" and not character.isspace()):
        return ""
    return unicodedata.normalize("NFKC", character).casefold()


@dataclass(frozen=True, slots=True)
class _Folded:
    """Folded text and, for each of its characters, the offset of the original one."""

    text: str
    offsets: Sequence[int]

    @classmethod
    def of(cls, text: str, *, openers: frozenset[str] = frozenset()) -> "_Folded":
        """Fold `text`; with `openers`, leave out the backslashes that directly follow one of them."""
        plain = text.isascii() and not _ASCII_UNSEEN.search(text)
        if plain and not (openers and "\\" in text):
            return cls(text.lower(), range(len(text)))
        if not (openers and "\\" in text):
            return cls._by_runs(text)
        folded: list[str] = []
        offsets: list[int] = []
        after_opener = False
        for offset, character in enumerate(text):
            if after_opener and character == "\\":
                continue
            fold = _fold(character)
            after_opener = not openers.isdisjoint(fold)
            folded.append(fold)
            offsets.extend([offset] * len(fold))
        return cls("".join(folded), offsets)

    @classmethod
    def _by_runs(cls, text: str) -> "_Folded":
        """The same for text without backslashes to leave out: ASCII a run at a time, the rest by character."""
        folded: list[str] = []
        offsets: list[int] = []
        for run in _RUNS.finditer(text):
            start, end = run.span()
            if run[1]:
                folded.append(run[1].lower())
                offsets.extend(range(start, end))
            else:
                fold = _fold(run[0])
                folded.append(fold)
                offsets.extend([start] * len(fold))
        return cls("".join(folded), offsets)


class _Tags:
    """Everything reserved: the patterns, and a vocabulary's strings by their first two characters."""

    def __init__(self, pattern: str, tags: Sequence[str]) -> None:
        known = re.compile(pattern)
        self._pattern = re.compile(rf"(?=({pattern}))")
        words = {_Folded.of(tag).text.strip() for tag in tags}
        self._words = {
            word
            for word in words
            if len(word) > 1 and word[0] in _BRACKETS and "\\" not in word and not known.fullmatch(word)
        }
        self.openers = frozenset("<[") | {word[0] for word in self._words}
        lengths: dict[str, set[int]] = {}
        for word in self._words:
            lengths.setdefault(word[:2], set()).add(len(word))
        self._lengths = {start: sorted(sizes, reverse=True) for start, sizes in lengths.items()}
        self._starts = re.compile("(?=" + "|".join(map(re.escape, sorted(lengths))) + ")") if lengths else None

    def possible_in(self, text: str) -> bool:
        """Whether an opening character occurs at all. NFKD shows every one that NFKC does, in one call."""
        seen = text if text.isascii() else unicodedata.normalize("NFKD", text)
        return any(opener in seen for opener in self.openers)

    def spans(self, folded: str) -> Iterator[tuple[int, int]]:
        """`(start, end)` in the folded text of every tag, also of overlapping ones."""
        for match in self._pattern.finditer(folded):
            yield match.span(1)
        if self._starts is None:
            return
        for match in self._starts.finditer(folded):
            start = match.start()
            for size in self._lengths[folded[start : start + 2]]:
                if folded[start : start + size] in self._words:
                    yield start, start + size
                    break


@lru_cache(maxsize=16)
def _reserved(tags: tuple[str, ...]) -> _Tags:
    return _Tags(f"{LLAMA2_PATTERN}|{_FAMILIES_PATTERN}", tags)


@lru_cache(maxsize=1)
def _llama2() -> _Tags:
    return _Tags(LLAMA2_PATTERN, ())


def _found(text: str, reserved: _Tags) -> tuple[str, ...]:
    if not reserved.possible_in(text):
        return ()
    folded = _Folded.of(text)
    spans = sorted(reserved.spans(folded.text))
    return tuple(text[folded.offsets[start] : folded.offsets[end - 1] + 1] for start, end in spans)


def _openings(text: str, reserved: _Tags) -> list[int]:
    """Offsets in `text` just behind the first character of every tag of its skeleton, ascending."""
    if not reserved.possible_in(text):
        return []
    skeleton = _Folded.of(text, openers=reserved.openers)
    return sorted({skeleton.offsets[start] + 1 for start, _ in reserved.spans(skeleton.text)})


def find_reserved(text: str, tags: Sequence[str] = ()) -> tuple[str, ...]:
    """The reserved tags in `text`, as they are written there, in order; overlapping ones too.

    Reserved are the tags of Llama 2, the control-token shapes of other families (`<|...|>`, `<bos>`,
    `<start_of_turn>`, `[TOOL_CALLS]`, byte pieces such as `<0x0A>`), and the exact strings in `tags`:
    a vocabulary's control and user-defined tokens. Of `tags` only those count that begin with one of
    `< > [ ] |` and hold no backslash: a vocabulary may also list plain words or runs of spaces as
    user-defined tokens, and to escape those would only spoil the text.
    """
    return _found(text, _reserved(tuple(tags)))


def find_llama2_tags(text: str) -> tuple[str, ...]:
    """The tags of Llama 2 alone in `text`: `<s>`, `</s>`, `<unk>`, `[INST]`, `<<SYS>>` and their closers."""
    return _found(text, _llama2())


def defuse(text: str, tags: Sequence[str] = ()) -> str:
    r"""`text` with one backslash behind the first character of every reserved tag: `<\s>`, `[\INST]`.

    A tag that is escaped already gets one backslash more, so that `undefuse` restores any text exactly.
    Apply it once, to each text that we did not write. Linear time; text without a tag is returned as it is.

    Args:
        text: Any text, lone surrogates included.
        tags: The vocabulary's own tokens (`PromptFormat.tags`); see `find_reserved` for which count.
    """
    openings = _openings(text, _reserved(tuple(tags)))
    if not openings:
        return text
    return "\\".join(text[start:end] for start, end in pairwise((0, *openings, len(text))))


def undefuse(text: str, tags: Sequence[str] = ()) -> str:
    """The text that `defuse` was given with the same `tags`: one backslash fewer at every escaped tag."""
    kept: list[str] = []
    position = 0
    for opening in _openings(text, _reserved(tuple(tags))):
        if text.startswith("\\", opening):
            kept.append(text[position:opening])
            position = opening + 1
    return "".join((*kept, text[position:]))
