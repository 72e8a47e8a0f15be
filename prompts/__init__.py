"""Messages -> the exact prompt: its string, its token ids, and which part each token belongs to.

Imports nothing from the other rooms. Start at `prompts.llama2` (Meta's format, to the byte),
`prompts.formats` (every family, chosen per model) and `prompts.wording` (the sentences, as data).
"""
