"""The pre-flight as the user meets it: bad projects of every kind, errors, warnings and --force."""

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from cryoburst.packages.relion.preflight.memory import Refinement, refinement

from .home import FOLDER, PARTICLES, REFINE, STACK, STAR, Home, script

SCRIPT = f"{FOLDER}run_submit.script"
CTF = "_rlnDefocusU #4\n_rlnDefocusV #5\n_rlnDefocusAngle #6\n"


def image(path: Path, x: int, y: int, z: int, pixel: float = 3.0) -> None:
    """An MRC file of zeros."""
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, x, y, z, 2)
    struct.pack_into("<3i", head, 28, x, y, z)
    struct.pack_into("<3f", head, 40, x * pixel, y * pixel, z * pixel)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(head) + bytes(4 * x * y * z))


def particles(home: Home, old: str, new: str) -> None:
    """Change the particle list."""
    text = (home.project / STAR).read_text()
    assert old in text
    (home.project / STAR).write_text(text.replace(old, new))


def command(home: Home, *more: str, program: str = "relion_refine", processes: int = 1, threads: int = 1) -> None:
    """Write the job's script with further options."""
    text = " ".join((REFINE.replace("relion_refine", program), *more))
    home.write(script(text, processes=processes, threads=threads))


def test_a_good_job_has_neither_errors_nor_warnings(home: Home) -> None:
    findings = home.json("plan", SCRIPT)["findings"]
    assert {f["level"] for f in findings} <= {"info"}
    assert {"memory", "disk"} <= {f["subject"] for f in findings}


def reference(home: Home) -> None:
    image(home.project / "ref.mrc", 10, 10, 10)
    command(home, "--ref", "ref.mrc")


def reference_pixel(home: Home) -> None:
    image(home.project / "ref.mrc", 8, 8, 8, pixel=2.0)
    command(home, "--ref", "ref.mrc")


def mask(home: Home) -> None:
    image(home.project / "ref.mrc", 8, 8, 8)
    image(home.project / "mask.mrc", 10, 10, 10)
    command(home, "--ref", "ref.mrc", "--solvent_mask", "mask.mrc")


def ctf(home: Home) -> None:
    command(home, "--ctf")


def ctf_optics(home: Home) -> None:
    ctf(home)
    particles(home, "_rlnOpticsGroup #3\n", f"_rlnOpticsGroup #3\n{CTF}")
    particles(home, "a.mrc 1\n", "a.mrc 1 9000 9000 0\n")
    particles(home, "_rlnAmplitudeContrast", "_rlnSomethingElse")


def group(home: Home) -> None:
    particles(home, "000002@" + STACK + " MotionCorr/job001/Movies/a.mrc 1", f"000002@{STACK} a.mrc 7")


def no_group(home: Home) -> None:
    particles(home, "_rlnOpticsGroup #3\n", "_rlnSomethingElse #3\n")


def voltage(home: Home) -> None:
    particles(home, "_rlnVoltage", "_rlnVoltages")


def no_size(home: Home) -> None:
    particles(home, "_rlnImageSize", "_rlnImageSizes")


def no_pixel(home: Home) -> None:
    particles(home, "0.1  3.0  8  2", "0.1  0.000000  8  2")


def number(home: Home) -> None:
    particles(home, "000002@", "000009@")


def box(home: Home) -> None:
    image(home.project / STACK, 6, 6, 2)


def halves(home: Home) -> None:
    command(home, "--auto_refine", "--split_random_halves", program="relion_refine_mpi", processes=2)


def halves_of_classes(home: Home) -> None:
    command(home, "--auto_refine", "--split_random_halves", program="relion_refine_mpi", processes=3)


def half_maps(home: Home) -> None:
    image(home.project / "half1.mrc", 8, 8, 8)
    image(home.project / "half2.mrc", 10, 10, 10)
    home.write(script(f"`which relion_postprocess` --i half1.mrc --o {FOLDER}p --pipeline_control {FOLDER}"))


def mask_of_maps(home: Home) -> None:
    image(home.project / "half1.mrc", 8, 8, 8)
    image(home.project / "half2.mrc", 8, 8, 8)
    image(home.project / "mask.mrc", 10, 10, 10)
    line = f"`which relion_postprocess` --i half1.mrc --mask mask.mrc --o {FOLDER}p --pipeline_control {FOLDER}"
    home.write(script(line))


def too_much_memory(home: Home) -> None:
    command(home, "--denovo_3dref", "--iter", "2", "--pad", "40", "--K", "20", "--healpix_order", "7")


