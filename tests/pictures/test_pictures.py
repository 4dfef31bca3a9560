"""Every picture is drawn from values, without a screen; what can't be drawn is said in one sentence."""

from io import BytesIO
from itertools import pairwise
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from matplotlib.image import imread

from cryoburst.model.course import (
    Class,
    Course,
    CtfFit,
    CtfProfile,
    Curve,
    Drift,
    Fsc,
    FscPanel,
    Iteration,
    Montage,
    Panel,
    Picks,
    Slices,
)
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.pictures import classes, ctf, drift, fsc, history, sheet
from cryoburst.pictures.paper import DOTS, WIDE, png
from cryoburst.simulate.check import Comparison


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height from a PNG's header."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def write(path: Path, shape: tuple[int, ...], voxel: float = 3.0) -> Path:
    with mrcfile.new(path) as file:
        file.set_data(np.random.default_rng(0).random(shape).astype(np.float32))
        file.voxel_size = voxel
    return path


def curves(resolution: float | None = 12.5) -> FscPanel:
    frequency = tuple(0.003 * i for i in range(30))
    falling = tuple(float(1 / (1 + np.exp(i - 20))) for i in range(30))
    return FscPanel("Resolution", "note", Fsc(frequency, (Curve("half maps", falling),), resolution))


def fit(folder: Path, *, profile: bool) -> CtfFit:
    rings = tuple(float(0.01 * i) for i in range(64))
    some = CtfProfile(rings, rings[::-1], tuple(np.sin(rings)), tuple(np.cos(rings))) if profile else None
    return CtfFit("mic", write(folder / "a.ctf", (1, 64, 64)), 3.0, (12000, 11800), 10, 0.2, 7.0, some)


def every(folder: Path) -> list[Panel]:
    return [
        Montage("T", "n", write(folder / "stack.mrcs", (9, 16, 16)), tuple(range(9)), ("caption",) * 9),
        Montage("T", "n", write(folder / "one.mrcs", (1, 16, 16)), (0,)),
        Slices("T", "n", (("", write(folder / "map.mrc", (16, 16, 16))),)),
        Slices("T", "n", (("a", folder / "map.mrc"), ("b", folder / "map.mrc"), ("c", folder / "map.mrc"))),
        Slices("T", "", (("", folder / "map.mrc"),), unit="Å"),
        curves(),
        curves(None),
        Drift("mic", (0.0, 1.0, 2.0), (0.0, -1.0, 0.5), 3.6),
        Drift("mic", (0.0, 1.0), (0.0, -1.0), 0.0),
        fit(folder, profile=True),
        Picks("mic", write(folder / "mic.mrc", (64, 96)), (10.0, 20.0), (30.0, 5.0), 200.0),
        Picks("mic", folder / "mic.mrc", (), (), 200.0),
        Picks("mic", folder / "mic.mrc"),
    ]


@pytest.mark.slow
def test_every_kind_of_panel_is_drawn_and_told(tmp_path: Path) -> None:
    panels = every(tmp_path)
    assert {type(panel) for panel in panels} == set(sheet.DRAW)
    for panel in panels:
        assert png_size(sheet.picture(panel))[0] == WIDE * DOTS
        assert sheet.says(panel)


def test_a_fit_without_a_profile_is_drawn(tmp_path: Path) -> None:
    assert png_size(png(ctf.draw(fit(tmp_path, profile=False), (12000, 12000, 0))))[0] == WIDE * DOTS


def test_a_micrograph_without_picks_fills_both_halves(tmp_path: Path) -> None:
    made = imread(BytesIO(sheet.picture(Picks("mic", write(tmp_path / "mic.mrc", (64, 96))))), format="png")
    below = made[made.shape[0] // 2 :, :, :3].mean(axis=2)
    for half in np.array_split(below, 2, axis=1):
        assert (half < 0.99).mean() > 0.5  # nothing of it was there


@pytest.mark.slow
def test_a_sheet_has_its_pictures_under_one_another(tmp_path: Path) -> None:
    panels = [curves(), Drift("mic", (0.0, 1.0), (0.0, -1.0), 1.0)]
    heights = [png_size(sheet.picture(panel))[1] for panel in panels]
    made = sheet.save(panels, tmp_path / "sheet.png")
    assert png_size(made.read_bytes()) == (WIDE * DOTS, sum(heights) + 2 * sheet.GAP)


@pytest.mark.slow
def test_more_images_make_a_higher_montage(tmp_path: Path) -> None:
    stack = write(tmp_path / "stack.mrcs", (24, 16, 16))
    low, high = (png_size(png(classes.draw(Montage("", "", stack, tuple(range(n)))))) for n in (8, 24))
    assert low[0] == high[0]
    assert low[1] < high[1]


@pytest.mark.slow
def test_truth_is_drawn_where_it_is_known() -> None:
    truth = np.array([[0, 0.5, 1.0], [0, -0.5, 0.5]])
    track = Drift("mic", (0.0, 1.0, 2.0), (0.0, -1.0, 0.5), 3.6)
    assert png(drift.draw(track, truth)) != png(drift.draw(track))
    compared = Comparison("mirrored", 900, 850, 0.8, np.linspace(0.003, 0.09, 30), np.linspace(1, 0, 30), 22.0)
    assert png(fsc.draw(curves(), compared)) != png(fsc.draw(curves()))


@pytest.mark.parametrize("several", [True, False])
def test_the_history_of_iterations(several: bool) -> None:
    shares = (0.7, 0.3) if several else (1.0,)
    iterations = tuple(
        Iteration(n, None if n == 2 else 30.0 / n, tuple(Class(s, 20.0) for s in shares)) for n in (1, 2, 3)
    )
    assert png_size(png(history.draw(Course(iterations, 3))))[0] == WIDE * DOTS


def test_same_values_give_the_same_picture() -> None:
    assert sheet.picture(curves()) == sheet.picture(curves())


@pytest.mark.parametrize("last", [0.01, 0.09, 0.25, 0.5])
def test_ticks_are_apart(last: float) -> None:
    ticks = fsc.spacings(last)
    places = [1 / a / last for a in ticks]
    assert ticks
    assert all(b - a >= fsc.APART - 1e-9 for a, b in pairwise(places))
    assert places[-1] <= 1


def test_an_image_that_is_not_here_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotThere, match=r"not on this computer .*/none\.mrcs"):
        sheet.picture(Montage("", "", tmp_path / "none.mrcs", (0,)))
    (tmp_path / "left.mrcs").symlink_to("cryoburst://sha256:" + "0" * 64 + "/10")
    with pytest.raises(NotThere, match="cryoburst fetch"):
        sheet.picture(Montage("", "", tmp_path / "left.mrcs", (0,)))


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.mrcs").write_bytes(b"no image at all")
    with pytest.raises(BadInput, match=r"can't be read.*bad\.mrcs"):
        sheet.picture(Montage("", "", tmp_path / "bad.mrcs", (0,)))
    with pytest.raises(BadInput, match="can't be read"):
        sheet.picture(Montage("", "", write(tmp_path / "few.mrcs", (2, 8, 8)), (5,)))
    with pytest.raises(BadInput, match="not a map"):
        sheet.picture(Slices("", "", (("", write(tmp_path / "flat.mrc", (8, 8))),)))


def test_a_sheet_that_fails_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotThere):
        sheet.save([curves(), Montage("", "", tmp_path / "none.mrcs", (0,))], tmp_path / "sheet.png")
    assert not (tmp_path / "sheet.png").exists()
