"""Python functions that the model may ask for, at most one a question.

Whether one is called is decided before anything is answered, from a prompt of its own in which no text of a document
stands: the tools' descriptions, the user's question and the user's questions before it, nothing else. Earlier answers,
summaries, rewritten questions and results of tools are made of documents and stay out. What the model writes when it
answers is never read as a call. So no document can have a tool called, or choose its arguments.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from prompts.defuse import defuse
from prompts.encoding import clean
from prompts.tool_wording import ToolWording
from prompts.types import LedgerEntry, Message, Prompt
from rag.context import Instruction
from rag.errors import ModelError, QuestionTooLongError, SettingsError
from rag.model import ChatModel
from rag.schemas import Schema, check_schema, outline, read_json, validation_error
from rag.types import Conversation, Passage, Sampling, ToolCall

CALL_TOKENS = 256
"""Room for a call with its arguments."""
LONGEST_RESULT = 4000
"""Characters of a result that are put before the model; in a small window, one for each of its tokens."""
EARLIER = 5
"""How many earlier questions the model sees when it decides."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_NAMED = re.compile(r'\s*\{\s*"tool"\s*:\s*"([^"\\]*)"')
_NO_TOOL: Schema = {
    "type": "object",
    "properties": {"tool": {"type": "null"}},
    "required": ["tool"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function, and what the model is told of it. ``parameters``: the normal form of its arguments' schema."""

    name: str
    description: str
    parameters: Schema
    function: Callable[..., Any]

    @property
    def request(self) -> Schema:
        """The schema of a call."""
        return {
            "type": "object",
            "properties": {"tool": {"const": self.name}, "arguments": self.parameters},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }


class Toolbox:
    """The registered tools; empty, it decides nothing and costs nothing."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def __len__(self) -> int:
        return len(self._tools)

    def register(
        self,
        function: Callable[..., Any],
        *,
        parameters: Mapping[str, Any],
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        """Let the model call ``function`` with keyword arguments that fit the JSON schema ``parameters``.

        Without ``name`` and ``description`` the function's own name and docstring are taken. A result that is no text
        is written as JSON. Raises :class:`SettingsError` when the model could not call it as it is described.
        """
        name = name if name is not None else getattr(function, "__name__", "")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{name!r} cannot be a tool's name: pass name= with letters, digits, _ and -, up to 64")
        if name in self._tools:
            raise SettingsError(f"there is a tool {name!r} already: pass another name=")
        text = " ".join((description if description is not None else inspect.getdoc(function) or "").split())
        if not text:
            raise SettingsError(f"the tool {name!r} has no description: pass description=, or give it a docstring")
        schema = check_schema(parameters, f"the schema of the tool {name!r}")
        if schema.get("type") != "object":
            raise SettingsError(f"the arguments of the tool {name!r} must be of the type 'object', with 'properties'")
        _check_signature(name, function, schema)
        self._tools[name] = Tool(name=name, description=text, parameters=schema, function=function)

    def call(
        self, model: ChatModel, wording: ToolWording, question: str, conversation: Conversation
    ) -> ToolCall | None:
        """Let the model decide whether the question needs a tool, and run it if so. None: it needs none.

        ``question`` is what the user wrote, not a rewritten form of it; of the conversation only the user's own
        questions are read. A call that cannot be run has ``failed``, with the reason as its result.
        """
        if not self._tools:
            return None
        schema = {"anyOf": [_NO_TOOL, *(tool.request for tool in self._tools.values())]}
        prompt = self._prompt(model, wording, question, [turn.question for turn in conversation.turns[-EARLIER:]])
        with closing(model.stream(prompt, Sampling(max_tokens=CALL_TOKENS, schema=schema))) as pieces:
            text = "".join(pieces)
        return self._run(text, model.finished, min(LONGEST_RESULT, model.context_window))

    def _prompt(self, model: ChatModel, wording: ToolWording, question: str, earlier: list[str]) -> Prompt:
        """The deciding prompt; the oldest of the earlier questions give way when it is too long."""
        framed = [wording.tool(tool.name, tool.description, outline(tool.parameters)) for tool in self._tools.values()]
        tags = model.format.tags
        while True:
            asked = wording.question(question.strip(), earlier)
            messages = (
                Message(role="system", content=defuse(clean(wording.decide(framed)), tags)),
                Message(role="user", content=defuse(clean(asked), tags)),
            )
            encoded = model.format.build(messages)
            size = len(encoded.token_starts)
            if size + CALL_TOKENS <= model.context_window:
                break
            if not earlier:
                raise QuestionTooLongError(
                    f"the question and the {len(self)} tools take {size} tokens, but a window of "
                    f"{model.context_window} with {CALL_TOKENS} kept for a call has room for "
                    f"{model.context_window - CALL_TOKENS}: register fewer tools, or raise --context-window"
                )
            earlier = earlier[1:]
        ledger = (LedgerEntry(part="tools and question", tokens=size, action="kept", why="always kept"),)
        return Prompt(messages=messages, token_ids=encoded.token_ids, text=encoded.text, ledger=ledger)

    def _run(self, text: str, finished: bool, longest: int) -> ToolCall | None:
        """What the model wrote is input: it must name a tool and give arguments that fit."""
        try:
            request = read_json(text, {})
        except ModelError:
            named = _NAMED.match(text)
            if finished or named is None or named[1] not in self._tools:
                return None
            return _failed(named[1], {}, f"the call was cut off after {CALL_TOKENS} tokens")
        asked = request.get("tool") if isinstance(request, dict) else None
        if not isinstance(asked, str) or asked not in self._tools:
            return None
        tool = self._tools[asked]
        if wrong := validation_error(request, tool.request):
            return _failed(tool.name, {}, f"the model's arguments do not fit: {wrong}")
        arguments = request["arguments"]
        try:
            returned = tool.function(**arguments)
            result = (
                returned if isinstance(returned, str) else json.dumps(returned, ensure_ascii=False, allow_nan=False)
            )
        except Exception as error:  # whatever a tool of the user's raises is its result
            return _failed(tool.name, arguments, f"{type(error).__name__}: {error}")
        return ToolCall(name=tool.name, arguments=arguments, result=_capped(clean(result), longest), failed=False)


def put_back(call: ToolCall, wording: ToolWording, question: str, number: int, *, request: str) -> Instruction:
    """The question once more, behind the call and with its result, to build the answering prompt from.

    ``number``: that of :func:`result_passage`, above those of all other passages. ``request``: the question as it is
    to be answered; it says more than the question where JSON is wanted.
    """
    written = json.dumps({"tool": call.name, "arguments": call.arguments}, ensure_ascii=False)
    if call.failed:
        put = wording.failed(_line(call), call.result, request)
    else:
        put = wording.result(_line(call), call.result, number, request)
    exchange = (Message(role="user", content=question), Message(role="assistant", content=written))
    return Instruction(question=put, exchange=exchange)


def result_passage(call: ToolCall, number: int) -> Passage | None:
    """The result as something that sentences can rest on and cite; None for a call that failed.

    Its source is ``tool:NAME``, its heading the call; the offsets of citations count in ``call.result``.
    """
    if call.failed:
        return None
    return Passage(
        number=number,
        text=call.result,
        source=f"tool:{call.name}",
        start=0,
        end=len(call.result),
        pages=(),
        headings=(_line(call),),
        score=0.0,
    )


def _line(call: ToolCall) -> str:
    given = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    return f"{call.name}({', '.join(given)})"


def _failed(name: str, arguments: Mapping[str, Any], reason: str) -> ToolCall:
    return ToolCall(name=name, arguments=arguments, result=_capped(clean(" ".join(reason.split())), 200), failed=True)


def _capped(text: str, longest: int) -> str:
    rest = len(text) - longest
    return f"{text[:longest]} (cut here: {rest} more characters)" if rest > 0 else text


def _check_signature(name: str, function: Callable[..., Any], schema: Schema) -> None:
    """Every call that fits the schema must fit the function."""
    if inspect.iscoroutinefunction(function):
        raise SettingsError(f"the tool {name!r} is a coroutine function: register one that calls asyncio.run")
    try:
        signature = inspect.signature(function)
    except ValueError:  # some built-in functions do not tell
        return
    try:
        for given in (schema["required"], schema["properties"]):
            signature.bind(**dict.fromkeys(given))
    except TypeError as error:
        raise SettingsError(f"the tool {name!r} cannot be called as its schema says ({error}): change one") from error
