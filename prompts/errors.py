"""What can go wrong between messages and token ids.

PromptError (ValueError)
├── MessageOrderError    roles that no chat format can express
├── UnsafePromptError    a content holds a format's own tag
├── TemplateError        a chat template that cannot be used, or a format that cannot be found
└── WordingError         a wording file whose slots or keys are not the expected ones
"""


class PromptError(ValueError):
    """Root of this room's errors; the message says what, which value, and the remedy."""


class MessageOrderError(PromptError):
    """The roles are not: an optional system message, then user and assistant in turn, ending on user."""


class TemplateError(PromptError):
    """A chat template failed, went past its bounds, or did not print every content exactly once."""


class WordingError(PromptError):
    """A wording file lacks a key or slot, or has one that nothing fills."""


class UnsafePromptError(PromptError):
    """The content of a message holds a reserved tag.

    `index` is the message's position in the list (from 0), `tag` the text found there.
    """

    def __init__(self, index: int, tag: str) -> None:
        self.index = index
        self.tag = tag
        super().__init__(
            f"message {index} contains the reserved tag {tag!r}; "
            "pass its content through prompts.llama2.defuse(text, tags) first (with the format's `tags`)"
        )
