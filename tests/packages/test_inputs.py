"""Rules of the closure that need no RELION: files that no STAR names, versions 4.0 and 5.0, options of any program."""

from pathlib import Path

import pytest

from cryoburst.model.errors import BadInput
from cryoburst.model.job import Job
from cryoburst.packages.relion import Relion


def files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0" * 2048)


def table(root: Path, name: str, block: str, labels: str, *rows: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    head = f"data_{block}\n\nloop_\n" + "".join(f"_rln{label} #{n}\n" for n, label in enumerate(labels.split(), 1))
    with (root / name).open("a") as file:
        file.write(head + "\n".join(rows) + "\n\n\n")


def closure(root: Path, *commands: str) -> list[str]:
    job = Job("relion", "x", root, "Class3D/job009/", "", tuple(tuple(c.split()) for c in commands))
    return [i.path for i in Relion().inputs(job)]


@pytest.fixture
def micrographs(empty_project: Path) -> Path:
    root = empty_project
    files(root, *(f"MotionCorr/job002/Movies/{n}{kind}.mrc" for n in "ab" for kind in ("", "_PS")))
    rows = [f"MotionCorr/job002/Movies/{n}.mrc MotionCorr/job002/Movies/{n}_PS.mrc" for n in "ab"]
    table(root, "mics.star", "micrographs", "MicrographName CtfPowerSpectrum", *rows)
    return root


def test_ctffind_reads_power_spectra_or_micrographs_never_both(micrographs: Path) -> None:
    spectra = [f"MotionCorr/job002/Movies/{n}_PS.mrc" for n in "ab"]
    images = [f"MotionCorr/job002/Movies/{n}.mrc" for n in "ab"]
    run = "relion_run_ctffind --i mics.star --o CtfFind/job003/ --ctffind_exe /opt/ctffind"
    assert closure(micrographs, f"{run} --use_given_ps") == [*spectra, "mics.star"]
    assert closure(micrographs, run) == [*images, "mics.star"]


def test_extract_of_3_1_reads_coordinates_that_no_star_names(micrographs: Path) -> None:
    files(micrographs, "AutoPick/job004/Movies/a_autopick.star")
    run = "relion_preprocess --i mics.star --coord_dir AutoPick/job004/ --coord_suffix _autopick.star --extract"
    assert closure(micrographs, run) == [
        "AutoPick/job004/Movies/a_autopick.star",
        "MotionCorr/job002/Movies/a.mrc",  # b has no coordinates, so it is never opened
        "mics.star",
    ]


def test_extract_of_4_0_reads_the_coordinate_list(micrographs: Path) -> None:
    files(micrographs, "AutoPick/job004/Movies/b_picks.star")
    row = "MotionCorr/job002/Movies/b.mrc AutoPick/job004/Movies/b_picks.star"
    table(micrographs, "AutoPick/job004/autopick.star", "coordinate_files", "MicrographName MicrographCoordinates", row)
    run = "relion_preprocess --i mics.star --coord_list AutoPick/job004/autopick.star --part_dir Extract/job005/"
    assert closure(micrographs, run) == [
        "AutoPick/job004/Movies/b_picks.star",
        "AutoPick/job004/autopick.star",
        "MotionCorr/job002/Movies/b.mrc",
        "mics.star",
    ]


def test_extract_without_any_coordinates_is_refused(micrographs: Path) -> None:
    with pytest.raises(BadInput, match="none of the micrographs has a coordinate file"):
        closure(micrographs, "relion_preprocess --i mics.star --coord_dir AutoPick/job004/ --coord_suffix _x.star")


def test_postprocess_half1_implies_half2(empty_project: Path) -> None:
    files(empty_project, "R/run_half1_class001_unfil.mrc", "R/mask.mrc")
    run = "relion_postprocess --i R/run_half1_class001_unfil.mrc --mask R/mask.mrc --o Class3D/job009/postprocess"
    with pytest.raises(BadInput, match=r"R/run_half2_class001_unfil.mrc is missing"):
        closure(empty_project, run)
    files(empty_project, "R/run_half2_class001_unfil.mrc")
    assert len(closure(empty_project, run)) == 3


def test_any_option_that_names_a_file_is_sent(empty_project: Path) -> None:
    files(empty_project, "a.mrcs", "extra.txt", "Class3D/job009/run_old.txt")
    table(empty_project, "p.star", "particles", "ImageName Other", "1@a.mrcs 1")
    run = "relion_refine --i p.star --o Class3D/job009/run --new_option extra.txt --old Class3D/job009/run_old.txt"
    assert closure(empty_project, run) == ["a.mrcs", "extra.txt", "p.star"]


def test_micrographs_given_as_a_wildcard(micrographs: Path) -> None:
    assert len(closure(micrographs, "relion_autopick --i MotionCorr/job002/Movies/?.mrc --LoG")) == 2


def test_tomography_optimisation_set_of_5_0(empty_project: Path) -> None:
    root = empty_project
    files(root, "Tilts/1.mrc", "Tilts/2.mrc", "Sub/a.mrcs", "traj.star")
    (root / "traj.star").write_text("data_\n_rlnX 1\n")
    (root / "set.star").write_text(
        "data_\n_rlnTomoParticlesFile p.star\n_rlnTomoTomogramsFile t.star\n_rlnTomoTrajectoriesFile traj.star\n"
    )
    table(root, "p.star", "particles", "ImageName TomoName", "Sub/a.mrcs one")
    table(root, "t.star", "global", "TomoName TomoTiltSeriesStarFile", "one series.star")
    table(root, "series.star", "one", "MicrographName TomoNominalStageTiltAngle", "Tilts/1.mrc 0", "Tilts/2.mrc 3")
    expected = ["Sub/a.mrcs", "Tilts/1.mrc", "Tilts/2.mrc", "p.star", "series.star", "set.star", "t.star", "traj.star"]
    assert closure(root, "relion_refine --ios set.star --o Class3D/job009/run") == expected
    assert closure(root, "relion_tomo_reconstruct_particle --i set.star --o Class3D/job009/") == expected


def test_an_analysis_of_bodies_reads_their_masks(empty_project: Path) -> None:
    files(empty_project, "M/map.mrc", "a.mrc", "b.mrc")
    table(empty_project, "M/run_model.star", "model_bodies", "ReferenceImage Other", "M/map.mrc 1")
    table(empty_project, "M/run_data.star", "particles", "ImageName Other", "1@gone.mrcs 1")
    table(empty_project, "bodies.star", "", "BodyMaskName BodySigmaAngles", "a.mrc 10", "b.mrc 10")
    run = (
        "relion_flex_analyse --data M/run_data.star --model M/run_model.star --bodies bodies.star --o Class3D/job009/a"
    )
    lists = ["M/map.mrc", "M/run_data.star", "M/run_model.star"]
    assert closure(empty_project, run) == [*lists, "a.mrc", "b.mrc", "bodies.star"]


def test_outputs_of_the_first_command_are_no_inputs_of_the_second(empty_project: Path) -> None:
    files(empty_project, "a.mrcs")
    table(empty_project, "p.star", "particles", "ImageName Other", "1@a.mrcs 1")
    commands = ("relion_refine --i p.star", "relion_flex_analyse --data Class3D/job009/run_data.star")
    assert closure(empty_project, *commands) == ["a.mrcs", "p.star"]


def test_a_program_of_the_project_needs_its_interpreter(empty_project: Path) -> None:
    root = empty_project
    files(root, "scripts/y.sh", "tool.bin")
    (root / "long.sh").write_text("#!/usr/bin/env -S python3 -u\n")
    cases = {
        "./long.sh --i 1": "give the interpreter: python3 ./long.sh",
        "scripts/y.sh": "give the interpreter: bash scripts/y.sh",
        "./tool.bin": "use one that the machine has",
        "./gone.sh": "gone.sh is missing",
        "../long.sh": r"goes up with '..'",
    }
    for command, sentence in cases.items():
        with pytest.raises(BadInput, match=sentence):
            closure(root, command)
    assert closure(root, "python3 ./long.sh --i 1") == ["long.sh"]
    assert closure(root, "/opt/denoiser/bin/denoise --i long.sh") == ["long.sh"]


def test_a_program_of_the_user_gets_what_the_fields_mean_and_what_it_asks_for(empty_project: Path) -> None:
    root = empty_project
    files(
        root, "a.mrcs", "mic.mrc", "movie.tif", "scripts/tools.py", "models/one.pt", "Pick/job004/M/mic_autopick.star"
    )
    table(root, "p.star", "particles", "ImageName MicrographName", "1@a.mrcs mic.mrc")
    table(root, "m.star", "micrographs", "MicrographName CtfImage", "mic.mrc gone.ctf:mrc")
    table(root, "v.star", "movies", "MicrographMovieName", "movie.tif")
    (root / "Pick/job004/coords_suffix_autopick.star").write_text("CtfFind/job003/micrographs_ctf.star\n")
    script = root / "scripts/own.py"
    script.write_text("import tools\n")
    start = "python3 scripts/own.py --o External/job005/"
    assert closure(root, f"{start} --in_parts p.star --j 1") == ["a.mrcs", "p.star", "scripts/own.py"]
    assert closure(root, f"{start} --in_mics m.star --j 1") == ["m.star", "mic.mrc", "scripts/own.py"]
    assert closure(root, f"{start} --in_movies v.star --j 1") == ["movie.tif", "scripts/own.py", "v.star"]
    picks = ["Pick/job004/M/mic_autopick.star", "Pick/job004/coords_suffix_autopick.star"]
    assert closure(root, f"{start} --in_coords {picks[1]} --j 1") == [*picks, "scripts/own.py"]
    script.write_text(
        "import tools\n# cryoburst reads: rlnMicrographName scripts/tools.py\n  # cryoburst reads: models/*\n"
    )
    more = ["a.mrcs", "mic.mrc", "models/one.pt", "p.star", "scripts/own.py", "scripts/tools.py"]
    assert closure(root, f"{start} --in_parts p.star --j 1") == more
    for word, sentence in (
        ("models/*.h5", "no file matches models/"),
        ("../x", "goes up with"),
        ("/etc/passwd", "absolute"),
    ):
        script.write_text(f"# cryoburst reads: {word}\n")
        with pytest.raises(BadInput, match=sentence):
            closure(root, f"{start} --in_parts p.star")


@pytest.mark.parametrize("program", ["my_tool", "relion_image_handler"])
def test_files_elsewhere_on_this_computer_are_refused_by_name(empty_project: Path, program: str) -> None:
    root = empty_project
    files(root, "Movies/gain.mrc", "../env.sh", "../exe")
    (root / "../exe").chmod(0o755)
    outside = root.parent / "env.sh"
    cases = {
        "--data ../env.sh": r"^\.\./env.sh goes up with '\.\.'.* --data\): name a link to it inside the project$",
        "../env.sh": r"^\.\./env.sh goes up",
        "--data=../env.sh": r"^\.\./env.sh goes up",
        f"--data {outside}": f"^{outside} is an absolute path",
        f"--data {root.parent / 'exe'}": "is an absolute path",
        "--gain Movies/../Movies/gain.mrc": r"^Movies/\.\./Movies/gain.mrc goes up.*: name it relative to the project,",
    }
    for words, sentence in cases.items():
        with pytest.raises(BadInput, match=sentence):
            closure(root, f"{program} {words}")
    fine = f"--ctffind_exe {root.parent / 'exe'} --fn_exe ../exe --shell /bin/sh --scratch_dir {root.parent}"
    assert closure(root, f"{program} {fine} --log /dev/null --to /nowhere/x --g Movies/gain.mrc") == ["Movies/gain.mrc"]
