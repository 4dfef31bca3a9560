"""How a job goes, and what can be drawn of it, from files as RELION 3.1.3 writes them."""

import os
from pathlib import Path

import pytest

from cryoburst.model.course import Class, CtfFit, Drift, FscPanel, Montage, Picks, Slices
from cryoburst.model.errors import BadInput, NotThere
from cryoburst.model.job import Job
from cryoburst.packages.relion import Relion, course, panels, star

FOLDER = "Class2D/job006/"
GROUPS = "\ndata_model_groups\n\nloop_\n_rlnGroupNumber #1\n" + "1\n" * 5


def model(
    resolution: str, shares: tuple[float, ...], ref: str = "{n:06d}@Class2D/job006/run_it001_classes.mrcs"
) -> str:
    rows = "".join(f"{ref.format(n=n)} {share} 17.5 30.0\n" for n, share in enumerate(shares, 1))
    fsc = "".join(f"{n} {0.01 * n} {1 - 0.3 * n}\n" for n in range(4))
    return (
        f"\n# version 30001\n\ndata_model_general\n\n_rlnCurrentResolution {resolution}\n_rlnPixelSize 3.5\n \n"
        "\n# version 30001\n\ndata_model_classes\n\nloop_\n_rlnReferenceImage #1\n_rlnClassDistribution #2\n"
        f"_rlnAccuracyRotations #3\n_rlnEstimatedResolution #4\n{rows} \n"
        "\n# version 30001\n\ndata_model_class_1\n\nloop_\n_rlnSpectralIndex #1\n_rlnResolution #2\n"
        f"_rlnGoldStandardFsc #3\n{fsc} \n{GROUPS}"
    )


def job(project: Path, kind: str = "class2d", folder: str = FOLDER, **more: object) -> Job:
    (project / folder).mkdir(parents=True, exist_ok=True)
    commands = (("relion_refine", "--o", f"{folder}run", "--iter", "25"),)
    return Job("relion", f"relion.{kind}", project, folder, "", **({"commands": commands} | more))  # type: ignore[arg-type]


def put(project: Path, name: str, text: str = "", at: float = 100.0, folder: str = FOLDER) -> Path:
    path = project / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


# ---------------------------------------------------------------------------------------------------- iterations


def test_iterations_with_their_resolution_and_classes(tmp_path: Path) -> None:
    for number, resolution in ((0, "80.0"), (1, "40.0"), (2, "inf")):
        put(tmp_path, f"run_it{number:03d}_model.star", model(resolution, (0.75, 0.25)))
    found = course.course(job(tmp_path), 0.0)
    assert [(i.number, i.resolution) for i in found.iterations] == [(1, 40.0), (2, None)]
    assert found.iterations[0].classes == (Class(0.75, 30.0), Class(0.25, 30.0))
    assert (found.total, found.resolution, found.fsc, found.micrographs) == (25, None, None, None)


def test_what_an_earlier_run_left_is_not_of_this_one(tmp_path: Path) -> None:
    put(tmp_path, "run_it001_model.star", model("40.0", (1.0,)), at=200)
    put(tmp_path, "run_it025_model.star", model("9.0", (1.0,)), at=100)
    assert [i.number for i in course.course(job(tmp_path), 150.0).iterations] == [1]
    assert [i.number for i in course.course(job(tmp_path, restart="x"), 150.0).iterations] == [1, 25]


def test_a_continue_replaces_what_came_after_its_start(tmp_path: Path) -> None:
    for name in ("run_it001", "run_it002", "run_it003", "run_ct2_it003", "run_ct2_it004"):
        resolution = "10.0" if "ct2" in name else "30.0"
        put(tmp_path, f"{name}_model.star", model(resolution, (1.0,)))
    found = course.course(job(tmp_path, restart="run_it002_optimiser.star"), 0.0)
    assert [(i.number, i.resolution) for i in found.iterations] == [(1, 30), (2, 30), (3, 10), (4, 10)]


@pytest.mark.parametrize(
    "text", ["", "no STAR file", "data_model_general\n\n_rlnPixelSize 1\n\n", "data_x\n\nloop_\n_a\n1 2\n"]
)
def test_an_odd_file_makes_less_to_show(tmp_path: Path, text: str) -> None:
    put(tmp_path, "run_it001_model.star", text)
    put(tmp_path, "run_it002_model.star", model("40.0", (1.0,)))
    assert [i.number for i in course.course(job(tmp_path), 0.0).iterations] == [2]


