"""What users really do wrong with RELION projects: each is one sentence, before anything is sent or rented."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import window

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion import Relion

FOLDER = "Class2D/job003/"
REFINE = (
    "`which relion_refine` --o Class2D/job003/run --i Extract/job002/particles.star --K 2 --ctf "
    "--pipeline_control Class2D/job003/"
)
JOB_STAR = """
# version 30001

data_job

_rlnJobType                             {number}
_rlnJobIsContinue                       0


# version 30001

data_joboptions_values

loop_
_rlnJobOptionVariable #1
_rlnJobOptionValue #2
nr_mpi          1
other_args         ""

"""
PARTICLES = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
opticsGroup1            1


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
000001@Extract/job002/Movies/a.mrcs MotionCorr/job001/Movies/a.mrc
000002@Extract/job002/Movies/a.mrcs MotionCorr/job001/Movies/a.mrc

"""


def script(command: str = REFINE, **changes: Any) -> str:
    return window.script(FOLDER, command, **changes)


def mrc(path: Path, sections: int = 2, missing: int = 0) -> None:
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    head = np.zeros(256, "<i4")
    head[:4] = (8, 8, sections, 2)
    path.write_bytes(head.tobytes() + b"\0" * (256 * sections - missing))


@pytest.fixture
def project(empty_project: Path) -> Path:
    """A project with a Class2D job that waits for its submission, and its particles."""
    (empty_project / FOLDER).mkdir(parents=True)
    (empty_project / FOLDER / "job.star").write_text(JOB_STAR.format(number=8))
    (empty_project / FOLDER / "run_submit.script").write_text(script())
    mrc(empty_project / "Extract/job002/Movies/a.mrcs")
    (empty_project / "Extract/job002/particles.star").write_text(PARTICLES)
    return empty_project


def refused(project: Path, text: str | None = None, target: str = f"{FOLDER}run_submit.script") -> str:
    """The sentence with which a script is refused, by read_job or by inputs."""
    if text is not None:
        (project / FOLDER / "run_submit.script").write_bytes(text.encode("utf-8", "surrogateescape"))
    relion = Relion()
    with pytest.raises(BadInput) as caught:
        relion.inputs(relion.read_job(Path(target), project))
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_the_project_is_fine_as_it_is(project: Path) -> None:
    relion = Relion()
    job = relion.read_job(Path(FOLDER) / "run_submit.script", project)
    assert [i.path for i in relion.inputs(job)] == ["Extract/job002/Movies/a.mrcs", "Extract/job002/particles.star"]


def test_not_a_relion_project(tmp_path: Path) -> None:
    (tmp_path / "Class2D/job001").mkdir(parents=True)
    (tmp_path / "Class2D/job001/run_submit.script").write_text(script())
    sentence = refused(tmp_path, target="Class2D/job001/run_submit.script")
    assert sentence.startswith("not a RELION project: no default_pipeline.star above it")


def test_no_such_script(project: Path) -> None:
    assert "no such job folder or submission script" in refused(project, target="Class2D/job099/run_submit.script")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.replace(REFINE, ""), "the script holds no command of RELION"),
        (lambda t: t.replace(FOLDER, "XXXnameXXX", 1), "still holds XXXnameXXX, which RELION should have filled in"),
        (lambda t: t.replace(REFINE, "XXXcommandXXX"), "still holds XXXcommandXXX"),
        (lambda t: t.replace("# cryoburst threads: 1\n", ""), "lacks the line '# cryoburst threads:' of our template"),
        (lambda t: "#!/bin/bash\n" + REFINE, "lacks the line '# cryoburst template:' of our template"),
        (
            lambda t: t.replace(f"job: {FOLDER}", "job: Class2D/job004/"),
            "names the job Class2D/job004/, but",
        ),
        (lambda t: t.replace("template: 1", "template: 99"), "the template is of another version: '99'"),
        (lambda t: t.replace("processes: 1", "processes: many"), "no whole number of processes: 'many'"),
        (lambda t: t.replace("processes: 1", "processes: 5").replace("$MPI", "mpirun -n 3"), "starts 3 processes"),
        (lambda t: t + "# cryoburst job: Class2D/job009/\n", "two lines for job"),
    ],
)
def test_template_edited_by_hand(project: Path, change: Callable[[str], str], sentence: str) -> None:
    assert sentence in refused(project, change(script()))