ERRORS = {
    reference: "the reference ref.mrc has 10 pixels instead of 8, the particles'",
    reference_pixel: "the reference ref.mrc has 2 Å/px instead of 3, the particles'",
    mask: "the mask mask.mrc has 10 x 10 x 10 pixels and ref.mrc has 8 x 8 x 8: MaskCreate makes one that fits",
    ctf: f"{STAR} lacks rlnDefocusU, rlnDefocusV, rlnDefocusAngle, which CTF correction needs",
    ctf_optics: f"{STAR} lacks rlnAmplitudeContrast, which CTF correction needs: Import asks for them",
    group: f"{STAR} has particles of optics group 7, which its table has not",
    no_group: f"the particles of {STAR} have no column rlnOpticsGroup: take the list as RELION",
    voltage: f"the optics table of {STAR} lacks the voltage, Cs or pixel size",
    no_size: f"the optics table of {STAR} has no rlnImageSize for group 1",
    no_pixel: f"the optics table of {STAR} has 0 as rlnImagePixelSize for group 1",
    number: f"{STACK} has 2 images and 9 are used: extract the particles again",
    box: f"{STACK} has images of 6 x 6 pixels, and the optics table says 8: name the list",
    halves: "2 MPI processes for two half sets: RELION needs an odd number, 3 at least",
    halves_of_classes: "two half sets can have one class only",
    half_maps: "half1.mrc and half2.mrc have different sizes: take both from one",
    mask_of_maps: "the mask mask.mrc has 10 x 10 x 10 pixels and half1.mrc has 8 x 8 x 8",
    too_much_memory: "of memory, and there are",
}


