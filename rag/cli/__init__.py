"""The command line: the one place that knows every room. A command parses, builds, calls one thing, prints."""