def test_only_the_head_of_a_model_is_read(tmp_path: Path) -> None:
    path = put(
        tmp_path, "run_it001_model.star", model("40.0", (1.0,)) + "\ndata_late\n\nloop_\n_a #1\n" + "1 2 3\n" * 9999
    )
    found = star.first(path, path.name, ("model_general", "model_classes"))
    assert set(found) == {"model_general", "model_classes"}
    with pytest.raises(BadInput, match="goes on after column a"):
        star.blocks(path, path.name)


@pytest.mark.parametrize(
    ("words", "total"),
    [
        (("x", "--iter", "7"), 7),
        (("x", "--sgd_ini_iter", "20", "--sgd_inbetween_iter", "30", "--sgd_fin_iter", "10"), 60),
        (("x", "--auto_refine"), 0),
        (("x", "--iter"), 0),
        (("x", "--iter", "many"), 0),
    ],
)
def test_how_many_iterations_are_asked_for(tmp_path: Path, words: tuple[str, ...], total: int) -> None:
    assert course.course(job(tmp_path, commands=(words,)), 0.0).total == total


def test_the_fsc_of_a_refinement_and_its_end(tmp_path: Path) -> None:
    folder = "Refine3D/job015/"
    refine = job(tmp_path, "refine3d", folder, commands=(("relion_refine_mpi", "--auto_refine"),))
    assert not course.course(refine, 0.0).known
    text = model("40.0", (1.0,), "Refine3D/job015/run_it003_half1_class001.mrc")
    put(tmp_path, "run_it003_half1_model.star", text, folder=folder)
    put(tmp_path, "run_it003_half2_model.star", text, folder=folder)
    found = course.course(refine, 0.0)
    assert found.fsc is not None
    assert (found.fsc.frequency[1], found.fsc.curves[0].values[1], found.resolution) == (0.01, 0.7, 40.0)
    put(tmp_path, "run_model.star", model("9.5", (1.0,), "Refine3D/job015/run_class001.mrc"), folder=folder)
    assert course.course(refine, 0.0).resolution == 9.5
    made = panels.panels(refine, 0.0)
    assert [type(panel) for panel in made] == [FscPanel, Slices]
    assert isinstance(made[1], Slices)
    assert [path.name for _, path in made[1].maps] == ["run_class001.mrc"]


def test_bodies_are_no_classes(tmp_path: Path) -> None:
    folder = "MultiBody/job029/"
    bodies = job(tmp_path, "multibody", folder, commands=(("relion_refine_mpi", "--multibody_masks", "x"),))
    text = model("40.0", (1.0, 1.0), "MultiBody/job029/run_it001_half1_body{n:03d}.mrc")
    text = text.replace("data_model_classes", "data_model_bodies").replace("data_model_class_1", "data_model_body_1")
    put(tmp_path, "run_it001_half1_model.star", text, folder=folder)
    found = course.course(bodies, 0.0)
    assert (found.iterations[0].classes, found.resolution) == ((), 40.0)
    _, maps = panels.panels(bodies, 0.0)
    assert isinstance(maps, Slices)
    assert [(label, path.name) for label, path in maps.maps] == [
        ("body 1", "run_it001_half1_body001.mrc"),
        ("body 2", "run_it001_half1_body002.mrc"),
    ]


def test_each_body_has_its_fsc_and_the_best_one_the_resolution(tmp_path: Path) -> None:
    """3.1.3 tells the resolution of the best body: the curve of the first alone would say another."""
    folder = "MultiBody/job029/"
    bodies = job(tmp_path, "multibody", folder, commands=(("relion_refine_mpi", "--multibody_masks", "x"),))
    text = model("50.0", (1.0, 1.0), "MultiBody/job029/run_it001_half1_body{n:03d}.mrc")
    text = text.replace("data_model_classes", "data_model_bodies").replace("data_model_class_1", "data_model_body_1")
    body = text.partition("data_model_body_1")[2].partition(" \n")[0]
    better = body.replace("2 0.02 0.4", "2 0.02 0.6")
    assert better != body
    text = text.replace(GROUPS, f"\n# version 30001\n\ndata_model_body_2{better} \n{GROUPS}")
    put(tmp_path, "run_it001_half1_model.star", text, folder=folder)
    found = course.course(bodies, 0.0).fsc
    assert found is not None
    assert [curve.label for curve in found.curves] == ["half maps of body 2", "half maps of body 1"]
    assert [curve.values[2] for curve in found.curves] == [0.6, 0.4]


