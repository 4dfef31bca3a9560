"""Splits a submission script into simple commands as bash would, without ever running one.

Only what RELION and our template write is understood. Anything whose value can't be known here ($(...), other
variables) is BadInput: its inputs could not be found, and a shell would run it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryoburst.model.errors import BadInput

WHICH = re.compile(r"\s*which\s+([\w.-]+)\s*")
OPERATORS = ("<<", "&&", "||", ">>", "&>", ";", "|", "&", ">", "<", "(", ")", "\n")
ENDS = ("\n", ";", "&&", "||", "|", "&")
NAME = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


@dataclass
class Command:
    """One simple command: its words, and the files it is redirected to."""

    words: list[str] = field(default_factory=list[str])
    redirects: list[str] = field(default_factory=list[str])
    variables: dict[int, str] = field(default_factory=dict[int, str])  # words that are one variable: its name


@dataclass
class _Word:
    text: str = ""
    variable: str = ""
    quoted: bool = False


def commands(script: str, name: str) -> list[Command]:
    """The simple commands of a script, in order. Raises BadInput naming the line of what can't be known."""
    found: list[Command] = []
    now = Command()
    redirect = False
    for item, line in _items(script, name):
        if isinstance(item, _Word):
            if redirect:
                now.redirects.append(item.text)
                redirect = False
                continue
            if item.variable:
                now.variables[len(now.words)] = item.variable
            now.words.append(item.text)
        elif item in (">", ">>", "&>", "<"):
            if now.words and now.words[-1] in ("1", "2"):
                now.words.pop()
            redirect = True
        elif item in ENDS:
            if redirect and item == "&":  # 2>&1
                continue
            if now.words or now.redirects:
                found.append(now)
            now, redirect = Command(), False
        else:
            raise BadInput(f"line {line} holds '{item}', which a submission script of RELION never has", where=name)
    if now.words or now.redirects:
        found.append(now)
    return found


def _items(script: str, name: str) -> Iterator[tuple[_Word | str, int]]:
    """Words and operators with the number of their line."""
    at, line = 0, 1
    word: _Word | None = None

    def bad(what: str) -> BadInput:
        return BadInput(f"line {line} {what}", where=name)

    def end(quote: str, start: int) -> int:
        stop = script.find(quote, start)
        if stop < 0:
            raise bad(f"opens a {quote} that never closes")
        return stop

    def dollar(start: int) -> tuple[str, int]:
        """The variable at a dollar sign and where it ends; an empty name for a dollar that stands for itself."""
        if match := NAME.match(script, start):
            return match.group(1), match.end()
        if script[start + 1 : start + 2] in ("", " ", "\t", "\n", '"'):
            return "", start + 1
        raise bad(f"holds '{script[start : start + 20].splitlines()[0]}', which a shell would run or replace")

    while at < len(script):
        char = script[at]
        if char in " \t\r\n" or (char == "#" and word is None):
            if word is not None:
                yield word, line
                word = None
            if char == "#":
                at = stop if (stop := script.find("\n", at)) >= 0 else len(script)
                continue
            if char == "\n":
                yield "\n", line
                line += 1
            at += 1
            continue
        operator = next((o for o in OPERATORS if script.startswith(o, at)), None)
        if operator:
            if word is not None:
                yield word, line
                word = None
            yield operator, line
            at += len(operator)
            continue
        word = word or _Word()
        if char == "'":
            stop = end("'", at + 1)
            word.text += script[at + 1 : stop]
            line += script.count("\n", at, stop)
            at, word.quoted = stop + 1, True
        elif char == "\\":
            if script[at + 1 : at + 2] != "\n":
                word.text += script[at + 1 : at + 2]
            elif not word.text and not word.quoted:
                word = None
            line += script[at + 1 : at + 2] == "\n"
            at += 2
        elif char == "`":
            stop = end("`", at + 1)
            match = WHICH.fullmatch(script, at + 1, stop)
            if not match:
                raise bad(f"holds '{script[at : stop + 1]}', which a shell would run")
            word.text += match.group(1)
            at = stop + 1
        elif char == "$":
            variable, at_end = dollar(at)
            alone = not word.text and not word.quoted and (at_end == len(script) or script[at_end] in " \t\n;")
            if variable and not alone:
                raise bad(f"holds the variable ${variable}, whose value is not known here")
            word.variable, word.text = variable, word.text + script[at:at_end]
            at = at_end
        elif char == '"':
            at, word.quoted = at + 1, True
            while True:
                if at >= len(script):
                    raise bad('opens a " that never closes')
                inside = script[at]
                if inside == '"':
                    at += 1
                    break
                if inside == "\\" and script[at + 1 : at + 2] in ('"', "\\", "$", "`"):
                    word.text += script[at + 1]
                    at += 2
                    continue
                if inside == "`":
                    raise bad("holds a ` inside quotes, which a shell would run")
                if inside == "$":
                    variable, at_end = dollar(at)
                    if variable:
                        word.variable = word.variable or f"{variable} "  # never a plain prefix
                    word.text += script[at:at_end]
                    at = at_end
                    continue
                line += inside == "\n"
                word.text += inside
                at += 1
        else:
            word.text += char
            at += 1
    if word is not None:
        yield word, line
