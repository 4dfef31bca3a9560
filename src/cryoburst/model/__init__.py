"""Value types, reasons and errors that every layer shares; standard library only.

Nothing here reads a clock, a file or a network. The agent's archive carries this package to the machine.
"""
