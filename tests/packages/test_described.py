"""What decides a refinement's memory and disk, as it is read from a job: which resolution it can reach, how fine it
samples, what a continued one has from before."""

from pathlib import Path

import pytest
from tests.packages.real import bodies, data

from cryoburst.model.job import Job, Resources
from cryoburst.packages.relion import closure
from cryoburst.packages.relion.preflight import described, disk, memory
from cryoburst.packages.relion.preflight.facts import Facts, facts_of

BOX = 64
SGD = "--sgd --denovo_3dref --particle_diameter 100"


def facts(folder: Path, *lines: str, processes: int = 1) -> list[Facts]:
    """Of programs on a map and one particle of 64 pixels of 3 Å."""
    if not (folder / "map.mrc").exists():
        data(folder, BOX, 0)
    words = tuple(tuple(line.split()) for line in lines)
    job = Job("relion", "k", folder, "Class3D/job001/", "", words, Resources(processes), version="3.1")
    return facts_of(job, closure.close(job))


def refinement(folder: Path, line: str, *, sure: bool = True) -> memory.Refinement:
    fresh = "" if "--continue" in line else "--i particles.star"
    found = described.refinement(facts(folder, f"relion_refine {fresh} {line}")[0], sure=sure)
    assert found
    return found


def continued(folder: Path, **pairs: str) -> None:
    """optimiser.star of iteration 7 with these pairs, its model of 40 pixels without padding, and its sampling."""
    data(folder, BOX, 0)
    written = {
        "optimiser": {
            "ExperimentalDataStarFile": "particles.star",
            "ModelStarFile": "model.star",
            "OrientSamplingStarFile": "sampling.star",
            "CurrentIteration": "7",
            **pairs,
        },
        "model": {
            "ReferenceDimensionality": "3",
            "OriginalImageSize": str(BOX),
            "CurrentImageSize": "40",
            "PaddingFactor": "1.000",
            "NrClasses": "1",
        },
        "sampling": {"HealpixOrder": "3", "SymmetryGroup": "D2"},
    }
    for name, values in written.items():
        text = f"data_{name}_general\n\n" + "".join(f"_rln{label} {value}\n" for label, value in values.items())
        (folder / f"{name}.star").write_text(f"{text}\n")
    with (folder / "model.star").open("a") as file:
        file.write("data_model_classes\n\nloop_\n_rlnReferenceImage #1\nmap.mrc\n\n")


@pytest.mark.parametrize(
    ("line", "least", "most"),
    [
        ("--ref map.mrc --ini_high 30 --iter 1", 32, 32),  # 6 shells and 10 more
        ("--ref map.mrc --ini_high 30 --iter 2", 32, 52),
        ("--ref map.mrc --ini_high 30 --iter 25", 32, BOX),
        ("--ref map.mrc --ini_high 30 --iter 2 --strict_highres_exp 40", 32, 52),  # maps grow beyond it
        ("--ref map.mrc --iter 1", 28, BOX),  # nothing is known of what the reference holds
        ("--K 4 --iter 2", 28, 48),  # class averages of its own: 0.07 of the box
        ("--ref map.mrc --ini_high 30 --auto_refine --split_random_halves", BOX, BOX),
        (f"{SGD} --sgd_ini_resol 60 --sgd_fin_resol 30", 32, 32),
    ],
)
def test_the_size_that_a_refinement_can_reach(tmp_path: Path, line: str, least: int, most: int) -> None:
    assert refinement(tmp_path, line, sure=False).size == least
    assert refinement(tmp_path, line).size == most


@pytest.mark.parametrize(
    ("line", "begin", "end"),
    [
        (f"{SGD} --healpix_order 1 --sgd_fin_resol 60", 1, 1),
        (f"{SGD} --healpix_order 1 --sgd_fin_resol 15", 1, 1),  # 21 steps, and there are 24
        (f"{SGD} --healpix_order 1 --sgd_fin_resol 10", 1, 2),
        (f"{SGD} --healpix_order 3 --sgd_fin_resol 10", 3, 3),
    ],
)
def test_an_initial_model_becomes_finer(tmp_path: Path, line: str, begin: int, end: int) -> None:
    orientations = [12 * 4**order * 6 * 2**order for order in (begin, end)]
    assert refinement(tmp_path, line, sure=False).rotations == orientations[0]
    assert refinement(tmp_path, line).rotations == orientations[1]