# ---------------------------------------------------------------------------------------------------- micrographs


def movie_job(project: Path, kind: str, folder: str, program: str) -> Job:
    lines = "".join(f"MotionCorr/job002/Movies/m{n}.mrc\n" for n in range(4))
    put(project, "in.star", f"data_micrographs\n\nloop_\n_rlnMicrographName #1\n{lines}\n", folder="CtfFind/job003/")
    words = (program, "--i", "CtfFind/job003/in.star", "--o", folder, "--LoG_diam_max", "280")
    return job(project, kind, folder, commands=(words,))


def test_micrographs_per_minute_come_from_the_times_of_their_results(tmp_path: Path) -> None:
    ctffind = movie_job(tmp_path, "ctffind", "CtfFind/job003/", "relion_run_ctffind")
    for n, at in enumerate((1000, 1010, 1020)):
        put(tmp_path, f"Movies/m{n}_PS.ctf", at=at, folder="CtfFind/job003/")
        put(tmp_path, f"Movies/m{n}_PS_ctffind4.log", at=at, folder="CtfFind/job003/")
    put(tmp_path, "Movies/old_PS.ctf", at=10, folder="CtfFind/job003/")
    found = course.course(ctffind, 500.0).micrographs
    assert found is not None
    assert (found.done, found.total, found.per_minute) == (3, 4, 6.0)


def test_one_micrograph_has_no_pace(tmp_path: Path) -> None:
    ctffind = movie_job(tmp_path, "ctffind", "CtfFind/job003/", "relion_run_ctffind")
    put(tmp_path, "Movies/m0_PS.ctf", folder="CtfFind/job003/")
    assert (course.course(ctffind, 0.0).micrographs or 0).per_minute is None  # type: ignore[union-attr]


TRACK = (
    "data_general\n\n_rlnMicrographOriginalPixelSize 2.0\n_rlnMicrographDoseRate 1.5\n\ndata_global_shift\n\nloop_\n"
    "_rlnMicrographFrameNumber #1\n_rlnMicrographShiftX #2\n_rlnMicrographShiftY #3\n1 0 0\n2 -1 0.5\n\n"
)
REPORT = (
    "# Output\n# Input file\n# Pixel size: 3.000 Angstroms ; acceleration voltage: 300.0 keV\n# Box size\n# Columns\n"
    "1.000000 12200.4 11627.1 -87.1 0.0 0.228 6.1\n"
)
PICKED = "data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n10 20\n100 60\n\n"


def test_the_newest_micrograph_is_drawn(tmp_path: Path) -> None:
    motion = movie_job(tmp_path, "motioncorr", "MotionCorr/job002/", "relion_run_motioncorr")
    put(tmp_path, "Movies/m1.star", TRACK, at=300, folder="MotionCorr/job002/")
    put(tmp_path, "Movies/m0.star", TRACK, at=200, folder="MotionCorr/job002/")
    put(tmp_path, "Movies/m2.star", "half", at=400, folder="MotionCorr/job002/")
    drift, micrograph = panels.panels(motion, 0.0)
    assert drift == Drift("m1", (-0.0, 2.0), (-0.0, -1.0), 1.5)
    assert isinstance(micrograph, Picks)
    assert micrograph.micrograph.name == "m1.mrc"


def test_a_fit_with_and_without_its_profile(tmp_path: Path) -> None:
    ctffind = movie_job(tmp_path, "ctffind", "CtfFind/job003/", "relion_run_ctffind")
    put(tmp_path, "Movies/m0_PS.ctf", folder="CtfFind/job003/")
    with pytest.raises(NotThere, match="nothing to draw yet"):
        panels.panels(ctffind, 0.0)
    put(tmp_path, "Movies/m0_PS.txt", REPORT, folder="CtfFind/job003/")
    (fit,) = panels.panels(ctffind, 0.0)
    assert isinstance(fit, CtfFit)
    assert (fit.name, fit.defocus, fit.resolution, fit.profile) == ("m0", (12200.4, 11627.1), 6.1, None)
    rows = "\n".join(" ".join(f"{row + 0.1 * n}" for n in range(5)) for row in range(6))
    put(tmp_path, "Movies/m0_PS_avrot.txt", f"# head\n{rows}\n", folder="CtfFind/job003/")
    (fit,) = panels.panels(ctffind, 0.0)
    assert isinstance(fit, CtfFit)
    assert fit.profile is not None
    assert (fit.profile.frequency[0], fit.profile.spectrum[0], fit.profile.agreement[0]) == (0, 2, 4)


