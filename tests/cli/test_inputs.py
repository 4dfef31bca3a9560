"""Inputs that can't be sent, and odd ones that can: through the real program, to the call on the machine."""

import shlex
from collections.abc import Callable

import pytest

from .home import FOLDER, PARTICLES, REFINE, STACK, STAR, Home, mrc, script

LONG = 10 * 2**20  # bytes of one line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.partition("000001@")[0] + "\n", "it has no rows"),
        (lambda t: t.replace("_rlnImageName", "_rlnImageNome"), "column rlnImageName is missing"),
        (lambda t: t.rstrip()[:-40], "stops before column rlnMicrographName"),
        (lambda t: "x" * LONG, "this is not a STAR file"),
        (lambda t: t.replace("000002@", "0 " * (LONG // 2)), STAR),
        (lambda t: "", "this is not a STAR file"),
        (lambda t: "\0" * 1000, "holds a NUL byte: this is not a text file"),
    ],
)
def test_particle_lists_that_cannot_work(home: Home, change: Callable[[str], str], sentence: str) -> None:
    (home.project / STAR).write_text(change(PARTICLES))
    said = home.refused()
    assert sentence in said
    assert STAR in said
    assert len(said) < 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n# version", "# " + "x" * LONG + "\n# version", 1),
        lambda t: t.replace("opticsGroup1", "o" * LONG),
        lambda t: t.replace("000002@", "0" * LONG + "2@"),
        lambda t: t.rstrip("\n"),
    ],
)
def test_particle_lists_that_are_odd_and_work(home: Home, change: Callable[[str], str]) -> None:
    text = change(PARTICLES)
    (home.project / STAR).write_bytes(text.encode())
    assert STAR in home.succeeds()
    assert (home.project / STAR).read_bytes() == text.encode()


@pytest.mark.slow
def test_windows_line_ends_everywhere(home: Home) -> None:
    for name in (STAR, f"{FOLDER}job.star", f"{FOLDER}run_submit.script", "default_pipeline.star"):
        path = home.project / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert home.succeeds()[-1] == FOLDER


@pytest.mark.parametrize("stack", ["/etc/passwd", "../other/a.mrcs", "Extract/../../a.mrcs"])
def test_a_stack_that_escapes(home: Home, stack: str) -> None:
    (home.project / STAR).write_text(PARTICLES.replace(STACK, stack))
    assert stack in home.refused()


@pytest.mark.parametrize("path", ["/etc/passwd", "../other.star", "/dev/zero"])
def test_a_list_that_escapes(home: Home, path: str) -> None:
    home.write(script(REFINE.replace(STAR, path)))
    assert path in home.refused()


def test_links_that_lead_nowhere(home: Home) -> None:
    stack = home.project / STACK
    stack.unlink()
    stack.symlink_to("b.mrcs")
    stack.with_name("b.mrcs").symlink_to("a.mrcs")
    assert f"{STACK} is a loop of links" in home.refused()


def test_a_device_behind_a_link(home: Home) -> None:
    (home.project / STACK).unlink()
    (home.project / STACK).symlink_to("/dev/zero")
    assert f"{STACK} is not a file" in home.refused()


@pytest.mark.slow
def test_missing_and_short_images(home: Home) -> None:
    mrc(home.project / STACK, missing=1)
    assert f"{STACK} is cut short: its header promises 1536 bytes and it has 1535" in home.refused()
    (home.project / STACK).write_bytes(b"")
    assert f"{STACK} is empty" in home.fails("submit", "--job", FOLDER)
    (home.project / STACK).unlink()
    assert f"{STACK} is missing" in home.fails("submit", "--job", FOLDER)
    (home.project / STACK).symlink_to("gone/a.mrcs")
    said = f"{STACK} is a link to gone/a.mrcs, where nothing is: mend the link"
    assert said in home.fails("submit", "--job", FOLDER)
    (home.project / STACK).unlink()
    assert home.rows("runs") == home.rows("machines") == 0
    mrc(home.project / STACK)
    home.succeeds()  # mended, and sent again: the marks of the refusals are gone
    assert not (home.project / FOLDER / "RELION_JOB_EXIT_FAILURE").exists()


NAMES = [
    "my movie",
    "it's",
    "$(touch ..pwned)",
    "`touch pwned`",
    "a;b&c|d>e",
    "Ribosom_ü_核糖体",
    "-rf",
    "*",
    'say "hi"',
]


