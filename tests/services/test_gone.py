"""What a program writes and deletes again before its end does not stay in the user's folder."""

import pytest

from .home import Home

pytestmark = pytest.mark.slow
SCRIPT = """
cd Script/job001
head -c 5000 /dev/urandom > scratch.mrc
head -c 5000 /dev/urandom > mine.mrc
head -c 5000 /dev/urandom > kept.mrc
ln -s kept.mrc scratch.link
home={home}
until [ -L $home/scratch.link ] && [ -e $home/mine.mrc ] && {scratch}; do sleep 0.1; done
echo changed here > $home/mine.mrc
rm scratch.mrc scratch.link mine.mrc
"""


@pytest.mark.parametrize("leave", [False, True])
def test_a_file_that_the_program_deleted_goes_at_home_too(home: Home, leave: bool) -> None:
    folder = home.project / "Script/job001"
    scratch = "[ -L $home/scratch.mrc ]" if leave else "[ -e $home/scratch.mrc ]"
    job = home.job(script=SCRIPT.format(home=folder, scratch=scratch))
    words = ("--leave", "scratch.mrc") if leave else ()
    done = home.call("submit", "--job", job, *words, "--wait")
    assert done.returncode == 0, done.stderr + home.log()
    there = {path.name for path in folder.iterdir()}
    assert {"scratch.mrc", "scratch.link"} & there == set()
    assert (folder / "kept.mrc").stat().st_size == 5000
    assert (folder / "mine.mrc").read_text() == "changed here\n"  # by somebody else: not ours to take away
    (run,) = home.runs()
    assert (run["files_left"], run["bytes_left"]) == (0, 0)
    assert run["files_out"] == sum(name.endswith(".mrc") for name in there) - 1
    assert home.call("fetch", "1").returncode == 0
    assert not (folder / "scratch.mrc").is_symlink()
