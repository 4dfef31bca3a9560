"""How RELION's lists are cut, which jobs are, and what a part and the join read. No RELION is needed here."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoburst.model.job import Input, Job
from cryoburst.model.split import block
from cryoburst.packages.relion import Relion, lists, star
from cryoburst.packages.relion.parts import joined

HEAD = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
opticsGroup1            1
"other group"           2


# version 30001

data_{block}

loop_
_rln{label} #1
_rlnOpticsGroup #2
"""
TAIL = "\n\n# the end\n"
OWN = "--use_own --j 2 --dose_weighting --grouping_for_ps 4 --gainref Movies/gain.mrc"
MC2 = "--use_motioncor2 --motioncor2_exe /opt/motioncor2 --gpu 0 --dose_weighting --gainref Movies/gain.mrc"
LOG = "--pickname autopick --LoG --LoG_diam_min 200"
TOPAZ = "--pickname autopick --topaz_extract --topaz_exe /opt/topaz --gpu 0"
MOTION = "relion_run_motioncorr --i Import/job001/movies.star --o MotionCorr/job002/"
CTF = "relion_run_ctffind --i MotionCorr/job002/corrected_micrographs.star --o CtfFind/job003/"
PICK = "relion_autopick --i CtfFind/job003/micrographs_ctf.star --odir AutoPick/job004/"
EXTRACT = (
    "relion_preprocess --i CtfFind/job003/micrographs_ctf.star --coord_dir AutoPick/job004/ --coord_suffix "
    "_autopick.star --part_star Extract/job005/particles.star --part_dir Extract/job005/ --extract"
)
COUNT = 7
MICS = [f"MotionCorr/job002/Movies/mic_{n}.mrc" for n in range(COUNT)]
MOVIES = [f"Movies/mic_{n}.tif" for n in range(COUNT)]


