"""What read_job understands: both forms of job.star, scripts of several commands, note.txt, MPI and GPUs."""

from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.packages.relion import Relion, jobtypes, shell
from cryoburst.packages.relion.jobtypes import opens_plainly
from cryoburst.packages.relion.script import TEMPLATE

REFINE = "`which relion_refine_mpi` --o Class2D/job003/run --i a.star --j 4 --pipeline_control Class2D/job003/"


def make(root: Path, commands: list[str], head: str, folder: str = "Class2D/job003/", processes: int = 1) -> Path:
    """A job as RELION leaves it: the template's command line is repeated, bare lines come after."""
    (root / folder).mkdir(parents=True)
    (root / folder / "job.star").write_text(head)
    text = TEMPLATE
    for key, value in {
        "name": folder,
        "mpinodes": str(processes),
        "threads": "4",
        "extra1": "big",
        "extra2": "2",
    }.items():
        text = text.replace(f"XXX{key}XXX", value)
    line = "$MPI XXXcommandXXX\n"
    parallel = [c for c in commands if "relion_" in c and ("_mpi`" in c or processes == 1)]
    bare = [c for c in commands if c not in parallel]
    text = text.replace(line, "".join(line.replace("XXXcommandXXX", c) for c in parallel)) + "".join(
        c + "\n" for c in bare
    )
    (root / folder / "run_submit.script").write_text(text)
    return Path(folder) / "run_submit.script"


@pytest.mark.parametrize(
    ("head", "kind", "version"),
    [
        ("# version 30001\n\ndata_job\n\n_rlnJobType 8\n", "relion.class2d", "3.1"),
        ("# version 30001\n\ndata_job\n\n_rlnJobTypeLabel relion.class2d\n", "relion.class2d", "4.0"),
        ("# version 50001\n\ndata_job\n\n_rlnJobTypeLabel relion.class2d.em\n", "relion.class2d", "5.0"),
        ("data_job\n\n_rlnJobTypeLabel relion.importtomo\n", "relion.importtomo", ""),
    ],
)
def test_versions_of_job_star(empty_project: Path, head: str, kind: str, version: str) -> None:
    job = Relion().read_job(make(empty_project, [REFINE], head, processes=3), empty_project)
    assert (job.kind, job.software, job.version) == (kind, {"relion": version[:1]}, version)
    assert (job.resources.processes, job.resources.threads, job.resources.cores) == (3, 4, 12)
    assert (job.wishes.machine, job.wishes.max_price, job.wishes.parts) == ("big", 2.0, 1)
    assert job.commands == (("relion_refine_mpi", *REFINE.split()[2:]),)
    assert job.folder == "Class2D/job003/"
    assert job.restart == ""


@pytest.mark.parametrize("name", ["job.star", "run_submit.script"])
def test_a_file_that_is_too_large_to_be_the_windows_is_not_read(empty_project: Path, name: str) -> None:
    target = make(empty_project, [REFINE], "data_job\n\n_rlnJobType 8\n")
    with (empty_project / target).with_name(name).open("ab") as file:
        file.truncate(10**12)
    with pytest.raises(BadInput, match=rf"^it is larger than 16 MB, .* \(Class2D/job003/{name}\)$"):
        Relion().read_job(target, empty_project)


@pytest.mark.parametrize(("target", "what"), [("default_pipeline.star", "script"), (".", "folder")])
def test_what_lies_beside_the_pipeline_is_no_job(empty_project: Path, target: str, what: str) -> None:
    with pytest.raises(BadInput, match=f"^this is not a job's {what} "):
        Relion().read_job(Path(target), empty_project)


def test_several_commands_and_a_trailing_echo(empty_project: Path) -> None:
    commands = ["`which relion_autopick` --i a.star --LoG", "echo a.star > AutoPick/job003/coords_suffix_autopick.star"]
    target = make(empty_project, commands, "data_job\n_rlnJobType 4\n", "AutoPick/job003/")
    job = Relion().read_job(target, empty_project)
    assert job.commands == (("relion_autopick", "--i", "a.star", "--LoG"),)
    assert job.script.endswith(commands[1] + "\n")


@pytest.mark.parametrize(
    ("option", "gpus", "most"), [('--gpu ""', 1, 12), ('--gpu "0,1:2,3"', 4, 4), ('--gpu "0:0"', 1, 1), ("", 0, 0)]
)
def test_gpus(empty_project: Path, option: str, gpus: int, most: int) -> None:
    target = make(empty_project, [f"{REFINE} {option}"], "data_job\n_rlnJobType 8\n", processes=3)
    found = Relion().read_job(target, empty_project).resources
    assert (found.gpus, found.most_gpus) == (gpus, most)


