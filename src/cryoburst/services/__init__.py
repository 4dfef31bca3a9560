"""Use cases: one function for each thing a user asks for; the command line calls these and nothing below."""
