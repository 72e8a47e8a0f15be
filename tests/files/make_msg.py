"""Writes the Outlook message of formats/ with aspose-email-foss, from the mail of swaks. Usage: make_msg.py FILE"""

import email
import email.policy
import sys
from pathlib import Path

from aspose.email_foss.msg import MapiMessage

data = Path(sys.argv[1]).with_suffix(".eml").read_bytes()
MapiMessage.from_email_message(email.message_from_bytes(data, policy=email.policy.default)).save(sys.argv[1])
