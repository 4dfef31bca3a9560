"""From where a job goes on, given which of its outputs are whole. No RELION: the files say only what counts."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import window

from cryoburst.model.errors import NeedHere
from cryoburst.model.job import Job, Resume
from cryoburst.model.stub import Stub
from cryoburst.packages.relion import Relion

FOLDER = "Refine3D/job005/"
ROOT = f"{FOLDER}run"
HALVES = ("half1", "half2")
NEEDED = (
    "optimiser.star",
    "data.star",
    "sampling.star",
    *(f"{h}_{e}" for h in HALVES for e in ("model.star", "class001.mrc")),
)
MORE = tuple(f"{h}_class001_angdist.bild" for h in HALVES)
COMMAND = (
    f"`which relion_refine_mpi` --o {ROOT} --auto_refine --i p.star --ref map.mrc --pad 1  --pipeline_control {FOLDER}"
)
MOVIES = "MotionCorr/job002/"
MOTION = f"`which relion_run_motioncorr` --i movies.star --o {MOVIES} --use_own --grouping_for_ps 2"
ENDS = (".mrc", ".star", "_PS.mrc", "_shifts.eps", ".log")


def image(path: Path, size: int = 4) -> None:
    """An MRC stack of one small image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<4i", size, size, 1, 2).ljust(1024, b"\0") + bytes(size * size * 4))


def table(*pairs: tuple[str, str]) -> str:
    return "".join(f"_{label} {value}\n" for label, value in pairs)


def job_in(root: Path, folder: str, number: int, command: str, processes: int = 1) -> Job:
    """A job as RELION's window scripts it."""
    script = window.add(root, folder, command, processes, number=number)
    return Relion().read_job(script.relative_to(root), root)


def iteration(root: Path, number: int, out: str = ROOT, bodies: str = "None", written: str = "") -> None:
    """All files of one iteration with two halves."""
    start = f"{out}_it{number:03d}_"
    written = written or out
    (root / start).parent.mkdir(parents=True, exist_ok=True)
    names = [("rlnOutputRootName", written)]
    names += [(f"rlnModelStarFile{'2' if h == 'half2' else ''}", f"{start}{h}_model.star") for h in HALVES]
    names += [
        ("rlnExperimentalDataStarFile", f"{start}data.star"),
        ("rlnOrientSamplingStarFile", f"{start}sampling.star"),
    ]
    (root / f"{start}optimiser.star").write_text(
        f"data_optimiser_general\n\n{table(*names, ('rlnBodyStarFile', bodies))}"
    )
    (root / f"{start}data.star").write_text("data_particles\n\nloop_\n_rlnImageName #1\n000001@p.mrcs\n")
    (root / f"{start}sampling.star").write_text("data_sampling_general\n\n_rlnIs3DSampling 1\n")
    for half in HALVES:
        map_ = f"{start}{half}_class001.mrc"
        (root / f"{start}{half}_model.star").write_text(f"data_model_classes\n\nloop_\n_rlnReferenceImage #1\n{map_}\n")
        image(root / map_)
        (root / f"{start}{half}_class001_angdist.bild").write_text(".color 1 0 0\n")


def refinement(root: Path, iterations: int = 4, command: str = COMMAND) -> Job:
    """A project with a Refine3D job that has written so many iterations, the first of them 0."""
    job = job_in(root, FOLDER, 10, command, processes=3)
    image(root / "p.mrcs")
    image(root / "map.mrc")
    (root / "p.star").write_text("data_particles\n\nloop_\n_rlnImageName #1\n000001@p.mrcs\n")
    for number in range(iterations):
        iteration(root, number)
    return job


def made(root: Path, folder: str = FOLDER) -> frozenset[str]:
    return frozenset(p.relative_to(root).as_posix() for p in (root / folder).rglob("run*_it*") if not p.is_dir())


def names(number: int, ends: tuple[str, ...] = NEEDED) -> frozenset[str]:
    return frozenset(f"{ROOT}_it{number:03d}_{end}" for end in ends)


def resume(job: Job, made: frozenset[str]) -> Resume | None:
    return Relion().resume(job, made)


def test_it_goes_on_after_the_newest_iteration_with_the_same_command(tmp_path: Path) -> None:
    job = refinement(tmp_path)
    found = resume(job, made(tmp_path))
    assert found is not None
    assert (found.done, found.sentence, found.settled, found.void) == (3, "after iteration 3", names(3), frozenset())
    before, after = job.commands[0], found.job.commands[0]
    assert after == (before[0], "--continue", f"{ROOT}_it003_optimiser.star", *before[1:])
    assert "\n$MPI `which relion_refine_mpi` --continue" in found.job.script
    inputs = {i.path for i in Relion().inputs(found.job)}
    assert inputs == names(3) | {"p.mrcs"}  # neither the list nor the reference of the beginning


