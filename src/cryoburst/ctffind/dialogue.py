"""CTFFIND 4.1's questions, answered one per line on standard input, as RELION 3.1, 4.0 and 5.0 answer them.

RELION writes (ctffind_runner.cpp, executeCtffind4)

    image, [yes, frames to average,] output, pixel size, kV, Cs, amplitude contrast, box, lowest and highest resolution,
    lowest and highest defocus, step, no (known astigmatism), no or yes (slower search), yes (restrain astigmatism),
    tolerated astigmatism, no or yes (phase shift; then lowest, highest, step), [no (sample tilt; 4.0 and later),]
    no (expert options)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import inf, isfinite, pi
from pathlib import Path

from cryoburst.model.errors import BadInput

MOST_ANSWERS = 100


@dataclass(frozen=True)
class Search:
    """Where to look. Resolutions, defocus and astigmatism in Å, phase shifts in radians.

    tolerated_astigmatism is inf where astigmatism is free; known_astigmatism is (Å, degrees) where it is given.
    """

    lowest_resolution: float
    highest_resolution: float
    least_defocus: float
    most_defocus: float
    step: float
    tolerated_astigmatism: float = inf
    known_astigmatism: tuple[float, float] | None = None
    phase_shifts: tuple[float, float, float] | None = None
    thorough: bool = False


@dataclass(frozen=True)
class Request:
    """One filled-in dialogue. pixel_size in Å, voltage in kV, aberration in mm, box in pixels.

    frames_together is 0 for an image, and the number of frames to average for a movie.
    """

    image: Path
    frames_together: int
    output: Path
    pixel_size: float
    voltage: float
    aberration: float
    amplitude_contrast: float
    box: int
    search: Search


class _Answers:
    """The lines, taken one at a time, each named in the error it may cause."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines: Iterator[str] = (line.strip() for line in lines)
        self.taken = 0
        self.ahead: str | None = None

    def text(self, question: str) -> str:
        line = self.ahead if self.ahead is not None else next(self.lines, None)
        self.ahead = None
        self.taken += 1
        if line is None:
            raise BadInput(f"The dialogue ends before the {question} (answer {self.taken})")
        if not line:
            raise BadInput(f"The {question} (answer {self.taken}) is empty")
        return line

    def number(self, question: str, low: float, high: float) -> float:
        text = self.text(question)
        try:
            value = float(text)
        except ValueError:
            raise BadInput(f"The {question} (answer {self.taken}) is {text[:60]!r}, not a number") from None
        if not (isfinite(value) and low <= value <= high):
            raise BadInput(f"The {question} (answer {self.taken}) is {text[:60]}, outside {low:g} to {high:g}")
        return value

    def yes(self, question: str) -> bool:
        text = self.text(question)
        if text.lower() not in ("yes", "no"):
            raise BadInput(f"The answer to '{question}' (answer {self.taken}) is {text[:60]!r}, not yes or no")
        return text.lower() == "yes"

    def peek(self) -> str | None:
        if self.ahead is None:
            self.ahead = next(self.lines, None)
        return self.ahead


def read(lines: Iterable[str]) -> Request:
    """Return what the answers ask for; BadInput names the first answer that can't be used.

    Extra 'no' answers at the end are taken, for releases ask more or fewer optional questions.
    """
    answers = _Answers(lines)
    image = Path(answers.text("image's name"))
    frames = 0
    if (answers.peek() or "").lower() in ("yes", "no") and answers.yes("is the input a movie?"):
        frames = int(answers.number("number of frames to average", 1, 10_000))
    output = Path(answers.text("output's name"))
    pixel_size = answers.number("pixel size", 0.01, 100)
    voltage = answers.number("voltage", 10, 1000)
    aberration = answers.number("spherical aberration", 0, 100)
    contrast = answers.number("amplitude contrast", 0, 0.999)
    box = int(answers.number("size of the spectrum", 64, 8192))
    search = Search(
        lowest_resolution=answers.number("lowest resolution", 0.1, 1000),
        highest_resolution=answers.number("highest resolution", 0.1, 1000),
        least_defocus=answers.number("lowest defocus", -200_000, 1_000_000),
        most_defocus=answers.number("highest defocus", -200_000, 1_000_000),
        step=answers.number("defocus step", 0.1, 100_000),
    )
    if search.lowest_resolution <= search.highest_resolution:
        raise BadInput("The lowest resolution is not a larger number of Å than the highest resolution")
    if search.least_defocus > search.most_defocus:
        raise BadInput("The lowest defocus is above the highest defocus")
    search = _astigmatism(answers, search)
    search = _phase_shift(answers, search)
    _end(answers)
    return Request(image, frames, output, pixel_size, voltage, aberration, contrast, box, search)


def _astigmatism(answers: _Answers, search: Search) -> Search:
    """Read the three questions about astigmatism."""
    if answers.yes("do you know the astigmatism?"):
        astigmatism = answers.number("known astigmatism", 0, 1_000_000)
        return replace(search, known_astigmatism=(astigmatism, answers.number("angle of astigmatism", -360, 360)))
    thorough = answers.yes("slower, more exhaustive search?")
    tolerated = inf
    if answers.yes("restrain the astigmatism?"):
        value = answers.number("tolerated astigmatism", -1e6, 1e6)
        tolerated = value if value > 0 else inf  # CTFFIND: zero or less means unrestrained
    return replace(search, thorough=thorough, tolerated_astigmatism=tolerated)


def _phase_shift(answers: _Answers, search: Search) -> Search:
    """Read the question about a phase plate."""
    if not answers.yes("find a phase shift?"):
        return search
    low = answers.number("lowest phase shift", -2 * pi, 2 * pi)
    high = answers.number("highest phase shift", low, low + 2 * pi)
    return replace(search, phase_shifts=(low, high, answers.number("phase shift step", 1e-3, 2 * pi)))


def _end(answers: _Answers) -> None:
    """Take the last questions (sample tilt, expert options): only 'no' can be served."""
    for _ in range(MOST_ANSWERS):
        line = answers.peek()
        if not line:
            return
        if answers.yes("sample tilt or expert options?"):
            raise BadInput("Sample tilt and expert options are CTFFIND's own and not offered here", advice="answer no")
    raise BadInput(f"The dialogue goes on for more than {MOST_ANSWERS} answers after its end")
