"""The prompt for a server that applies its own chat template: messages, and an estimate of their tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from prompts.defuse import find_reserved
from prompts.encoding import clean
from prompts.errors import UnsafePromptError
from prompts.order import split_turns
from prompts.types import Encoded, Message

MESSAGE_TOKENS = 8
"""For what a template writes around a message."""
PROMPT_TOKENS = 40
"""For what a template writes once, such as Llama 3's two dates."""

_TURN_NAMES = ("TITLE", "ABSTRACT", "INTRODUCTION", "SUMMARY", "COMMENT", "ANSWER", "QUESTION", "DOMAIN", "PREFIX")
_GEMMA_4 = ("turn", "channel", "tool", "tool_call", "tool_response", "image", "audio", "video")
CONTROL_TAGS = (
    # Gemma 3 and 4, PaliGemma
    *("<start_of_image>", "<end_of_image>", "<image_soft_token>", "<start_of_audio>", "<end_of_audio>", "[multimodal]"),
    *(tag for name in _GEMMA_4 for tag in (f"<|{name}>", f"<{name}|>")),
    *(f"<unused{number}>" for number in range(100)),
    # Mistral
    *("[IMG]", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[ARGS]", "[CALL_ID]", "[AUDIO]"),
    *("[BEGIN_AUDIO]", "[TRANSCRIBE]", "[THINK]", "[/THINK]", "[TOOL_ID]"),
    *(f"<SPECIAL_{number}>" for number in range(1000)),
    *(f"[control_{number}]" for number in range(1000)),
    # Command R, Aya
    *("<BOS_TOKEN>", "<EOS_TOKEN>", "<PAD_TOKEN>", "<UNK_TOKEN>", "<MASK_TOKEN>", "<CLS_TOKEN>", "<SEP_TOKEN>"),
    *("<EOP_TOKEN>", "<UNK>", "<CLS>", "<SEP>"),
    # ChatGLM, MiniMax, Seed, EXAONE
    *("[gMASK]", "[sMASK]", "[MASK]", "<sop>", "<eop>", "]~b]", "]~!b[", "[e~[", "<seed:bos>", "<seed:eos>"),
    *("<seed:think>", "</seed:think>", "<seed:tool_call>", "</seed:tool_call>"),
    *("[|system|]", "[|user|]", "[|assistant|]", "[|tool|]", "[|endofturn|]"),
    # InternLM, Baichuan, T5 and Nemotron, Falcon
    *("<eoh>", "<eoa>", "<eosys>", "<eot>", "<eom>", "<eod>"),
    *(f"<reserved_{number}>" for number in range(1000)),
    *(f"<extra_id_{number}>" for number in range(300)),
    *(f">>{name}<<" for name in _TURN_NAMES),
    # what a model thinks, and the tools it calls: Qwen, DeepSeek, Granite, Hermes
    *(
        "<think>",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<tool_response>",
        "</tool_response>",
        "<tools>",
        "</tools>",
    ),
    # code models
    *("<PRE>", "<MID>", "<SUF>", "<EOT>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"),
    *("<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>", "<empty_output>", "<commit_before>"),
    *("<commit_msg>", "<commit_after>", "<issue_start>", "<issue_comment>", "<issue_closed>"),
    *("<jupyter_start>", "<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<jupyter_script>"),
    # BERT's, which some vocabularies inherit
    *("[CLS]", "[SEP]", "[PAD]", "[UNK]", "[BOS]", "[EOS]"),
)
"""Control tokens that :mod:`prompts.defuse` does not look for in any case. A server that applies a template reads
control tokens in the contents too, and does not say which its model has; so those of every known family count."""

_PARTS = re.compile(r"([A-Za-z]+)|([^\x00-\x7f])|([ \t]{2,})|[^ ]| (?=\d)")
_LONG_WORD = 8


def estimate_tokens(text: str) -> int:
    """Tokens of a text in a vocabulary that is not known: rather too many than too few.

    A word is a token for every four letters begun, for every three when it is long; a digit, a mark, a line break and
    the space before a digit are one each; a character beyond ASCII is one, two or four when it takes two, three or
    four bytes.
    """
    count = 0
    for word, wide, spaces in _PARTS.findall(text):
        if word:
            count += math.ceil(len(word) / (3 if len(word) > _LONG_WORD else 4))
        elif wide:
            count += {2: 1, 3: 2}.get(len(wide.encode("utf-8", "replace")), 4)
        else:
            count += math.ceil(len(spaces) / 4) or 1
    return count


class MessagesFormat:
    """A :class:`~prompts.formats.PromptFormat` without ids: the server writes the prompt, from the messages."""

    name = "messages"
    tags = CONTROL_TAGS

    def __init__(self, count: Callable[[str], int], why: str) -> None:
        """``count``: tokens of a text, exact or rather too many; ``why`` says how they are counted."""
        self.why = f"the server applies its own template; shown are role and content of each message; {why}"
        self._count = count

    def build(self, messages: Sequence[Message]) -> Encoded:
        """See :meth:`PromptFormat.build`. There are no ids; ``token_starts`` has one entry a counted token, spread
        evenly over each content, and ``MESSAGE_TOKENS`` and ``PROMPT_TOKENS`` for the template."""
        split_turns(messages)
        text = ""
        starts = [0] * PROMPT_TOKENS
        spans: list[tuple[int, int]] = []
        for index, message in enumerate(messages):
            if found := find_reserved(message.content, self.tags):
                raise UnsafePromptError(index, found[0])
            starts += [len(text)] * MESSAGE_TOKENS
            text += f"{message.role}: "
            begin, content = len(text), clean(message.content)
            tokens = self._count(content) if content else 0
            starts += [begin + position * len(content) // tokens for position in range(tokens)]
            text += content
            spans.append((begin, len(text)))
            text += "\n\n"
        return Encoded(text=text, token_ids=(), token_starts=tuple(starts), content_spans=tuple(spans))