@pytest.mark.parametrize("end", NEEDED)
def test_half_of_an_iteration_is_none(tmp_path: Path, end: str) -> None:
    job = refinement(tmp_path)
    found = resume(job, made(tmp_path) - names(3, (end,)))
    assert found is not None
    assert (found.done, found.settled) == (2, names(2))
    assert found.void == names(3, (*NEEDED, *MORE)) - names(3, (end,))


@pytest.mark.parametrize("end", NEEDED)
def test_a_torn_file_is_as_good_as_none(tmp_path: Path, end: str) -> None:
    job = refinement(tmp_path)
    path = tmp_path / f"{ROOT}_it003_{end}"
    path.write_bytes(path.read_bytes()[:-10] if end.endswith(".mrc") else b"data_x\n\nloop_\n_rlnImageName #1\n\0\n")
    found = resume(job, made(tmp_path))
    assert found is not None
    assert found.done in (2, 3)  # what the program alone reads (sampling) is not looked into: its checksum was right
    assert found.done == 2 or end == "sampling.star"


def test_pictures_are_not_needed_and_come_anew(tmp_path: Path) -> None:
    found = resume(refinement(tmp_path), made(tmp_path) - names(3, MORE))
    assert found is not None
    assert (found.done, found.settled) == (3, names(3))


def test_what_an_earlier_run_of_the_same_folder_left_counts_for_nothing(tmp_path: Path) -> None:
    job = refinement(tmp_path, iterations=10)
    found = resume(job, names(1) | names(2))
    assert found is not None
    assert found.done == 2
    assert resume(job, frozenset()) is None


def test_from_iteration_0_it_begins_anew(tmp_path: Path) -> None:
    assert resume(refinement(tmp_path, iterations=1), made(tmp_path)) is None


def test_a_job_that_was_continued_goes_on_after_its_own_iterations(tmp_path: Path) -> None:
    words = COMMAND.replace(f"--o {ROOT}", f"--continue {ROOT}_it002_optimiser.star --o {ROOT}_ct2")
    job = refinement(tmp_path, command=words)
    assert resume(job, made(tmp_path)) is None  # of the run before
    for number in (2, 3, 4):
        iteration(tmp_path, number, f"{ROOT}_ct2")
    found = resume(job, made(tmp_path))
    assert found is not None
    assert found.job.commands[0].count("--continue") == 1
    assert found.job.restart == f"{ROOT}_ct2_it004_optimiser.star"
    assert found.job.commands[0][3:5] == ("--o", f"{ROOT}_ct2")


@pytest.mark.parametrize(("written", "given"), [(ROOT, f"{FOLDER}/run"), (f"{FOLDER}/run", ROOT)])
def test_a_multi_body_refinement_keeps_its_names(tmp_path: Path, written: str, given: str) -> None:
    """RELION adds _ctN when --o is what the optimiser says, but only there."""
    job = refinement(tmp_path, iterations=1)
    (tmp_path / "bodies.star").write_text("data_\n\nloop_\n_rlnBodyMaskName #1\nmap.mrc\n")
    iteration(tmp_path, 1, bodies="bodies.star", written=written)
    found = resume(job, made(tmp_path))
    assert found is not None
    assert found.job.commands[0][found.job.commands[0].index("--o") + 1] == given
    assert {"bodies.star", "map.mrc"} <= {i.path for i in Relion().inputs(found.job)}


def test_a_list_that_stayed_in_the_store_is_asked_for(tmp_path: Path) -> None:
    job = refinement(tmp_path)
    path = tmp_path / f"{ROOT}_it003_half1_model.star"
    path.unlink()
    path.symlink_to(Stub("sha256:" + "0" * 64, 100).text)
    with pytest.raises(NeedHere) as asked:
        resume(job, made(tmp_path))
    assert asked.value.path == f"{ROOT}_it003_half1_model.star"


def test_a_map_that_stayed_in_the_store_is_as_good_as_one_at_home(tmp_path: Path) -> None:
    job = refinement(tmp_path)
    path = tmp_path / f"{ROOT}_it003_half1_class001.mrc"
    path.unlink()
    path.symlink_to(Stub("sha256:" + "0" * 64, 100).text)
    found = resume(job, made(tmp_path))
    assert found is not None
    assert found.done == 3