def test_unset_extra_fields_are_no_wish(project: Path) -> None:
    text = script(extra1="XXXextra1XXX", extra2="XXXextra2XXX", extra3="XXXextra3XXX")
    (project / FOLDER / "run_submit.script").write_text(text)
    wishes = Relion().read_job(Path(FOLDER) / "run_submit.script", project).wishes
    assert (wishes.machine, wishes.max_price, wishes.parts) == ("", None, 1)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("extra2", "cheap", "'Max price (USD/h)' is not a price: 'cheap'"),
        ("extra2", "nan", "is not a price"),
        ("extra2", "-1", "is not a price"),
        ("extra2", "1,5", "is not a price"),
        ("extra3", "0", "'Parts' is neither auto nor a whole number"),
        ("extra3", "two", "'Parts' is neither auto nor a whole number"),
        ("extra1", "c5 large", "'Machine type' is not one word"),
    ],
)
def test_a_wish_that_makes_no_sense(project: Path, field: str, value: str, sentence: str) -> None:
    assert sentence in refused(project, script(**{field: value}))


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("rm -rf /", "the command rm is not RELION's"),
        ("module load relion\n" + REFINE, "the command module is not RELION's"),
        ("`which relion_teleport` --i a.star", "RELION has no program called relion_teleport"),
        ("/opt/relion/bin/relion_refine --i a.star", "names /opt/relion/bin/relion_refine by a path of this computer"),
        ("`which relion_manualpick` --i a.star", "relion_manualpick opens a window for you to work in"),
        ("`which relion_refine` --i $(touch /tmp/owned)", "holds '$(touch /tmp/owned)', which a shell would run"),
        ("`touch owned` --i a.star", "holds '`touch owned`', which a shell would run"),
        ('`which relion_refine` --i "`touch owned`"', "a ` inside quotes, which a shell would run"),
        ("`which relion_refine` --i $HOME/a.star", "holds the variable $HOME"),
        ("$PREFIX `which relion_refine` --i a.star", "holds the variable $PREFIX"),
        ("`which relion_refine` --i a.star << EOF", "holds '<<', which a submission script of RELION never has"),
        ('`which relion_refine` --i "a.star', 'opens a " that never closes'),
        ("echo a > /etc/passwd", "writes to /etc/passwd, outside the project"),
        ("echo a > ../other/file", "writes to ../other/file, outside the project"),
    ],
)
def test_a_command_that_is_not_relions(project: Path, command: str, sentence: str) -> None:
    assert sentence in refused(project, script(command))


def test_absolute_path_into_the_project(project: Path) -> None:
    path = f"{project}/Extract/job002/particles.star"
    sentence = refused(project, script(REFINE.replace("Extract/job002/particles.star", path)))
    assert f"names {path} by its path on this computer" in sentence


@pytest.mark.parametrize("stack", ["/etc/passwd", "../other/a.mrcs", "Extract/../../a.mrcs"])
def test_a_path_that_escapes_is_refused_by_name(project: Path, stack: str) -> None:
    star = project / "Extract/job002/particles.star"
    star.write_text(PARTICLES.replace("Extract/job002/Movies/a.mrcs", stack))
    sentence = refused(project)
    assert stack in sentence
    assert "Extract/job002/particles.star, column rlnImageName" in sentence


def test_a_loop_of_links_is_named(project: Path) -> None:
    stack = project / "Extract/job002/Movies/a.mrcs"
    stack.unlink()
    stack.symlink_to("b.mrcs")
    stack.with_name("b.mrcs").symlink_to("a.mrcs")
    assert "Extract/job002/Movies/a.mrcs is a loop of links" in refused(project)


def test_a_device_is_not_a_file(project: Path) -> None:
    stack = project / "Extract/job002/Movies/a.mrcs"
    stack.unlink()
    stack.symlink_to("/dev/zero")
    assert "Extract/job002/Movies/a.mrcs is not a file" in refused(project)


def test_links_out_of_the_project_are_followed(project: Path, tmp_path: Path) -> None:
    outside = tmp_path / "session1"
    (project / "Extract/job002/Movies").rename(outside)
    (project / "Extract/job002/Movies").symlink_to(outside)
    relion = Relion()
    inputs = relion.inputs(relion.read_job(Path(FOLDER) / "run_submit.script", project))
    assert next((i.path, i.source) for i in inputs) == ("Extract/job002/Movies/a.mrcs", outside / "a.mrcs")


