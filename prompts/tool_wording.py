"""The sentences around tool calls and JSON answers, as data; strict like `prompts.wording`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prompts.wording import fill, read_texts

SLOTS: dict[str, frozenset[str]] = {
    "decide": frozenset({"tools"}),
    "tool": frozenset({"name", "description", "parameters"}),
    "between_tools": frozenset(),
    "question": frozenset({"earlier", "question"}),
    "earlier": frozenset({"questions"}),
    "result": frozenset({"call", "number", "result", "question"}),
    "failed": frozenset({"call", "result", "question"}),
    "json": frozenset({"question", "shape"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolWording:
    """The texts of one file; make it with `load_tool_wording`.

    What is put into it is not defused here: whoever makes messages of it does that, to the whole.
    """

    decide_text: str
    tool_text: str
    between_tools: str
    question_text: str
    earlier_text: str
    result_text: str
    failed_text: str
    json_text: str

    def tool(self, name: str, description: str, parameters: str) -> str:
        """One tool in its frame."""
        return fill(self.tool_text, name=name, description=description, parameters=parameters)

    def decide(self, tools: Sequence[str]) -> str:
        """The system message that lets the model choose among framed tools."""
        return fill(self.decide_text, tools=self.between_tools.join(tools))

    def question(self, text: str, earlier: Sequence[str] = ()) -> str:
        """The user message behind it, with the questions asked before, oldest first."""
        listed = "\n".join(f"- {' '.join(one.split())}" for one in earlier)
        return fill(
            self.question_text, earlier=fill(self.earlier_text, questions=listed) if listed else "", question=text
        )

    def result(self, call: str, result: str, number: int, question: str) -> str:
        """The user message that brings a tool's result; it is cited as passage `number`."""
        return fill(self.result_text, call=call, result=result, number=str(number), question=question)

    def failed(self, call: str, result: str, question: str) -> str:
        """The user message that says that a tool failed, and why."""
        return fill(self.failed_text, call=call, result=result, question=question)

    def json(self, question: str, shape: str) -> str:
        """A question that asks for JSON."""
        return fill(self.json_text, question=question, shape=shape)


def load_tool_wording(path: Path | None = None) -> ToolWording:
    """Read a wording file; without `path`, the one that is shipped (`templates/tools.toml`).

    Raises:
        WordingError: the file is not readable TOML, or a key or slot is missing or not known.
    """
    texts = read_texts(path, "tools.toml", SLOTS)
    return ToolWording(
        decide_text=texts["decide"],
        tool_text=texts["tool"],
        between_tools=texts["between_tools"],
        question_text=texts["question"],
        earlier_text=texts["earlier"],
        result_text=texts["result"],
        failed_text=texts["failed"],
        json_text=texts["json"],
    )