def test_a_script_that_can_not_be_understood_begins_anew(tmp_path: Path) -> None:
    job = refinement(tmp_path, command=COMMAND.replace(" --auto_refine", " \\\n  --auto_refine --continue \\\n x.star"))
    assert resume(job, made(tmp_path)) is None


ALL = sorted(name for number in range(4) for name in names(number, (*NEEDED, *MORE)))


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture], max_examples=60)
@given(missing=st.sets(st.sampled_from(ALL), max_size=4))
def test_it_is_always_the_newest_whole_iteration(tmp_path: Path, missing: set[str]) -> None:
    job = refinement(tmp_path) if not (tmp_path / FOLDER).exists() else Relion().read_job(Path(FOLDER), tmp_path)
    there = frozenset(ALL) - missing
    whole = [number for number in (1, 2, 3) if names(number) <= there]
    found = resume(job, there)
    assert (found.done if found else 0) == max(whole, default=0)
    if found is not None:
        assert found.settled <= there
        assert not found.settled & found.void
        assert {int(path.split("_it")[1][:3]) > found.done for path in found.void} <= {True}


# ------------------------------------------------------------------------------------------------- one by one


def motion(root: Path, command: str = MOTION) -> Job:
    """A MotionCorr job on four movies."""
    job = job_in(root, MOVIES, 1, command)
    rows = "".join(f"Movies/m{n}.mrcs\n" for n in range(4))
    (root / "movies.star").write_text(f"data_movies\n\nloop_\n_rlnMicrographMovieName #1\n{rows}")
    for n in range(4):
        image(root / f"Movies/m{n}.mrcs")
    return job


