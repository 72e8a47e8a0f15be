"""The wordings by which :mod:`eval.refusals` knows what a clause of an answer does, as regular expressions.

They are for single clauses in lower case with straight apostrophes and without citation markers. "Them" are the
documents, by whatever name an answer calls them. Repetitions are bounded, so that a long text takes time in proportion
to its length.
"""

from __future__ import annotations

import re

THEM = (
    r"(?:documents?|passages?|contexts?|texts?|sources?|excerpts?|extracts?|snippets?|materials?"
    r"|(?:(?:given|provided|available|retrieved|above) )?information(?: (?:provided|given|above))?)"
)

_SOME = r"(?: [\w'’&/-]+)"
_DO_NOT = r"(?:(?:do|does|did|can|could)(?:n't|not| not)|can't)"
_CANNOT = r"(?:cannot|can't|can not|could not|couldn't)"
_IS_NOT = r"\b(?:is|are|was|were)(?: not|n't)(?: \w+)?"
_SAY = (
    r"(?:(?:say|state|mention|specify|answer|discuss|describe|address|indicate|reveal|explain|touch|deal|disclose|refer"
    r"|talk|clarify|detail|report)(?:e?s)?|goe?s? into|makes? clear"
    r"|tells?(?: (?:us|me|you))?(?=\W*$| (?:who|what|when|where|why|how|which|whether|if|about|this|that|it|the)\b))\b"
)
"""What only a text does."""
_HOLD = r"(?:contain|provide|give|include|cover|name|list|show|identify|record)s?\b"
"""What other things do too: a material that does not contain lead is no refusal."""
_TELL = rf"(?:{_SAY}|{_HOLD})"
_SAID = (
    r"(?:stated|mentioned|specified|given|provided|contained|found|included|named|listed|covered|discussed|described"
    r"|addressed|disclosed|indicated|answered|recorded|available|present|clear|explained|known|shown|supplied)"
)
_PLAINLY_SAID = r"(?:stated|mentioned|specified|disclosed|discussed|indicated)"
_GIVEN = rf"(?:{_PLAINLY_SAID}|found|given|provided|known|available|answered|answerable|applicable)"
_SEEK = (
    r"(?:know|answer|find|say|tell|determine|see|help|assist|provide|give|name|locate|identify|confirm|establish"
    r"|work out|comment|respond|be sure|offer|share|verify|infer|conclude)"
)
_FOUND_OUT = r"(?:answered|determined|established|inferred|found|derived|said|verified)"
_FACTS = r"(?:information|context|details?|data|mention|answer|reference|indication|figures?|facts?|clue|hint|word)"
_WHO = r"(?:who|what|when|where|why|how|which)"
_OF_WHAT = (
    r"(?=\W*$|,| (?:about|on|of|to|in|for|regarding|concerning|as|whether|that|which|here|there|from|given|available"
    rf"|provided|is|was|{_WHO})\b)"
)
"""What follows "there is no information"; "no reference number" is something else."""
_NO = r"(?:no|n't (?:any|enough)|not (?:any|enough|sufficient)|insufficient)"
_ABOUT_IT = rf"(?: (?:this|that|it|enough|anything|whether|{_WHO})\b|{_SOME}{{0,3}}? {_FACTS}{_OF_WHAT})"

_AFTER = (
    r"(?: (?:provided|given|supplied|retrieved|available|above|below|here|alone|also|only|just|simply|themselves|itself"
    rf"|and|or|that|which|i|we|you|at|in|on|of|from|about|for|by|as|with|to|so|nor|because|\d+)\b{_SOME}{{0,5}}?)?"
)
"""What may follow their name before its verb. A noun may not: a text field and a context menu are something else."""
_ENDS = rf"(?:(?! \w)|(?={_AFTER[:-1]}))"
_GIVEN_TO_IT = r"(?:given|provided|available|retrieved|supplied|above)"
_THE = r"\b(?:the|this|these|that|those|your|my|our|any|all|both|each|other|given|provided|retrieved|available)"
_THEY = rf"(?:{_THE}{_SOME}{{0,3}}? {THEM}|\b{THEM} \d+){_AFTER}"
_SURELY_THEY = (
    rf"{_THE}(?:{_SOME}{{0,3}}?"
    r" (?:documents|passages|texts|sources|contexts?|excerpts?|extracts?|snippets?|information)"
    rf"|{_SOME}{{0,2}}? {THEM} {_GIVEN_TO_IT}|{_SOME}{{0,2}}? {_GIVEN_TO_IT} {THEM}){_AFTER}"
)
"""The documents, and not a document, a material or a passage of which an answer tells."""

