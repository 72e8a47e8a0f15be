"""How often a model picks the right one of two tools, or none, and whether what it writes can be read.

python bench/tools.py [MODEL]
"""

from __future__ import annotations

import sys
import time

from machine import print_head

from prompts.tool_wording import load_tool_wording
from rag.llama import LlamaModel
from rag.models import find_model
from rag.tools import Toolbox
from rag.types import Conversation

QUESTIONS = (
    ("What is the weather in Bergen?", "weather"),
    ("Is it raining in Oslo right now?", "weather"),
    ("How warm is it in Lisbon at the moment?", "weather"),
    ("Tell me the weather in Paris.", "weather"),
    ("Do I need an umbrella in London now?", "weather"),
    ("What is the current weather of Tromsø?", "weather"),
    ("Is it windy in Reykjavik now?", "weather"),
    ("What is 12 plus 30?", "add"),
    ("Add 4.5 and 8.", "add"),
    ("What is the sum of 1024 and 4096?", "add"),
    ("How much is 17 + 5?", "add"),
    ("Please add 100 to 250.", "add"),
    ("What do 3 and 9 make together?", "add"),
    ("Sum up 7 and 70.", "add"),
    ("Who is the chief engineer?", None),
    ("How do I file an expense claim?", None),
    ("What does a red light on the station mean?", None),
    ("When was the MV Orrin launched?", None),
    ("May dogs travel on the ferry?", None),
    ("What does the guarantee cover?", None),
)


def weather(city: str) -> str:
    """The weather of a city at this moment."""
    return f"In {city} it rains at 7 degrees."


def add(a: float, b: float) -> str:
    """Adds two numbers."""
    return f"The sum of {a} and {b} is {a + b}."


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    model = LlamaModel(find_model(name), context_window=1024)
    print_head(model=model.name, questions=len(QUESTIONS))
    toolbox = Toolbox()
    city = {"type": "string", "maxLength": 40}
    number = {"type": "number"}
    toolbox.register(weather, parameters={"type": "object", "properties": {"city": city}, "required": ["city"]})
    both = {"type": "object", "properties": {"a": number, "b": number}, "required": ["a", "b"]}
    toolbox.register(add, parameters=both)
    wording = load_tool_wording()
    right = {"weather": 0, "add": 0, None: 0}
    failed = 0
    began = time.perf_counter()
    for question, wanted in QUESTIONS:
        call = toolbox.call(model, wording, question, Conversation())
        right[wanted] += (call.name if call else None) == wanted
        failed += call is not None and call.failed
        print(f"{question:45s} {call.name if call else '-':8s} {dict(call.arguments) if call else ''}")
    seconds = (time.perf_counter() - began) / len(QUESTIONS)
    print(f"right: {right}, together {sum(right.values())} of {len(QUESTIONS)}")
    print(f"calls that could not be run: {failed}; {seconds:.1f} s a decision")


if __name__ == "__main__":
    main()
