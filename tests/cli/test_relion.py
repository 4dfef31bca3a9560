"""With the real RELION 3.1.3: odd names and line ends reach the program unharmed; a wrong version is refused."""

import os
from pathlib import Path

import numpy as np
import pytest

from .home import FOLDER, Home, script

pytestmark = pytest.mark.slow

SIZE, COUNT = 32, 20
OPTICS = ("OpticsGroupName one", "OpticsGroup 1", "ImagePixelSize 10.0", f"ImageSize {SIZE}", "ImageDimensionality 2")
OPTICS += ("Voltage 300", "SphericalAberration 2.7", "AmplitudeContrast 0.1")


@pytest.fixture
def real(home: Home) -> Home:
    """The home without its stand-in: RELION is found where the tests found it."""
    (home.programs / "relion_refine").unlink()
    home.environment["PATH"] = f"{home.programs}:{os.environ['PATH']}"
    return home


def particles(project: Path, stack: str) -> str:
    """Noise that Class2D takes, in a stack of this name; returns the text of its list."""
    import mrcfile

    noise = np.random.default_rng(1).normal(0, 1, (COUNT, SIZE, SIZE)).astype(np.float32)
    y, x = np.mgrid[-SIZE // 2 : SIZE // 2, -SIZE // 2 : SIZE // 2]
    around = noise[:, np.hypot(x, y) > 13]  # RELION refuses images whose background is not 0 ± 1
    noise = (noise - around.mean(axis=1)[:, None, None]) / around.std(axis=1)[:, None, None]
    (project / stack).parent.mkdir(parents=True)
    with mrcfile.new(project / stack) as file:
        file.set_data(noise.astype(np.float32))
        file.voxel_size = 10.0
    head = "".join(f"_rln{pair.split()[0]}\n" for pair in OPTICS)
    row = " ".join(pair.split()[1] for pair in OPTICS)
    rows = "".join(f"{number:06d}@{stack} Mics/a.mrc 1\n" for number in range(1, COUNT + 1))
    labels = "_rlnImageName\n_rlnMicrographName\n_rlnOpticsGroup\n"
    return f"\ndata_optics\n\nloop_\n{head}{row}\n\n\ndata_particles\n\nloop_\n{labels}{rows}\n"


@pytest.mark.parametrize("name", ["plain", "it's_$(touch_pwned);a&b_ü"])
def test_a_class2d_of_oddly_named_particles(real: Home, name: str) -> None:
    moved = real.root / "two words, $(touch pwned) 核糖体"
    real.project.rename(moved)
    real.project = moved
    (moved / "list.star").write_text(particles(moved, f"Particles/{name}/a.mrcs"))
    real.write(
        script(
            f"`which relion_refine` --o {FOLDER}run --i list.star --K 1 --iter 1 --particle_diameter 250 --psi_step 60 "
            f"--tau2_fudge 2 --flatten_solvent --norm --scale --pipeline_control {FOLDER}"
        )
    )
    done = real.call("submit", f"{FOLDER}run_submit.script", "--wait", seconds=120)
    assert done.returncode == 0, done.stdout + (moved / FOLDER / "run.err").read_text()
    assert (moved / FOLDER / "run_it001_classes.mrcs").exists()
    assert not list(real.root.rglob("pwned"))
    real.no_machine()


def test_a_stand_in_of_another_version_first_on_path(real: Home) -> None:
    assert real.call("plan", "--job", FOLDER).returncode == 0
    real.relion("4.0.1")
    assert "the project was made with relion 3.1, and relion 4.0.1 is there" in real.refused()