_THE_MODEL_CANNOT = (
    rf"\bi(?: \w+)? (?:{_DO_NOT}|cannot)(?: \w+)? {_SEEK}\b",
    rf"\bi(?:'m| am| was|'ve been| have been) (?:not able|unable)(?: to)?(?: \w+)? {_SEEK}",
    r"\bi(?:'m| am) not(?: \w+)? (?:sure|certain|aware|familiar)|\bi am unsure",
    rf"\bi {_DO_NOT} have{_SOME}{{0,3}} (?:{_FACTS}|access|knowledge|idea|anything|opinions?)\b",
    rf"\bi (?:have|had|found|find|see) (?:no|nothing|insufficient|not enough)\b(?!{_SOME}{{0,4}} (?:problem|reason))",
    r"\b(?:not|nothing)(?: something)? (?:that )?i (?:can|could|am able to) (?:answer|say|find|help)",
    rf"^(?:{_CANNOT}|unable to) (?:answer|determine|say)\b",
)
_THEY_LACK_IT = (
    rf"{_THEY} {_DO_NOT}(?: \w+)? (?:{_SAY}|(?:{_HOLD}|have|offer){_ABOUT_IT}|(?:allow|help|enable) (?:me|us|one)\b)",
    rf"{_SURELY_THEY} {_DO_NOT}(?: \w+)? {_HOLD}",
    rf"{_THEY} {_TELL} (?:nothing|little|not {_WHO}|(?:no|neither){_ABOUT_IT})",
    rf"{_SURELY_THEY} (?:{_HOLD}|mentions?) (?:no|neither)\b(?! one\b)",
    rf"{_THEY} (?:is|are) (?:silent|unclear|insufficient|not (?:clear|explicit|sufficient|enough)){_OF_WHAT}",
    rf"{_THEY} (?:leaves? (?:this|that|it)\b|fails? to {_SAY}|stays? silent\b|(?:lack|omit|miss)e?s?{_ABOUT_IT})",
    rf"{_SURELY_THEY} (?:lacks?|omits?)\b",
    r"\b(?:none|neither|nothing|no|not one)(?: (?:of|in|within|from|among) (?:the|these|those|your|my))?"
    rf"{_SOME}{{0,3}}? {THEM}{_AFTER} {_TELL}",
    rf"\bnothing (?:in|within|from|among){_SOME}{{0,4}} {THEM} (?:about|on|that)\b",
    rf"^(?:none of (?:them|these|those)|neither(?: of them)?) {_TELL}",
    rf"\bnot something{_SOME}{{0,3}} {THEM} {_TELL}",
    r"^(?:it|they|this|that) (?:do|does|did)(?: not|n't) (?:say|state|mention|specify|tell|indicate|discuss)\b",
    rf"^no relevant (?:{THEM}|{_FACTS}|answers?|results?)\b|^nothing relevant\b",
    rf"\b(?:outside|beyond|out of)(?: the)? (?:scope|range) of{_SOME}{{0,4}} {THEM}{_ENDS}",
)
_IT_IS_NOT_THERE = (
    rf"\bthere(?: is| are| was| were|'s) ?{_NO}(?: \w+){{0,2}} {_FACTS}{_OF_WHAT}",
    rf"\bthere (?:is|was) nothing{_SOME}{{0,4}} {THEM}{_ENDS}",
    rf"^(?:no|insufficient|not enough|too little)(?: \w+){{0,2}} {_FACTS}"
    r"(?:$|[.!]| (?:is|are|was|were|has been)?\s*(?:given|found|available|provided|about|on|regarding|in|to)\b)",
    rf"{_IS_NOT} {_SAID}(?: \w+){{0,5}}? (?:in|by|from|within|among){_SOME}{{0,4}} {THEM}{_ENDS}",
    rf"{_IS_NOT} {_SAID} (?:anywhere|here)\b",
    rf"{_IS_NOT} (?:in|from|part of|within) (?:the|these|your|any){_SOME}{{0,3}}? {THEM}{_ENDS}",
    rf"{_IS_NOT} {_PLAINLY_SAID}\W*$",
    rf"\b(?:missing|absent) (?:from|in){_SOME}{{0,4}} {THEM}{_ENDS}",
    rf"\b(?:is|it's|remains) (?:unclear|unknown|not clear|not known) (?:from|in|to){_SOME}{{0,4}} {THEM}{_ENDS}",
    r"^(?:it is|it's|it remains) (?:unclear|not clear)\b",
)
_IT_CANNOT_BE_ANSWERED = (
    rf"\b{_CANNOT} be {_FOUND_OUT}(?: \w+)?"
    rf"(?:\W*$|{_SOME}{{0,3}} (?:from|with|by|using|on|in){_SOME}{{0,5}} {THEM}{_ENDS})",
    rf"\b(?:question|answer|this|that)(?: \w+)? {_CANNOT} be (?:answered|determined|given|found|provided)",
    rf"^(?:{_CANNOT}|unable to) be (?:answered|determined|{_SAID})",
    r"\b(?:not possible|impossible) to (?:answer|say|tell|determine|know)\b",
    r"\b(?:more|further|additional) (?:information|context|details?)(?: \w+)? (?:is|are|be) (?:needed|required)",
    r"\bi(?: would|'d)? need (?:more|further|additional) (?:information|context|details?)\b",
    rf"^(?:n/?a|unknown|unanswerable|not (?:{_GIVEN}\b[^\n]*|sure|enough information))\W*$",
    rf"^not (?:in|part of) (?:the|these|any){_SOME}{{0,3}}? {THEM}{_ENDS}",
)
_A_QUESTION_BACK = (
    r"\bdo you mean\b[^?]*\?",
    r"^(?:could|can|would) you (?:please )?(?:clarify|tell|specify|give|rephrase|provide|say)\b",
)
_IN_OTHER_LANGUAGES = (
    r"\bich (?:weiß|weiss|kann|finde)\b.{0,80}\bnicht|\bdas weiß ich nicht|\bgeht .{0,80}\bnicht hervor",
    r"\b(?:dokumente?n?|unterlagen|text|quellen|kontext|passagen)\b.{0,80}\b(?:nichts?|keine?n?)\b",
    r"\bkeine (?:angaben|information)",
    r"\bje ne (?:\w+ )?(?:sais|peux|trouve|dispose)\b|\baucune information",
    r"\b(?:documents?|textes?|passages?|sources?) ne \w+ (?:pas|rien|aucun)",
    r"\bno (?:lo )?sé\b|\bno (?:puedo|encuentro|dispongo)\b",
    r"\b(?:documentos?|textos?|pasajes?|fuentes?) no \w+",
)