@pytest.mark.slow
def test_odd_names_reach_the_program_unharmed(home: Home) -> None:
    masks = [f"Masks/{name}/{name}.mrc" for name in NAMES]
    for mask in masks:
        mrc(home.project / mask)
    home.write(script(REFINE + "".join(f" --solvent_mask {shlex.quote(mask)}" for mask in masks)))
    sent = {file["path"] for file in home.json("plan", "--job", FOLDER)["files"]}
    assert sent == {*masks, STAR, STACK}
    words = home.succeeds()
    assert [word for word in words if word.startswith("Masks/")] == masks
    left = {path.name for path in home.project.iterdir()}
    assert left == {"Class2D", "Extract", "Masks", "default_pipeline.star", ".pipeline_has_changed"}


@pytest.mark.slow
def test_odd_names_in_a_star_file(home: Home) -> None:
    rows, stacks = "", [f"Extract/job002/{name}/a.mrcs" for name in NAMES[:-1]]
    for stack in stacks:
        mrc(home.project / stack)
        quote = '"' if set(stack) & set(" '") else ""
        rows += f"{quote}000001@{stack}{quote} MotionCorr/job001/Movies/a.mrc 1\n"
    (home.project / STAR).write_text(PARTICLES.partition("000001@")[0] + rows + "\n")
    sent = {file["path"] for file in home.json("plan", "--job", FOLDER)["files"]}
    assert sent == {*stacks, STAR}
    home.succeeds()


@pytest.mark.slow
def test_a_name_with_a_line_end(home: Home) -> None:
    mask = "Masks/two\nlines.mrc"
    mrc(home.project / mask)
    home.write(script(f"{REFINE} --solvent_mask {shlex.quote(mask)}"))
    assert home.succeeds()[-2:] == ["Masks/two", "lines.mrc"]
    (home.project / mask).unlink()
    assert r"Masks/two\nlines.mrc is missing" in home.fails("submit", "--job", FOLDER)


def test_a_name_that_is_not_utf_8(home: Home) -> None:
    mask = "Masks/\udcff.mrc"
    mrc(home.project / mask)
    home.write(script(f"{REFINE} --solvent_mask {mask}"))
    assert "not UTF-8" in home.refused()


@pytest.mark.slow
@pytest.mark.parametrize("name", ['it\'s "my" $(touch pwned); project\nRibosom_ü', "-rf *"])
def test_odd_names_of_the_project_itself(home: Home, name: str) -> None:
    moved = home.project.with_name(name)
    home.project.rename(moved)
    home.project = moved
    home.succeeds()
    assert len(home.json("runs")) == 1
    for words in (("runs",), ("show", "1"), ("logs", "1"), ("fetch", "1")):
        done = home.call(*words)
        assert (done.returncode, done.stderr) == (0, ""), words
    assert not (moved / "pwned").exists()


def test_a_project_whose_name_is_not_utf_8(home: Home) -> None:
    home.project.rename(home.root / "\udcff")
    home.project = home.root / "\udcff"
    assert "the path of the job is not UTF-8" in home.refused()
    assert "the path of the job is not UTF-8" in home.fails("plan", "--job", FOLDER)
    assert home.json("runs") == []


def test_a_list_that_is_not_utf_8(home: Home) -> None:
    stack = "Extract/job002/\udcfc.mrcs"
    mrc(home.project / stack)
    (home.project / STAR).write_bytes(PARTICLES.replace(STACK, stack).encode("utf-8", "surrogateescape"))
    assert STAR in home.refused()


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["Class2D/my job/", "Class2D/$(touch pwned)/", "Class2D/job03/"])
def test_job_folders_that_relion_never_makes(home: Home, folder: str) -> None:
    moved = home.project / folder
    moved.parent.mkdir(exist_ok=True)
    (home.project / FOLDER).rename(moved)
    (moved / "run_submit.script").write_text(script().replace(FOLDER, folder))
    done = home.call("submit", "--job", folder)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    assert done.stderr.startswith("cryoburst: ")
    assert "an error of cryoburst itself" not in done.stderr
    assert home.rows("runs") == home.rows("machines") == 0
    assert not list(home.root.rglob("pwned"))
