"""A small RELION project that the real RELION 3.1.3 processes under strace: once per session, in about a minute."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cryoburst.model.job import Input, Job
from cryoburst.packages.relion import Relion
from cryoburst.packages.relion.setup import environment, write_template

EMPTY_PIPELINE = "\n# version 30001\n\ndata_pipeline_general\n\n_rlnPipeLineJobCounter                       1\n \n"
NUMBERS = {"MaskCreate": 12, "MultiBody": 19, "Polish": 20, "CtfRefine": 21}  # --addJob of 3.1.3 does not know these
JOB_STAR = """
data_job

_rlnJobType %d
_rlnJobIsContinue 0


data_joboptions_values

loop_
_rlnJobOptionVariable #1
_rlnJobOptionValue #2
do_queue Yes

"""
SIMULATE = """
import sys
from pathlib import Path
from cryoburst.simulate.dataset import Settings, write
write(Path(sys.argv[1]), Settings(micrographs=3, particles=12, size=512, frames=6), print)
"""
OPENED = re.compile(r'(?:openat\(AT_FDCWD, |open\(|creat\()"([^"]*)"(?:, ([A-Z_|0-9]+))?.*\)\s+= (-?\d+)')


@dataclass
class Watched:
    """One job that ran: what our code said before, and what the programs opened."""

    job: Job
    inputs: list[Input]
    opened: set[str]
    seconds: float

    @property
    def sent(self) -> set[str]:
        """Paths whose content would be sent."""
        return {i.path for i in self.inputs if not i.listed}


@dataclass
class Project:
    """A RELION project folder and the means to run jobs in it as the window's queue does."""

    root: Path
    logs: Path
    watched: dict[str, Watched] = field(default_factory=dict[str, Watched])

    def add(self, kind: str, options: str) -> str:
        """Add a job without running it; returns its folder."""
        if number := NUMBERS.get(kind):
            (self.logs / "job.star").write_text(JOB_STAR % number)
            self.pipeliner("--addJobFromStar", str(self.logs / "job.star"), "--addJobOptions", options)
        else:
            self.pipeliner("--addJob", kind, "--addJobOptions", options)
        text = (self.root / "default_pipeline.star").read_text()
        processes = text.partition("data_pipeline_processes")[2].partition("data_pipeline_nodes")[0]
        return re.findall(r"^(\S+/job\d+/)", processes, re.MULTILINE)[-1]

    def run(self, name: str, kind: str, options: str) -> str:
        """Add a job and let RELION submit it to a queue that only keeps the script; then run that, watched."""
        folder = self.add(kind, options)
        self.submit(folder)
        self.watched[name] = self.watch(folder)
        return folder

    def submit(self, folder: str) -> None:
        """Let RELION write the submission script; the queue takes it and does nothing."""
        script = self.root / folder / "run_submit.script"
        with subprocess.Popen(
            ["relion_pipeliner", "--RunJobs", folder, "--sec_wait_after", "1"],
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        ) as pipeliner:
            end = time.monotonic() + 60
            try:
                while not (self.logs / "taken").exists():
                    assert time.monotonic() < end, f"relion_pipeliner did not submit {folder}"
                    time.sleep(0.05)
            finally:
                pipeliner.kill()
            (self.logs / "taken").unlink()
        assert script.exists()

    def watch(self, folder: str, text: str = "") -> Watched:
        """Run a job's script under strace and compare: our list is made first, as in a real submission."""
        script = self.root / folder / "run_submit.script"
        if text:
            script.write_text(text)
        relion = Relion()
        job = relion.read_job(script.relative_to(self.root), self.root)
        inputs = relion.inputs(job)
        before = {p.relative_to(self.root).as_posix() for p in (self.root / folder).rglob("*") if p.is_file()}
        log = self.logs / "strace"
        began = time.monotonic()
        with (self.root / folder / "run.out").open("ab") as out, (self.root / folder / "run.err").open("ab") as err:
            done = subprocess.run(
                [
                    "strace",
                    "-f",
                    "--seccomp-bpf",
                    "-e",
                    "trace=openat,open,creat",
                    "-e",
                    "signal=none",
                    "-s",
                    "4096",
                    "-o",
                    str(log),
                    "bash",
                    f"{folder}run_submit.script",
                ],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=600,
                env=self.environment,
            )
        errors = (self.root / folder / "run.err").read_text(errors="replace")
        assert done.returncode == 0, errors
        return Watched(job, inputs, opened(log, self.root, folder, before), time.monotonic() - began)

    def pipeliner(self, *words: str) -> None:
        """Run relion_pipeliner to its end."""
        subprocess.run(
            ["relion_pipeliner", *words],
            cwd=self.root,
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=60,
            env=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        """RELION's window as ``cryoburst relion setup`` makes it, but for the queue; and what a machine has."""
        program = Path(sys.executable).with_name("cryoburst")
        made = environment(program, self.logs / "template.sh")
        queue = {"RELION_QSUB_COMMAND": f"touch {self.logs}/taken #"}
        return {**os.environ, **Relion.environment, **made, **queue, "OMP_NUM_THREADS": "1"}


def opened(log: Path, root: Path, folder: str, before: set[str]) -> set[str]:
    """Files of the project that were opened to read, without those that the job itself wrote."""
    read: set[str] = set()
    written: set[str] = set()
    pending: dict[str, str] = {}
    for line in log.read_text(errors="replace").splitlines():
        process, _, call = line.partition(" ")
        call = call.strip()
        if "<unfinished ...>" in call:
            pending[process] = call.split("<unfinished")[0]
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            call = pending.pop(process, "") + resumed.group(1)
        match = OPENED.match(call)
        if not match or int(match.group(3)) < 0:
            continue
        path = Path(os.path.normpath(root / match.group(1)))
        if path.is_relative_to(root / folder):  # CtfFind reads a power spectrum through a link in its own folder
            path = Path(os.path.realpath(path))
        if not path.is_relative_to(root) or path.is_dir():
            continue
        name = path.relative_to(root).as_posix()
        if re.search("WRONLY|RDWR|creat", match.group(2) or "creat"):
            written.add(name)
        elif name not in written:  # a continued job reads its last iteration, then writes it once more
            read.add(name)
    own = {f"{folder}{name}" for name in ("run_submit.script", "run.out", "run.err")}
    return {p for p in read - own if (not p.startswith(folder) or p in before)}


@pytest.fixture
def empty_project(tmp_path: Path) -> Path:
    """A project folder of RELION 3.1 without jobs."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    return root


@pytest.fixture(scope="session")
def relion_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with every job of the demo, run by RELION 3.1.3 under strace."""
    base = tmp_path_factory.mktemp("relion")
    data, root, logs = base / "data", base / "project", base / "logs"
    subprocess.run([sys.executable, "-c", SIMULATE, str(data)], check=True, stdout=subprocess.DEVNULL, timeout=300)
    root.mkdir()
    logs.mkdir()
    (root / "Movies").symlink_to(data / "Movies")  # as most people have it
    (root / ".gui_projectdir").touch()
    (root / "default_pipeline.star").write_text(EMPTY_PIPELINE)
    project = Project(root, logs)
    write_template(logs / "template.sh")
    pipeline(project)
    return project


@pytest.fixture(scope="session")
def relion_project_full(relion_project: Project) -> Project:
    """The same project after the rest of a 3D pipeline, with references and masks made for it."""
    rest(relion_project)
    return relion_project


def pipeline(project: Project) -> None:
    """The demo's jobs, in order."""
    run = project.run
    movies = run("import", "Import", "fn_in_raw == Movies/*.mrcs;angpix == 3.0")
    corrected = run(
        "motioncorr",
        "MotionCorr",
        f"input_star_mics == {movies}movies.star;fn_gain_ref == Movies/gain.mrc;dose_per_frame == 6;"
        "do_save_ps == Yes;group_for_ps == 12;nr_threads == 2",
    )
    ctf = "resmax == 8;dfmax == 30000;dast == 500;box == 256;use_ctffind4 == Yes;"
    fitted = run(
        "ctffind", "CtfFind", f"{ctf}input_star_mics == {corrected}corrected_micrographs.star;use_given_ps == Yes"
    )
    run(
        "ctffind_micrographs",
        "CtfFind",
        f"{ctf}input_star_mics == {corrected}corrected_micrographs.star;use_given_ps == No",
    )
    picks = run(
        "autopick",
        "AutoPick",
        f"fn_input_autopick == {fitted}micrographs_ctf.star;do_log == Yes;log_diam_min == 200;log_diam_max == 280",
    )
    stacks = run(
        "extract",
        "Extract",
        f"star_mics == {fitted}micrographs_ctf.star;coords_suffix == {picks}coords_suffix_autopick.star;"
        "extract_size == 112;do_rescale == Yes;rescale == 28",
    )
    run(
        "class2d",
        "Class2D",
        f"fn_img == {stacks}particles.star;nr_classes == 2;nr_iter == 2;particle_diameter == 300;offset_range == 2",
    )


def rest(project: Project) -> None:
    """3D refinement and all that follows, and continued jobs. The numbers are those of ``pipeline``'s jobs."""
    run, stacks = project.run, "Extract/job006/particles.star"
    convert = ["relion_image_handler", "--i", str(project.root.parent / "data/truth/map.mrc"), "--o", "ref.mrc"]
    subprocess.run(
        [*convert, "--rescale_angpix", "12", "--new_box", "28"],
        cwd=project.root,
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    reference = run(
        "import_other",
        "Import",
        "do_raw == No;do_other == Yes;fn_in_other == ref.mrc;node_type == 3D reference (.mrc)",
    )
    common = f"fn_img == {stacks};particle_diameter == 300;offset_range == 2;sampling == 30 degrees;"
    maps = f"fn_ref == {reference}ref.mrc;ref_correct_greyscale == Yes;ctf_corrected_ref == Yes;ini_high == 60;"
    run(
        "initialmodel",
        "InitialModel",
        f"{common}sgd_ini_iter == 1;sgd_inbetween_iter == 1;sgd_fin_iter == 1;sgd_write_iter == 1;"
        "sgd_ini_subset_size == 10;sgd_fin_subset_size == 10;sgd_ini_resol == 60;sgd_fin_resol == 60",
    )
    classified = run("class3d", "Class3D", f"{common}{maps}nr_classes == 1;nr_iter == 2")
    refined = run("refine3d", "Refine3D", f"{common}{maps}auto_local_sampling == 30 degrees;nr_mpi == 3")
    mask = run(
        "maskcreate",
        "MaskCreate",
        f"fn_in == {refined}run_class001.mrc;inimask_threshold == 0.01;extend_inimask == 2;width_mask_edge == 3",
    )
    halves = f"fn_in == {refined}run_half1_class001_unfil.mrc;fn_mask == {mask}mask.mrc;angpix == 12;"
    post = run("postprocess", "PostProcess", f"{halves}autob_lowres == 60")
    run("localres", "LocalRes", f"{halves}do_relion_locres == Yes;do_resmap_locres == No")
    known = f"fn_data == {refined}run_data.star;fn_post == {post}postprocess.star;minres == 60;"
    run("ctfrefine", "CtfRefine", f"{known}do_ctf == Yes;do_defocus == Per-particle")
    run("polish", "Polish", f"{known}fn_mic == MotionCorr/job002/corrected_micrographs.star;do_own_params == Yes")
    last = sorted(p.name for p in (project.root / refined).glob("run_it*_optimiser.star"))[-1]
    # Of a 3D classification: with several processes 3.1.3 may write a stack before its leader has made the folder.
    run("subtract", "Subtract", f"fn_opt == {classified}run_it002_optimiser.star;fn_mask == {mask}mask.mrc")
    (project.root / "bodies.star").write_text(
        "\ndata_\n\nloop_\n_rlnBodyMaskName #1\n_rlnBodyRotateRelativeTo #2\n_rlnBodySigmaAngles #3\n"
        f"_rlnBodySigmaOffset #4\n{mask}mask.mrc 2 10 2\n{mask}mask.mrc 1 10 2\n\n"
    )
    run(
        "multibody",
        "MultiBody",
        f"fn_in == {refined}{last};fn_bodies == bodies.star;do_analyse == Yes;do_select == No;nr_mpi == 3;"
        "sampling == 30 degrees;offset_range == 2",
    )
    run("joinstar", "JoinStar", f"do_part == Yes;fn_part1 == {stacks};fn_part2 == {stacks}")
    run("select", "Select", f"fn_data == {stacks};do_split == Yes;nr_split == 2")
    for name, folder in (("class2d", "Class2D/job007/"), ("refine3d", refined)):
        text = (project.root / folder / "run_submit.script").read_text()
        text = text.replace(" --pipeline_control", f" --continue {folder}run_it001_optimiser.star --pipeline_control")
        project.watched[f"{name}_continued"] = project.watch(folder, text)
