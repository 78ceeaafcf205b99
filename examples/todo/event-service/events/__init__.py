"""Counts what happens to tasks: a consumer of the stream that the backend writes, and a few routes to ask about it."""