@pytest.mark.slow
@pytest.mark.parametrize("spoil", list(ERRORS), ids=lambda spoil: spoil.__name__)
def test_an_error_refuses_the_job_also_with_force(home: Home, spoil: object) -> None:
    spoil(home)  # type: ignore[operator]
    wanted = ERRORS[spoil]  # type: ignore[index]
    before = home.files()
    done = home.call("submit", SCRIPT, "--force")
    assert (done.returncode, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert all(line.startswith("cryoburst: ") for line in done.stderr.splitlines())
    after = home.files()
    assert {name: after.get(name) for name in before} == before
    assert wanted in after[f"{FOLDER}run.err"].decode()
    assert f"{FOLDER}RELION_JOB_EXIT_FAILURE" in after
    assert home.rows("runs") == home.rows("machines") == 0
    plan = home.call("plan", SCRIPT)
    assert plan.returncode == 2
    assert re.search(rf"^ERROR\s.*{re.escape(wanted)}", plan.stdout, re.MULTILINE), plan.stdout


@pytest.mark.slow
def test_a_job_for_which_no_machine_is_large_enough_is_told_where_to_look(home: Home) -> None:
    too_much_memory(home)
    assert re.search(r"of memory, and there are \d+ GB at most; see cryoburst machines, and ask", home.refused())


@pytest.mark.slow
def test_a_store_that_its_machines_can_not_reach_refuses_the_job(home: Home) -> None:
    done = home.call("submit", SCRIPT, "--to", "aws", "--force")
    said = f"machines of aws can't reach the store file://{home.state}/store: choose a bucket with --store"
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert home.rows("runs") == 0
    plan = home.call("plan", SCRIPT, "--to", "aws", "--store", f"file://{home.state}/store")
    assert (plan.returncode, said in plan.stdout) == (2, True)


@pytest.mark.slow
def test_spot_where_there_is_none_is_told_and_stops_nothing(home: Home) -> None:
    said = "local has no spot machines for this job"
    assert said in home.call("plan", SCRIPT, "--spot").stdout
    assert said not in home.call("plan", SCRIPT).stdout
    done = home.call("submit", SCRIPT, "--spot", "--wait")
    assert done.returncode == 0
    assert done.stderr.startswith(f"cryoburst: {said}")


def test_every_error_is_told_at_once(home: Home) -> None:
    number(home)
    ctf(home)
    done = home.call("submit", SCRIPT)
    assert [ERRORS[ctf] in done.stderr, ERRORS[number] in done.stderr] == [True, True]
    assert len(done.stderr.splitlines()) == 2


def diameter(home: Home) -> None:
    command(home, "--particle_diameter", "25")


def no_optics(home: Home) -> None:
    text = PARTICLES.partition("data_particles")[2]
    (home.project / STAR).write_text("\ndata_particles\n" + text)


def mask_pixel(home: Home) -> None:
    image(home.project / "ref.mrc", 8, 8, 8)
    image(home.project / "mask.mrc", 8, 8, 8, pixel=1.5)
    command(home, "--ref", "ref.mrc", "--solvent_mask", "mask.mrc")


def minor(home: Home) -> None:
    home.relion("3.0.8")


WARNINGS = {
    diameter: "the mask diameter of 25 Å is wider than the box of 24 Å",
    no_optics: f"{STAR} has no optics table",
    mask_pixel: "the mask mask.mrc has 1.5 Å/px in its header and ref.mrc has 3: make the mask again",
    minor: "the project was made with RELION 3.1, and the machine has 3.0.8",
}


@pytest.mark.slow
@pytest.mark.parametrize("spoil", list(WARNINGS), ids=lambda spoil: spoil.__name__)
def test_a_warning_stops_the_job_until_it_is_forced(home: Home, spoil: object) -> None:
    spoil(home)  # type: ignore[operator]
    wanted = WARNINGS[spoil]  # type: ignore[index]
    said = home.refused()
    assert wanted in said
    assert "--force" in said
    plan = home.call("plan", SCRIPT)
    assert plan.returncode == 0
    assert re.search(rf"^WARNING\s.*{re.escape(wanted)}", plan.stdout, re.MULTILINE), plan.stdout
    done = home.call("submit", SCRIPT, "--force", "--wait")
    assert done.returncode == 0, done.stderr
    assert f"cryoburst: warning: {wanted}" in done.stderr
    events = [event["text"] for event in home.json("show", "1")["events"]]
    assert any(text.startswith(f"warning: {wanted}") for text in events)


@pytest.mark.slow
def test_a_job_that_may_fit_is_told_how_much_it_may_need(home: Home) -> None:
    """Nobody knows before which resolution a classification reaches: what it may need is no reason to refuse it."""
    has = home.json("plan", SCRIPT)["offer"]["memory_bytes"]
    job = Refinement(box=8, size=8, dimensions=3, classes=2, particles=2, rotations=576, shifts=29)
    padding = next(pad for pad in range(20, 1000) if refinement(replace(job, padding=pad)) > 1.1 * has)
    command(home, "--denovo_3dref", "--iter", "2", "--pad", str(padding), "--healpix_order", "1")
    plan = home.call("plan", SCRIPT)
    assert plan.returncode == 0
    numbers = r"at least about [\d.]+ GB of memory and may need up to [\d.]+ GB; the machine has [\d.]+ GB"
    assert re.search(rf"^WARNING\s.*{numbers}", plan.stdout, re.MULTILINE), plan.stdout


@pytest.mark.parametrize(
    ("iterations", "said"),
    [
        ("25", r"at most about [\d.]+ GB, at least about [\d.]+ GB; the machine has"),
        ("1", r"at most about [\d.]+ GB; the"),
    ],
)
def test_a_classification_is_told_the_most_and_the_least(home: Home, iterations: str, said: str) -> None:
    """The first iteration begins far below Nyquist, and nobody knows before how far later ones go."""
    image(home.project / STACK, 128, 128, 2)
    particles(home, "0.1  3.0  8  2", "0.1  3.0  128  2")
    command(home, "--denovo_3dref", "--K", "4", "--iter", iterations, "--healpix_order", "1")
    told = [f["sentence"] for f in home.json("plan", SCRIPT)["findings"] if f["subject"] == "memory"]
    assert [re.match(said, sentence) is not None for sentence in told] == [True]


@pytest.mark.slow
def test_the_setting_lets_warnings_pass_but_no_error(home: Home) -> None:
    home.environment["CRYOBURST_WARNINGS"] = "pass"
    diameter(home)
    assert home.call("submit", SCRIPT, "--wait").returncode == 0
    home.environment["CRYOBURST_WARNINGS"] = "never"
    assert "it can be stop or pass" in home.fails("plan", SCRIPT)


def test_a_reference_of_another_size_is_trusted_when_relion_is_told_to(home: Home) -> None:
    reference(home)
    command(home, "--ref", "ref.mrc", "--trust_ref_size")
    assert [f["level"] for f in home.json("plan", SCRIPT)["findings"] if f["subject"] == "reference"] == ["info"]


@pytest.mark.slow
def test_more_threads_than_cores_are_adapted_and_that_is_told(home: Home) -> None:
    command(home, "--j", "512", threads=512)
    plan = home.json("plan", SCRIPT)
    cores = plan["offer"]["cores"]
    assert (plan["processes"], plan["threads"]) == (1, cores)
    (said,) = [f["sentence"] for f in plan["findings"] if f["subject"] == "cores"]
    assert said.startswith("asked for 1 process of 512 threads for")
    words = home.succeeds(SCRIPT)
    assert words[words.index("--j") + 1] == str(cores)
    run = home.json("show", "1")
    assert run["threads"] == cores
    assert any(said in event["text"] for event in run["events"])
    assert "--j 512" in (home.project / SCRIPT).read_text()  # what the user typed stays as it is


@pytest.mark.slow
def test_the_memory_of_the_command_is_told(home: Home) -> None:
    (home.programs / "relion_refine").write_text(
        '#!/bin/sh\nif [ "$1" = --version ]; then echo "RELION version: 3.1.3"; exit 0; fi\n'
        f"python3 -c 'x = bytearray(b\"x\") * 60000000; import time; time.sleep(1.5)'\n"
        f"touch {FOLDER}RELION_JOB_EXIT_SUCCESS\n"
    )
    assert home.call("submit", SCRIPT, "--wait").returncode == 0
    assert 60e6 < home.json("show", "1")["peak_memory_bytes"] < 90e6
    assert re.search(r"memory +[67]\d\.\d MB at its peak", home.call("show", "1").stdout)


def test_gpus_that_are_not_there_are_told(home: Home) -> None:
    command(home, "--gpu", "0,1,2,3,4,5,6,7")
    assert "it asks for 8 GPUs, and there are" in home.refused()
