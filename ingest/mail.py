"""Mail: the subject as title, who wrote to whom and when, the body, the names of what is attached.

unstructured's readers give the body alone as text, and only the first of its parts.
"""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterable
from email.message import EmailMessage, MIMEPart
from email.utils import parsedate_to_datetime
from typing import Any, cast

from ingest.decoding import decode
from ingest.errors import ParseError
from ingest.markup import read_html
from ingest.rows import Reading, Row, clean, paragraphs, squeezed

_LISTED = ("From", "To", "Cc", "Date")


def read_eml(data: bytes) -> Reading:
    """A message as it was sent; of a body in several forms, the plain text if there is any."""
    message = email.message_from_bytes(data, policy=email.policy.default)
    if not message.keys():
        raise ParseError("no mail: it has no header; rename it to what it is")
    headers = {name: _header(message, name) for name in (*_LISTED, "Subject")}
    bodies: list[MIMEPart] = []
    attached: list[str] = []
    _sort_out(message, bodies, attached)
    readings = [_body(_part_text(part), part.get_content_type() == "text/html") for part in bodies]
    return _mail(headers, readings, attached)


def read_msg(data: bytes) -> Reading:
    """A message as Outlook saves it."""
    from oxmsg import Message

    message = Message.load(data)
    people = [_person(recipient.name, recipient.email_address) for recipient in message.recipients]
    sent = message.sent_date
    headers = {
        "From": message.sender or "",
        "To": ", ".join(people),
        "Date": sent.isoformat(sep=" ", timespec="minutes") if sent else "",
        "Subject": message.subject or "",
    }
    plain = (message.body or "").strip()
    body = _body(plain or message.html_body or "", html=not plain)
    attached = [_attachment(item.file_name, item.size) for item in message.attachments]
    return _mail(headers, [body], attached)


def _mail(headers: dict[str, str], bodies: Iterable[Reading], attached: list[str]) -> Reading:
    bodies = list(bodies)
    lines = [f"{name}: {headers[name]}" for name in _LISTED if headers.get(name)]
    rows = [Row(headers["Subject"], "title"), Row("\n".join(lines))]
    # The headings of a body stand below the subject.
    rows += [row._replace(depth=row.depth + 1) if row.kind == "title" else row for body in bodies for row in body.rows]
    if attached:
        rows.append(Row(f"Attachments: {'; '.join(attached)}"))
    left_out = tuple(text for body in bodies for text in body.boilerplate)
    return Reading(rows=[row for row in rows if row.text], boilerplate=left_out)


def _header(message: EmailMessage, name: str) -> str:
    """A header's text, decoded; the email package raises all kinds of errors for what spam has in its headers."""
    try:
        values = [str(value) for value in message.get_all(name, [])]
    except Exception:
        values = [str(value) for key, value in message.raw_items() if key.lower() == name.lower()]
    text = clean(squeezed(", ".join(values)))
    if name != "Date":
        return text
    try:
        return parsedate_to_datetime(text).isoformat(sep=" ", timespec="minutes")
    except (ValueError, IndexError, OverflowError):
        return text


def _sort_out(part: MIMEPart, bodies: list[MIMEPart], attached: list[str]) -> None:
    """Go through a message's parts: what is shown to ``bodies``, what is not to ``attached``."""
    kind = part.get_content_type()
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        parts = list(cast(Iterable[MIMEPart], part.iter_parts()))
        if kind != "multipart/alternative":
            for inner in parts:
                _sort_out(inner, bodies, attached)
            return
        forms: list[tuple[list[MIMEPart], list[str]]] = [([], []) for _ in parts]
        for inner, form in zip(parts, forms, strict=True):
            _sort_out(inner, *form)
        # The plainest comes first, unless it is empty.
        shown = next((found for found, _ in forms if any(_part_text(item).strip() for item in found)), [])
        bodies += shown
        for _, names in forms:
            attached += names
    elif kind in ("text/plain", "text/html") and not part.is_attachment() and not part.get_filename():
        bodies.append(part)
    else:
        attached.append(_attachment(_attachment_name(part), len(_payload(part))))


def _attachment_name(part: MIMEPart) -> str:
    try:
        name = part.get_filename()
        if not name and part.get_content_type() == "message/rfc822":
            name = _header(cast(list[EmailMessage], part.get_payload())[0], "Subject")
    except Exception:
        name = None
    return name or f"a part of type {part.get_content_type()}"


def _payload(part: MIMEPart) -> bytes:
    if part.is_multipart():
        return b"".join(bytes(inner) for inner in cast(list[EmailMessage], part.get_payload()))
    content: Any = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _part_text(part: MIMEPart) -> str:
    data = _payload(part)
    charset = part.get_content_charset()
    try:
        return data.decode(charset) if charset else decode(data)
    except (LookupError, UnicodeError):
        return decode(data)


def _body(text: str, html: bool) -> Reading:
    if not text.strip():
        return Reading(rows=[])
    return read_html(text) if html else Reading(rows=list(paragraphs(text)))


def _person(name: str, address: str) -> str:
    return f"{name} <{address}>" if name and name != address else address


def _attachment(name: str | None, size: int) -> str:
    return f"{squeezed(clean(name or 'without a name'))} ({size:,} bytes)"