DECLINES = re.compile(
    "|".join(
        (
            *_THE_MODEL_CANNOT,
            *_THEY_LACK_IT,
            *_IT_IS_NOT_THERE,
            *_IT_CANNOT_BE_ANSWERED,
            *_A_QUESTION_BACK,
            *_IN_OTHER_LANGUAGES,
        )
    )
)
"""Found in a clause that declines to answer."""

EXCEPT = re.compile(r"\b(?:other than|except|apart from|besides)\b")
"""Found in a clause that tells something, though it declines to tell more."""

COURTESY = re.compile(
    r"(?:thank|thanks)\b|(?:i )?(?:hope|wish|would love|'d love|am sorry|'m sorry|apologi[sz]e)\b|(?:sorry|apologies)\b"
    r"|please (?:ask|contact|check|consult|try|provide|let|give|share|upload|rephrase|feel|clarify|refer)\b"
    r"|(?:let me know|feel free|is there anything|would you like|do you (?:want|have))\b"
    r"|if you (?:have|need|can|could)\b|i(?:'d| would) (?:love|like|be (?:happy|glad))\b|i(?:'m| am) happy\b"
    r"|you (?:may|might|could|should) (?:want|try|ask)\b|as an? (?:\w+ )?(?:ai|language model|assistant)\b"
    r"|good question"
)
"""Begins a clause that is there for politeness, or sends the reader elsewhere."""

DESCRIBES = re.compile(
    rf"(?:(?:the|these|those|your|all|both|other|only) )*(?:[\w'’-]+ ){{0,3}}?{THEM}{_SOME}{{0,3}}?"
    r" (?:only |just |also |mainly |do |does )*(?:describe|discuss|mention|cover|explain|talk|refer|deal|focus|concern"
    r"|address|speak|relate|end|stop|limited|contain|is about|are about|(?:is|are) (?:only |all |limited |mainly ))"
    r"(?:e?s)?\b(?! that\b)"
    r"|(?:the|this|your) question (?:is|asks|concerns|refers)\b"
    r"|the \w+ has an? (?:section|chapter|part|page|table) (?:on|about)\b"
    rf"|not (?:its|the|{_WHO}|about|on)\b|which (?:is|are|does|do) (?:about|not)\b"
)
"""Begins a clause that says what they, or the question, are about."""

LEAD = re.compile(
    r"(?:(?:unfortunately|regrettably|sadly|sorry|however|therefore|thus|hence|so|and|or|but|although|though|while"
    r"|since|because|as(?! an? )|yet|then|also|in short|even though|which means(?: that)?"
    r"|i(?:'m| am) (?:afraid|sorry)(?: that)?|(?:my )?apologies|i apologi[sz]e)\b[\s,.]*)+"
)
"""Words before a clause that say nothing themselves."""

ACCORDING = re.compile(r"(?:according to|based (?:only |solely )?on|from|in|given)\s+[^,]*,\s*")
"""What a clause rests on, before it: "based on the passages, "."""

BREAK = re.compile(
    r"[;:—]\s+|,?\s+(?=but\b)|,\s+(?=(?:so|although|though|while|since|because|however|therefore|yet|which|not)\b)"
    r"|,\s+(?=(?:and|or) (?:so|i|the|they|it|none|its|there|no)\b)"
)
"""Where a sentence falls into clauses."""

SUBORDINATE = re.compile(r"((?:while|although|though|since|because|as|even though)\b[^,]*),\s+(.*)", re.DOTALL)
"""A sentence that opens with a clause that leans on the next: both of them."""

ELLIPSIS = re.compile(
    r"(?:it|they|these|those|none of (?:them|these))\b\s*"
    r"|(?=(?:do|does|did)(?: not|n't)\b|(?:gives?|says?|contains?|provides?) no)"
)
"""Begins a clause whose subject was named before, or is left out."""