def test_a_continued_refinement_is_what_it_was(tmp_path: Path) -> None:
    continued(tmp_path, DoAutoRefine="1", DoSplitRandomHalves="1", DoSolventFscCorrection="1")
    job = refinement(tmp_path, "--continue optimiser.star")
    assert (job.box, job.size, job.padding) == (BOX, BOX, 1)
    assert job.halves
    assert job.solvent_fsc
    assert job.symmetry
    assert not job.masks


def test_a_continued_classification_does_the_rest(tmp_path: Path) -> None:
    continued(tmp_path, NumberOfIterations="25", DoAutoRefine="0")
    (found,) = facts(tmp_path, "relion_refine --continue optimiser.star --iter 8")
    assert described.iterations(found) == 1
    assert refinement(tmp_path, "--continue optimiser.star --iter 8").size == 60
    (found,) = facts(tmp_path, "relion_refine --continue optimiser.star")
    assert described.iterations(found) == 18


def test_a_multibody_has_masks_and_goes_on_from_a_refinement(tmp_path: Path) -> None:
    continued(tmp_path, DoAutoRefine="1", DoSplitRandomHalves="1")
    bodies(tmp_path, BOX, 3)
    line = "relion_refine --continue optimiser.star --solvent_correct_fsc --multibody_masks bodies.star"
    analysis = "relion_flex_analyse --PCA_orient --do_maps --k 2 --bodies bodies.star"
    lists = " --data Class3D/job001/run_data.star --model Class3D/job001/run_model.star"
    first, second = facts(tmp_path, line, analysis + lists, processes=3)
    job = described.refinement(first)
    assert job
    assert (job.classes, job.masks, job.size) == (3, 9, BOX)
    assert not job.symmetry  # bodies have none
    least = described.refinement(first, sure=False)
    assert least
    assert least.masks == 3
    assert refinement(tmp_path, line.partition(" ")[2] + " --multibody_norm_overlap").masks == 3
    flexible = described.flexibility(second)  # of lists that are not there yet
    assert flexible
    assert (flexible.box, flexible.bodies, flexible.particles) == (BOX, 3, 1)
    assert disk.outputs(second) > 20 * 4 * BOX**3


def test_an_automatic_refinement_is_counted_with_thirty_iterations(tmp_path: Path) -> None:
    line = "relion_refine --i particles.star --ref map.mrc --auto_refine --split_random_halves --healpix_order 2"
    (found,) = facts(tmp_path, line, processes=3)
    assert disk.outputs(found) == round(disk.refined(found, 30))
    one = disk.refined(found, 3) - disk.refined(found, 2)
    assert one > 2 * 4 * BOX**3


def test_directions_double_until_they_are_fine_enough(tmp_path: Path) -> None:
    line = "relion_refine --i particles.star --ref map.mrc --auto_refine --healpix_order 2 --particle_diameter"
    (narrow,) = facts(tmp_path, f"{line} 60")
    orders = [12 * 4**order for order in (2, 2, 3, 3, 4, 4, 5, 5, 5, 5)]
    assert [described.directions(narrow, BOX, iteration) for iteration in range(10)] == orders
    (symmetric,) = facts(tmp_path, f"{line} 60 --sym D2")
    assert described.directions(symmetric, BOX, 0) == 48


@pytest.mark.parametrize("value", ["inf", "nan", "-1e400", "much"])
def test_a_number_that_is_none_counts_as_absent(tmp_path: Path, value: str) -> None:
    assert refinement(tmp_path, f"{SGD} --sgd_fin_resol {value}") == refinement(tmp_path, SGD)