def outputs(root: Path, number: int, ends: tuple[str, ...] = ENDS) -> frozenset[str]:
    """Write outputs of a movie."""
    for end in ends:
        path = root / f"{MOVIES}Movies/m{number}{end}"
        if end.endswith(".mrc"):
            image(path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("data_\n")
    return frozenset(f"{MOVIES}Movies/m{number}{end}" for end in ends)


def test_movies_that_are_done_are_only_listed(tmp_path: Path) -> None:
    job = motion(tmp_path)
    found = resume(job, outputs(tmp_path, 0) | outputs(tmp_path, 2) | {f"{MOVIES}corrected_micrographs.star"})
    assert found is not None
    assert (found.done, found.settled, found.void) == (2, frozenset(), frozenset())
    assert found.job.commands[0][1] == "--only_do_unfinished"
    inputs = {i.path: i.listed for i in Relion().inputs(found.job)}
    assert {path for path, listed in inputs.items() if path.startswith("Movies/") and listed} == {
        "Movies/m0.mrcs",
        "Movies/m2.mrcs",
    }
    own = {path.removeprefix(f"{MOVIES}Movies/"): listed for path, listed in inputs.items() if path.startswith(MOVIES)}
    assert own == {f"m{n}{end}": end not in (".star", "_shifts.eps") for n in (0, 2) for end in ENDS}


@pytest.mark.parametrize("end", ENDS)
def test_a_movie_of_which_a_file_is_missing_is_done_again(tmp_path: Path, end: str) -> None:
    job = motion(tmp_path)
    there = outputs(tmp_path, 0) | outputs(tmp_path, 1, tuple(e for e in ENDS if e != end))
    found = resume(job, there)
    assert found is not None
    assert found.done == 1
    assert not [i.path for i in Relion().inputs(found.job) if "m1" in i.path and (i.listed or MOVIES in i.path)]


@pytest.mark.parametrize("ends", [(".star",), (".mrc", ".star"), (".log", "_PS.mrc")])
def test_files_that_one_movie_alone_has_do_not_make_it_done(tmp_path: Path, ends: tuple[str, ...]) -> None:
    assert resume(motion(tmp_path), outputs(tmp_path, 0, ends)) is None


def test_a_job_that_was_continued_counts_on_all_that_is_there(tmp_path: Path) -> None:
    job = motion(tmp_path, MOTION.replace("--use_own", "--use_own --only_do_unfinished"))
    before, mine = outputs(tmp_path, 0), outputs(tmp_path, 1)
    assert sum(i.listed and i.path.startswith("Movies/") for i in Relion().inputs(job)) == 2
    found = resume(job, mine)
    assert found is not None
    assert found.done == 2
    assert before | mine <= {i.path for i in Relion().inputs(found.job)}


def test_a_part_that_was_continued_counts_its_own_alone(tmp_path: Path) -> None:
    job = motion(tmp_path, MOTION.replace("--use_own", "--use_own --only_do_unfinished"))
    mine = outputs(tmp_path, 0) | outputs(tmp_path, 2) | outputs(tmp_path, 3)
    found = resume(Relion().part(job, 1, 2), mine)
    assert found is not None
    assert (found.done, found.sentence) == (1, "with what is missing: one micrograph is done")


TRACKS = ("_tracks.star", "_tracks.eps", "_FCC_cc.mrc", "_FCC_w0.mrc", "_FCC_w1.mrc")
SHINY = ("_shiny.mrcs", "_shiny.star")
TILT = ("_xyAcc_optics-group_{}_real.mrc", "_xyAcc_optics-group_{}_imag.mrc", "_wAcc_optics-group_{}.mrc")


def particles(root: Path, folder: str, command: str) -> Job:
    """A job on the particles of four micrographs."""
    rows = "".join(f"MotionCorr/job002/Movies/m{n}.mrc\n" for n in range(4))
    (root / "p.star").write_text(f"data_particles\n\nloop_\n_rlnMicrographName #1\n{rows}")
    return job_in(root, folder, window.NUMBERS[folder.split("/")[0]], f"{command} --i p.star --o {folder}")


def left(folder: str, ends: dict[int, tuple[str, ...]]) -> frozenset[str]:
    """The outputs of micrographs, by their numbers."""
    return frozenset(f"{folder}Movies/m{number}{end}" for number, each in ends.items() for end in each)


@pytest.mark.parametrize(
    ("tracks", "shiny", "steps"),
    [
        ((), (), 0),
        ((0,), (), 0),
        ((0, 1), (), 1),
        ((0, 1, 2, 3), (), 4),
        ((0, 1, 2, 3), (0,), 4),
        ((0, 1, 2, 3), (0, 1, 2), 6),
        ((0, 1, 2, 3), (0, 1, 2, 3), 7),
        ((0, 2, 3), (), 2),  # a file of the second was not sent
        ((0, 2, 3), (0, 1, 2, 3), 3),  # and no image counts whose track is not known
    ],
)
def test_polish_goes_on_in_its_first_round_or_its_second(
    tmp_path: Path, tracks: tuple[int, ...], shiny: tuple[int, ...], steps: int
) -> None:
    folder = "Polish/job007/"
    job = particles(tmp_path, folder, "`which relion_motion_refine` --combine_frames")
    there = left(folder, dict.fromkeys(tracks, TRACKS)) | left(folder, dict.fromkeys(shiny, SHINY))
    found = resume(job, there | {f"{folder}bfactors.star"})
    assert (found.done if found else 0) == steps
    if found is not None:
        assert found.sentence == f"with what is missing: {steps} of 8 steps are done"


@pytest.mark.parametrize(
    ("ends", "done"),
    [
        ({0: ("_defocus_fit.star", "_ctf-refine_fit.eps", *TILT)}, 1),
        ({0: ("_defocus_fit.star", "_ctf-refine_fit.eps")}, 0),
        ({0: ("_defocus_fit.star", *TILT)}, 0),
        ({0: ("_defocus_fit.star", "_ctf-refine_fit.eps", *TILT[:2])}, 0),
    ],
)
def test_ctfrefine_has_done_a_micrograph_when_every_fit_has_left_its_files(
    tmp_path: Path, ends: dict[int, tuple[str, ...]], done: int
) -> None:
    folder = "CtfRefine/job006/"
    job = particles(tmp_path, folder, "`which relion_ctf_refine` --fit_defocus --fit_beamtilt")
    found = resume(job, frozenset(path.format(1) for path in left(folder, ends)))
    assert (found.done if found else 0) == done


def test_micrographs_of_several_optics_groups_leave_the_same_kinds_of_files(tmp_path: Path) -> None:
    folder = "CtfRefine/job006/"
    job = particles(tmp_path, folder, "`which relion_ctf_refine` --fit_beamtilt")
    found = resume(job, frozenset(path.format(int("m2" in path) + 1) for path in left(folder, {0: TILT, 2: TILT})))
    assert found is not None
    assert found.done == 2


@pytest.mark.parametrize(("kind", "program"), [("MaskCreate", "relion_mask_create"), ("External", "relion_refine")])
def test_other_jobs_begin_anew(tmp_path: Path, kind: str, program: str) -> None:
    folder = f"{kind}/job003/"
    job = job_in(
        tmp_path, folder, {"MaskCreate": 12, "External": 99}[kind], f"`which {program}` --i x.mrc --o {folder}run"
    )
    assert resume(job, frozenset({f"{folder}run_it005_optimiser.star"})) is None