def listing(block: str, label: str, names: list[str]) -> str:
    rows = "".join(f"{name} {1 + n % 2}\n" for n, name in enumerate(names))
    return HEAD.format(block=block, label=label) + rows + TAIL


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Movies, micrographs and picks of all but one; nothing of the job itself."""
    put(tmp_path, *MOVIES, "Movies/gain.mrc", *MICS)
    put(tmp_path, *(f"AutoPick/job004/Movies/mic_{n}_autopick.star" for n in range(COUNT) if n != 3))
    lists_ = {
        "Import/job001/movies.star": ("movies", "MicrographMovieName", MOVIES),
        "MotionCorr/job002/corrected_micrographs.star": ("micrographs", "MicrographName", MICS),
        "CtfFind/job003/micrographs_ctf.star": ("micrographs", "MicrographName", MICS),
    }
    for name, (table, label, names) in lists_.items():
        put(tmp_path, name)
        (tmp_path / name).write_text(listing(table, label, names))
    return tmp_path


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0" * 2048)


def job_of(root: Path, command: str, kind: str = "relion.x", script: str = "") -> Job:
    words = tuple(command.split())
    folder = next(words[words.index(o) + 1] for o in ("--part_dir", "--odir", "--o") if o in words)
    return Job("relion", kind, root, folder, script or f"set -e\n{command}\n", (words,))


def read(inputs: list[Input]) -> set[str]:
    return {each.path for each in inputs if not each.listed}


# ---------------------------------------------------------------------------------------------------------- lists


names = st.lists(st.from_regex(r"M/[A-Za-z0-9_./-]{1,20}", fullmatch=True), min_size=1, max_size=40)


@pytest.mark.slow
@given(names, st.integers(1, 50))
def test_the_parts_of_a_list_are_the_whole_with_everything_else_kept(names: list[str], parts: int) -> None:
    text = listing("movies", "MicrographMovieName", names).encode()
    whole = lists.read(text, "movies.star", "rlnMicrographMovieName")
    assert whole is not None
    assert whole.names == names
    assert whole.only(range(len(names))) == text
    found: list[str] = []
    for part in range(1, parts + 1):
        rows = block(len(names), part, parts)
        cut = whole.only(rows)
        mine = lists.read(cut, "movies.star", "rlnMicrographMovieName") if rows else None
        found += mine.names if mine else []
        assert cut.startswith(text[: text.index(b"data_movies")])
        assert cut.endswith(TAIL.encode())
        assert star.blocks(cut, "x")[0].rows == star.blocks(text, "x")[0].rows
    assert found == names


def test_a_list_keeps_its_line_ends_and_the_form_of_numbers() -> None:
    text = b"data_\r\n\r\nloop_\r\n_rlnMicrographName #1\r\n_rlnDefocusU #2\r\na.mrc 1.50\r\n'b c.mrc' 2e4\r\n\r\n"
    found = lists.read(text, "x.star", "rlnMicrographName")
    assert found is not None
    assert found.names == ["a.mrc", "b c.mrc"]
    assert found.only([1]) == text.replace(b"a.mrc 1.50\r\n", b"")


def test_a_list_without_the_column_is_none() -> None:
    assert lists.read(b"data_\n\nloop_\n_rlnImageName #1\na\n", "x.star", "rlnMicrographName") is None


# --------------------------------------------------------------------------------------------------- which jobs


@pytest.mark.parametrize(
    ("command", "units"),
    [
        (f"{MOTION} {OWN}", COUNT),
        (f"{MOTION} {MC2}", COUNT),
        (f"{MOTION.replace('motioncorr', 'motioncorr_mpi')} {OWN}", COUNT),
        (f"{CTF} --is_ctffind4 --ctffind_exe /opt/ctffind", COUNT),
        (f"{CTF} --use_gctf --gctf_exe /opt/gctf --gpu 0", COUNT),
        (f"{PICK} {LOG}", COUNT),
        (f"{PICK} --ref Refs/refs.star --gpu 0", COUNT),
        (f"{PICK} {TOPAZ}", COUNT),
        (EXTRACT, COUNT - 1),  # one has no picks
    ],
)
def test_jobs_that_take_one_micrograph_after_the_other_are_split(project: Path, command: str, units: int) -> None:
    cut = Relion().cut(job_of(project, command))
    assert (cut.units, cut.unit, cut.refusal) == (units, "micrographs", "")
    assert cut.core_seconds > 0


@pytest.mark.parametrize(
    ("command", "kind", "why"),
    [
        ("relion_refine --o Class2D/job006/ --i p.star", "relion.class2d", "every iteration compares all"),
        ("relion_motion_refine --o Polish/job006/ --i p.star", "relion.polish", "B-factors come from all"),
        ("relion_mask_create --o Mask/job006/ --i m.mrc", "relion.maskcreate", "only MotionCorr, CtfFind, AutoPick"),
        (f"{PICK} {TOPAZ} --topaz_train", "relion.autopick", "with --topaz_train its micrographs depend"),
        (f"{PICK} {LOG} --read_fom_maps", "relion.autopick", "with --read_fom_maps"),
        (MOTION.replace("Import/job001/movies.star", "Movies/*.tif"), "relion.motioncorr", "--i is not a STAR file"),
    ],
)
def test_jobs_that_can_not_be_split_say_why(project: Path, command: str, kind: str, why: str) -> None:
    cut = Relion().cut(job_of(project, command, kind))
    assert cut.units == 0
    assert why in cut.refusal


def test_a_script_of_several_programs_is_not_split(project: Path) -> None:
    job = job_of(project, f"{MOTION} {OWN}")
    job = replace(job, commands=(*job.commands, ("relion_star_handler", "--i", "x.star")))
    assert "more than one program" in Relion().cut(job).refusal


# ------------------------------------------------------------------------------------------------------ commands


@pytest.mark.parametrize(
    ("line", "join"),
    [
        (f"$MPI `which relion_run_motioncorr` {MOTION[22:]}", "`which relion_run_motioncorr` --only_do_unfinished --i"),
        (MOTION.replace("corr ", "corr_mpi ", 1), "relion_run_motioncorr_mpi --only_do_unfinished --i"),
        (MOTION, "relion_run_motioncorr --only_do_unfinished --i"),
        (f"{MOTION} --only_do_unfinished", f"{MOTION} --only_do_unfinished\n"),
    ],
)
def test_the_join_is_the_same_command_that_does_what_is_unfinished(project: Path, line: str, join: str) -> None:
    words = line.replace("$MPI ", "").replace("`which relion_run_motioncorr`", "relion_run_motioncorr")
    text = f"# relion_run_motioncorr in a comment\nset -e\n{line}\necho x > MotionCorr/job002/y\n"
    job = Relion().part(job_of(project, words, script=text), 0, 3)
    assert join in job.script
    assert job.script.count("--only_do_unfinished") == 1
    assert job.script.startswith("# relion_run_motioncorr in a comment\n")
    assert job.script.endswith("echo x > MotionCorr/job002/y\n")
    assert (job.resources.cores, job.parts, job.part) == (1, 3, 0)


def test_a_part_is_the_same_command_on_its_own_rows(project: Path) -> None:
    whole = job_of(project, f"{MOTION} {OWN}")
    text = (project / "Import/job001/movies.star").read_bytes()
    rows: list[str] = []
    for number in (1, 2, 3):
        part = Relion().part(whole, number, 3)
        assert (part.script, part.commands) == (whole.script, whole.commands)
        inputs = {each.path: each for each in Relion().inputs(part)}
        content = inputs.pop("Import/job001/movies.star").content
        assert content is not None
        found = lists.read(content, "x", "rlnMicrographMovieName")
        assert found is not None
        assert set(inputs) == {*found.names, "Movies/gain.mrc"}  # its own movies alone
        assert content.startswith(text[: text.index(b"data_movies")])
        rows += found.names
    assert rows == MOVIES


def test_a_part_of_extract_has_micrographs_with_picks_alone(project: Path) -> None:
    inputs = Relion().inputs(Relion().part(job_of(project, EXTRACT), 2, 3))
    assert read(inputs) == {
        "CtfFind/job003/micrographs_ctf.star",
        *(f"MotionCorr/job002/Movies/mic_{n}.mrc" for n in (2, 4)),
        *(f"AutoPick/job004/Movies/mic_{n}_autopick.star" for n in (2, 4)),
    }


# ---------------------------------------------------------------------------------------------------------- the join


def outputs(command: str, n: int) -> list[str]:
    """What a program makes of a micrograph."""
    if "motioncorr" in command:
        ends = [".mrc", ".star", "_PS.mrc", "_shifts.eps", ".log", *(["_noDW.mrc"] if "motioncor2" in command else [])]
        return [f"MotionCorr/job002/Movies/mic_{n}{end}" for end in ends]
    if "gctf" in command:
        return [f"CtfFind/job003/Movies/mic_{n}{end}" for end in (".ctf", "_gctf.log")]
    if "ctffind" in command:
        return [f"CtfFind/job003/Movies/mic_{n}{end}" for end in (".ctf", ".txt", "_ctffind4.log", "_avrot.txt")]
    if "autopick" in command.split()[0]:
        return [f"AutoPick/job004/Movies/mic_{n}_autopick.star"]
    return [f"Extract/job005/Movies/mic_{n}{end}" for end in (".mrcs", "_extract.star")]


JOINS = [f"{MOTION} {OWN}", f"{MOTION} {MC2}", f"{CTF} --is_ctffind4", f"{CTF} --use_gctf", f"{PICK} {LOG}", EXTRACT]


@pytest.mark.parametrize("command", JOINS)
def test_the_join_reads_no_movie_and_no_image(project: Path, command: str) -> None:
    for n in range(COUNT):
        put(project, *outputs(command, n))
    put(project, *(f"{job_of(project, command).folder}{name}" for name in ("logfile.pdf", "note.txt", "run.out")))
    join = Relion().part(job_of(project, command), 0, 3)
    inputs = Relion().inputs(join)
    assert Relion().unmade(join) == []
    assert {Path(path).suffix for path in read(inputs)} <= {".star", ".eps", ".txt", ".log", ".mrc"}
    images = {path for path in read(inputs) if path.endswith(".mrc")}
    assert images == ({MICS[0]} if command == EXTRACT else set())  # Extract reads the size of the first
    assert not any(each.path.endswith(("note.txt", "logfile.pdf", "run.out")) for each in inputs)


@pytest.mark.parametrize("command", JOINS)
def test_the_join_takes_what_has_no_output_and_names_it(project: Path, command: str) -> None:
    for n in range(COUNT):
        if n != 5:
            put(project, *outputs(command, n))
    if command.startswith(PICK):  # the picks of the fixture are those of an earlier job to Extract
        (project / "AutoPick/job004/Movies/mic_5_autopick.star").unlink()
    join = Relion().part(job_of(project, command), 0, 3)
    source = MOVIES if command.startswith(MOTION) else MICS
    assert Relion().unmade(join) == [source[5]]
    wanted = read(Relion().inputs(join))
    assert source[5] in wanted
    assert source[4] not in wanted


def test_a_job_that_is_to_do_what_is_unfinished_does_not_send_what_is_done(project: Path) -> None:
    command = f"{MOTION} {OWN} --only_do_unfinished"
    assert set(MOVIES) <= read(Relion().inputs(job_of(project, command)))
    put(project, *outputs(command, 0))
    wanted = read(Relion().inputs(job_of(project, command)))
    assert set(MOVIES) & wanted == set(MOVIES[1:])
    assert "MotionCorr/job002/Movies/mic_0.star" in wanted


@pytest.mark.parametrize(
    ("name", "is_joined"),
    [
        ("corrected_micrographs.star", True),
        ("corrected_micrographs_all_rlnAccumMotionTotal.eps", True),
        ("micrographs_ctf_hist_rlnDefocusU.eps", True),
        ("logfile.pdf", True),
        ("logfile.pdf.lst", True),
        ("summary.star", True),
        ("coords_suffix_autopick.star", True),
        ("autopick.star", True),
        ("all_FOMs.eps", True),
        ("histogram_nrparts.eps", True),
        ("particles.star", True),
        ("gctf0.out", True),
        ("Movies/mic_001.star", False),
        ("Movies/particles.star", False),
        ("mic_001.star", False),  # of a movie at the top of the project
        ("mic_001_shifts.eps", False),
        ("Movies/mic_001_autopick.star", False),
    ],
)
def test_what_only_the_join_can_write(name: str, is_joined: bool) -> None:
    assert joined(name) == is_joined
