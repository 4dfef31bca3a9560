"""CTFFIND's questions: the forms that RELION's releases write, and what is no dialogue at all."""

from math import inf
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.ctffind.dialogue import read
from cryoburst.model.errors import BadInput

ANSWERS = "mic.mrc mic.ctf 1.5 300 2.7 0.1 512 30 5 5000 50000 500 no no yes 100 no no"
RELION_31: list[str] = list(ANSWERS.split())


def answers(**changes: str) -> list[str]:
    """RELION 3.1's answers, some of them changed by their place (a12="yes")."""
    lines: list[str] = list(RELION_31)
    for place, text in changes.items():
        lines[int(place[1:])] = text
    return lines


def test_relion_31_form() -> None:
    request = read(RELION_31)
    assert (request.image, request.output) == (Path("mic.mrc"), Path("mic.ctf"))
    assert (request.pixel_size, request.voltage, request.aberration) == (1.5, 300, 2.7)
    assert (request.amplitude_contrast, request.box, request.frames_together) == (0.1, 512, 0)
    search = request.search
    assert (search.lowest_resolution, search.highest_resolution) == (30, 5)
    assert (search.least_defocus, search.most_defocus, search.step) == (5000, 50000, 500)
    assert (search.tolerated_astigmatism, search.known_astigmatism, search.phase_shifts) == (100, None, None)


def test_relion_40_and_50_ask_one_question_more() -> None:
    assert read([*RELION_31, "no"]) == read(RELION_31)


def test_trailing_empty_lines_are_no_answers() -> None:
    assert read([*(line + "\n" for line in RELION_31), "\n", "\n"]) == read(RELION_31)


def test_movie_form() -> None:
    request = read([RELION_31[0], "yes", "4", *RELION_31[1:]])
    assert request.frames_together == 4
    assert request.output == Path("mic.ctf")


def test_phase_plate_form() -> None:
    request = read([*RELION_31[:16], "yes", "0", "3.15", "0.2", "no"])
    assert request.search.phase_shifts == (0, 3.15, 0.2)


def test_unrestrained_astigmatism() -> None:
    assert read([*RELION_31[:14], "no", "no", "no"]).search.tolerated_astigmatism == inf
    assert read(answers(a15="0")).search.tolerated_astigmatism == inf
    assert read(answers(a15="-100")).search.tolerated_astigmatism == inf


def test_known_astigmatism() -> None:
    assert read([*RELION_31[:12], "yes", "400", "30", "no", "no"]).search.known_astigmatism == (400, 30)


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([], "ends before the image's name"),
        (RELION_31[:5], "ends before the amplitude contrast"),
        (answers(a2="abc"), "pixel size .answer 3. is 'abc', not a number"),
        (answers(a2="nan"), "pixel size .answer 3. is nan, outside"),
        (answers(a2="-1"), "outside 0.01 to 100"),
        (answers(a6="1e9"), "size of the spectrum"),
        (answers(a7="4"), "lowest resolution is not a larger number"),
        (answers(a9="60000"), "lowest defocus is above"),
        (answers(a12="maybe"), "not yes or no"),
        (answers(a1=""), "output's name .answer 2. is empty"),
        (answers(a17="yes"), "expert options"),
        ([*RELION_31, *["no"] * 500], "goes on for more than 100"),
    ],
)
def test_garbage_is_named(lines: list[str], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        read(lines)


def check(error: BadInput) -> None:
    """One sentence, not too long."""
    assert "\n" not in str(error)
    assert len(str(error)) < 300


@given(st.lists(st.text(max_size=20), max_size=30))
def test_any_lines_give_a_request_or_one_sentence(lines: list[str]) -> None:
    try:
        read(lines)
    except BadInput as error:
        check(error)


@given(st.integers(0, 17), st.text(max_size=12))
def test_one_wrong_answer_gives_a_request_or_one_sentence(place: int, text: str) -> None:
    try:
        read(answers(**{f"a{place}": text}))
    except BadInput as error:
        check(error)


@given(
    st.floats(0.2, 10),
    st.sampled_from(["80", "200", "300.000000"]),
    st.floats(0, 5),
    st.integers(64, 4096),
    st.floats(1000, 20000),
    st.floats(0, 100_000),
)
def test_numbers_are_taken_as_written(pixel: float, kv: str, cs: float, box: int, low: float, more: float) -> None:
    lines = answers(a2=repr(pixel), a3=kv, a4=repr(cs), a6=str(box), a9=repr(low), a10=repr(low + more))
    request = read(lines)
    assert (request.pixel_size, request.voltage, request.aberration) == (pixel, float(kv), cs)
    assert (request.box, request.search.least_defocus, request.search.most_defocus) == (box, low, low + more)
