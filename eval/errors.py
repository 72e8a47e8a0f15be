"""What can go wrong in an evaluation, all of it the user's to mend (see :mod:`rag.errors`).

RagError
'- EvalError
   |- InputError   a file of cases, answers or claims cannot be read
   '- GateError    a gate or suite file is malformed, or asks for what cannot be judged
"""

from __future__ import annotations

from rag.errors import RagError


class EvalError(RagError):
    """An evaluation cannot be made."""


class InputError(EvalError):
    """A file of cases, answers or claims is missing, empty or malformed."""


class GateError(EvalError):
    """A gate or suite is malformed, or names what cannot be judged."""
