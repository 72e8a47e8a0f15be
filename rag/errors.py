"""The error tree of groundchat. Every message is one line: what, which value, and the remedy.

USER_ERRORS
|- ingest.errors.IngestError    files, embedder, index
|- prompts.errors.PromptError   format, unsafe texts, wording
'- RagError
   |- SettingsError             a setting that cannot be used
   |- ModelError                the model is missing, broken or fails
   |- SessionError              a kept conversation cannot be found, read or written
   '- QuestionTooLongError      the question does not fit the context window
"""

from __future__ import annotations

from ingest.errors import IngestError
from prompts.errors import PromptError


class RagError(Exception):
    """Base of what the chat itself raises for a user to read."""


class SettingsError(RagError):
    """A setting has no such name, type or value."""


class ModelError(RagError):
    """The chat model is missing, is no GGUF, or fails while it runs."""


class SessionError(RagError):
    """A conversation has no such name, is damaged or in use, or cannot be written."""


class QuestionTooLongError(RagError):
    """The question alone leaves no room for an answer in the context window."""


USER_ERRORS = (RagError, IngestError, PromptError)
"""Everything that is the user's to mend; anything else is a defect of this program."""