def test_an_alias_is_its_job(empty_project: Path) -> None:
    make(empty_project, [REFINE], "data_job\n_rlnJobType 8\n", processes=3)
    (empty_project / "Class2D/good_classes").symlink_to("../Class2D/job003")
    for name in ("Class2D/good_classes", "Class2D/good_classes/", "Class2D/job003", "Class2D/job003/"):
        assert Relion().read_job(Path(name), empty_project).folder == "Class2D/job003/"


def test_continue_names_the_restart_file(empty_project: Path) -> None:
    command = f"{REFINE} --continue Class2D/job003/run_it010_optimiser.star"
    target = make(empty_project, [command], "data_job\n_rlnJobType 8\n", processes=3)
    assert Relion().read_job(target, empty_project).restart == "Class2D/job003/run_it010_optimiser.star"


NOTE = """
 ++++ Executing new job on Sat Nov 21 07:56:49 2026
 ++++ with the following command(s):
`which relion_refine` --o old
 ++++
 ++++ Executing new job on Sat Nov 21 07:57:49 2026
 ++++ with the following command(s):
`which relion_refine_mpi` --o new --j 2
echo done > Class2D/job003/note
 ++++
"""


def test_job_folder_without_a_script_of_ours_takes_the_last_command_of_note_txt(empty_project: Path) -> None:
    head = "data_job\n_rlnJobType 8\n\ndata_joboptions_values\nloop_\n"
    head += "_rlnJobOptionVariable\n_rlnJobOptionValue\nnr_mpi 3\n"
    target = make(empty_project, [REFINE], head, processes=3)
    (empty_project / target).write_text("#!/bin/csh\n#$ -q some_other_queue\n")
    (empty_project / "Class2D/job003/note.txt").write_text(NOTE)
    job = Relion().read_job(Path("Class2D/job003"), empty_project)
    assert job.commands == (("relion_refine_mpi", "--o", "new", "--j", "2"),)
    assert job.resources.processes == 3
    assert "mpirun -n 3 `which relion_refine_mpi` --o new" in job.script
    (empty_project / target).unlink()
    assert Relion().read_job(Path("Class2D/job003"), empty_project) == job
    (empty_project / "Class2D/job003/note.txt").unlink()
    with pytest.raises(BadInput, match=r"neither run_submit.script nor note.txt"):
        Relion().read_job(Path("Class2D/job003"), empty_project)


def test_external_jobs_may_run_any_program(empty_project: Path) -> None:
    target = make(empty_project, ["my_denoiser --in_movies a.star"], "data_job\n_rlnJobType 99\n", "External/job003/")
    (empty_project / "a.star").write_text("data_\nloop_\n_rlnMicrographName\n_rlnOther\nMics/a.mrc 1\n")
    (empty_project / "Mics").mkdir()
    (empty_project / "Mics/a.mrc").write_bytes(b"\0" * 2048)
    job = Relion().read_job(target, empty_project)
    assert [i.path for i in Relion().inputs(job)] == ["Mics/a.mrc", "a.star"]


def test_shell_words() -> None:
    (command,) = shell.commands("relion_import --i \"Movies/*.tif\" --o 'a b' c\\ d e*.star 2> x.err \\\n --j 2", "s")
    assert command.words == ["relion_import", "--i", "Movies/*.tif", "--o", "a b", "c d", "e*.star", "--j", "2"]
    assert command.redirects == ["x.err"]


def test_the_table_has_every_type_once() -> None:
    assert len({t.number for t in jobtypes.TYPES}) == len(jobtypes.TYPES) == len({t.label for t in jobtypes.TYPES})
    assert jobtypes.label_of(6) is None
    assert jobtypes.known_label("relion.refine3d.tomo") == "relion.refine3d"


def test_every_program_has_a_rule_and_every_rule_a_program() -> None:
    from cryoburst.packages.relion.rules import RULES

    assert {p.rule for p in jobtypes.PROGRAMS.values()} == set(RULES) - {"external"}


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("relion_refine_mpi", True),
        ("relion_run_motioncorr", True),
        ("relion_python_topaz", False),
        ("my_filter", False),
    ],
)
def test_only_programs_that_were_watched_may_begin_before_their_inputs_are_there(name: str, may: bool) -> None:
    """Others may open files with O_NONBLOCK, and are then refused and not kept waiting."""
    assert opens_plainly(name) is may
