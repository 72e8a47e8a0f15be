"""The one order of roles that every chat format can express."""

from collections.abc import Sequence

from prompts.errors import MessageOrderError
from prompts.types import Message


def split_turns(messages: Sequence[Message]) -> tuple[Message | None, Sequence[Message]]:
    """The leading system message, if any, and the turns behind it: user, assistant, ..., user.

    Raises:
        MessageOrderError: anything else; the message names the first position (from 0) that is wrong.
    """
    system = messages[0] if messages and messages[0].role == "system" else None
    turns = messages[1:] if system else messages
    offset = len(messages) - len(turns)
    for position, message in enumerate(turns):
        expected = ("user", "assistant")[position % 2]
        if message.role != expected:
            raise MessageOrderError(
                f"message {position + offset} has role {message.role!r} where {expected!r} must stand; "
                "give an optional system message first, then user and assistant in turn"
            )
    if len(turns) % 2 == 0:
        raise MessageOrderError(
            f"{len(messages)} messages do not end on a user message; add the user's question as the last one"
        )
    return system, turns