def test_picks_lie_on_the_micrograph_that_the_job_read(tmp_path: Path) -> None:
    pick = movie_job(tmp_path, "autopick", "AutoPick/job004/", "relion_autopick")
    put(tmp_path, "Movies/m3_autopick.star", PICKED, folder="AutoPick/job004/")
    (found,) = panels.panels(pick, 0.0)
    assert found == Picks("m3", tmp_path / "MotionCorr/job002/Movies/m3.mrc", (10, 100), (20, 60), 280.0)


def test_class_averages_are_looked_for_in_the_jobs_own_folder(tmp_path: Path) -> None:
    text = model("40.0", (0.2, 0.795, 0.005), "{n:06d}@/etc/passwd")
    put(tmp_path, "run_it001_model.star", text)
    (found,) = panels.panels(job(tmp_path), 0.0)
    assert isinstance(found, Montage)
    assert (found.stack, found.places) == (tmp_path / FOLDER / "passwd", (1, 0))
    assert found.captions[0] == "79.5%   30.0 Å"


@pytest.mark.parametrize("kind", ["import", "polish", "select", "joinstar", "external", "ctfrefine"])
def test_a_job_of_which_there_is_no_picture_says_so(tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotThere, match="jobs have no picture"):
        panels.panels(job(tmp_path, kind), 0.0)


@pytest.mark.parametrize("kind", sorted(panels.DRAWERS))
def test_a_job_that_has_just_begun_says_so(tmp_path: Path, kind: str) -> None:
    with pytest.raises(NotThere, match="nothing to draw yet"):
        panels.panels(job(tmp_path, kind.removeprefix("relion.")), 0.0)


# ---------------------------------------------------------------------------------------------------- the past

PIPELINE = """
data_pipeline_general

_rlnPipeLineJobCounter 9

data_pipeline_processes

loop_
_rlnPipeLineProcessName #1
_rlnPipeLineProcessType #2
Class2D/job006/ 8

data_pipeline_input_edges

loop_
_rlnPipeLineEdgeFromNode #1
_rlnPipeLineEdgeProcess #2
Extract/job005/particles.star Class2D/job006/
Extract/job005/particles.star Class3D/job007/

data_pipeline_output_edges

loop_
_rlnPipeLineEdgeProcess #1
_rlnPipeLineEdgeToNode #2
Class2D/job006/ Class2D/job006/run_it025_data.star

"""
NOTE = """
 ++++ Executing new job on Sat Nov 28 05:49:20 2026
 ++++ with the following command(s):
`which relion_refine` --o Class2D/job006/run --iter 5
 ++++

 ++++ Continuing job on Sun Nov 29 05:49:20 2026
 ++++ with the following command(s):
`which relion_refine` --o Class2D/job006/run --iter 25
echo done
 ++++
"""


def test_the_past_of_a_job(tmp_path: Path) -> None:
    (tmp_path / "default_pipeline.star").write_text(PIPELINE)
    put(tmp_path, "note.txt", NOTE)
    put(tmp_path, "RELION_JOB_EXIT_SUCCESS", at=7.0)
    found = Relion().past(tmp_path, FOLDER)
    assert (found.kind, found.outcome, found.ended) == ("relion.class2d", "succeeded", 7.0)
    assert (found.inputs, found.outputs) == (
        ("Extract/job005/particles.star",),
        ("Class2D/job006/run_it025_data.star",),
    )
    assert found.commands == ("`which relion_refine` --o Class2D/job006/run --iter 25", "echo done")
    assert found.began is not None


def test_nothing_is_known_of_what_left_nothing(tmp_path: Path) -> None:
    found = Relion().past(tmp_path, "Class2D/job099/")
    assert (found.kind, found.commands, found.inputs, found.began, found.outcome) == ("", (), (), None, "")


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("Class2D/job012/run.mrcs", "Class2D/job012/"),
        ("Movies/a.tif", ""),
        ("Class2D/job012", ""),
        ("Class2D/job012/../../x", ""),
        ("/Class2D/job012/x", ""),
    ],
)
def test_the_job_of_a_path(path: str, folder: str) -> None:
    assert Relion().job_of(path) == folder