def test_missing_stacks_are_counted(project: Path) -> None:
    (project / "Extract/job002/Movies/a.mrcs").unlink()
    assert refused(project).startswith(
        "Extract/job002/Movies/a.mrcs is missing (named by Extract/job002/particles.star"
    )
    star = project / "Extract/job002/particles.star"
    star.write_text(PARTICLES.replace("000002@Extract/job002/Movies/a.mrcs", "000002@Extract/job002/Movies/b.mrcs"))
    assert refused(project).startswith("2 inputs are missing, the first is Extract/job002/Movies/a.mrcs")


def test_truncated_stack_is_named_before_anything_starts(project: Path) -> None:
    mrc(project / "Extract/job002/Movies/a.mrcs", missing=1)
    sentence = refused(project)
    assert "Extract/job002/Movies/a.mrcs is cut short: its header promises 1536 bytes and it has 1535" in sentence
    (project / "Extract/job002/Movies/a.mrcs").write_bytes(b"")
    assert "a.mrcs is empty" in refused(project)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.partition("000001@")[0] + " \n", "it has no rows"),
        (
            lambda t: t.replace("_rlnImageName", "_rlnImageNome"),
            "column rlnImageName is missing, which relion_",
        ),
        (lambda t: t.rstrip()[:-40], "stops before column rlnMicrographName"),
        (lambda t: t.replace("a.mrcs Mot", "a b.mrcs Mot"), "a value with spaces needs quotes"),
        (lambda t: "", "this is not a STAR file"),
    ],
)
def test_particle_lists_that_cannot_work(project: Path, change: Callable[[str], str], sentence: str) -> None:
    star = project / "Extract/job002/particles.star"
    star.write_text(change(PARTICLES))
    said = refused(project)
    assert sentence in said
    assert "Extract/job002/particles.star" in said


def test_windows_line_ends_everywhere(project: Path) -> None:
    for name in ("Extract/job002/particles.star", f"{FOLDER}job.star", f"{FOLDER}run_submit.script"):
        path = project / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    relion = Relion()
    job = relion.read_job(Path(FOLDER) / "run_submit.script", project)
    assert "\r" not in job.script
    assert len(relion.inputs(job)) == 2


@pytest.mark.parametrize(
    "name", ["my movie", "it's", 'say "hi"', "$(touch owned)", "line\nbreak", "Ribosom_ü_核糖体", "a;b&c|d"]
)
def test_names_that_a_shell_would_trip_over(project: Path, name: str) -> None:
    import shlex

    folder = project / "Extract/job002" / name
    mrc(folder / "a.mrcs")
    value = f"000001@Extract/job002/{name}/a.mrcs"
    if "\n" not in name:
        quote = "" if not set(name) & set(" '\"") else ("'" if '"' in name else '"')
        star = project / "Extract/job002/particles.star"
        star.write_text(f"data_particles\nloop_\n_rlnImageName\n_rlnX\n{quote}{value}{quote} 1\n")
    mask = f"Extract/job002/{name}/a.mrcs"
    (project / FOLDER / "run_submit.script").write_text(script(f"{REFINE} --solvent_mask {shlex.quote(mask)}"))
    relion = Relion()
    job = relion.read_job(Path(FOLDER) / "run_submit.script", project)
    assert job.commands[0][-1] == mask
    assert mask in [i.path for i in relion.inputs(job)]
    assert not (project / "owned").exists()
    assert not Path("owned").exists()


def test_script_that_is_not_text(project: Path) -> None:
    path = project / FOLDER / "run_submit.script"
    path.write_bytes(b"#!/bin/bash\0")
    assert "NUL byte" in refused(project)
    path.write_bytes(script().encode() + b"\xff\xfe")
    assert "not UTF-8" in refused(project)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("data_job\n_rlnJobType 77\n", "RELION has no job type 77"),
        ("data_job\n_rlnJobType x\n", "RELION has no job type x"),
        ("data_job\n_rlnJobTypeLabel relion.magic\n", "RELION has no job type relion.magic"),
        ("data_job\n_rlnOther 1\n", "names no type of job"),
        ("data_other\n_rlnOther 1\n", "there is no data_job block"),
    ],
)
def test_job_star_that_makes_no_sense(project: Path, text: str, sentence: str) -> None:
    (project / FOLDER / "job.star").write_text(text)
    assert sentence in refused(project)


def test_job_without_job_star(project: Path) -> None:
    (project / FOLDER / "job.star").unlink()
    assert "the job has no job.star" in refused(project)
