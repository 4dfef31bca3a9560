"""The demo's pipelines: which steps, in which order, on how much data."""

from dataclasses import dataclass

from cryoburst.simulate.dataset import Settings

from . import steps
from .steps import Scale, Step

EXTRACTED = "Particles/particles.star"  # what somebody else's program has extracted
SCRIPT = "scripts/bodies.py"  # the project's own program, for the External job
PARTICLES = "Particles STAR file (.star)"  # the type of node, in the words of RELION's menu
HALVES = {"do_split": "Yes", "nr_split": "2", "split_size": "-1"}

# 960 particles, most of them in seven views, as at an air-water interface: each view makes a sharp class average.
DEMO = Scale(
    Settings(micrographs=16, particles=60, preferred=0.7),
    box=120,
    small=64,  # 5.6 Å per pixel
    classes=16,
    rounds_2d=20,
    initial=(20, 20, 10),
    subsets=(60, 200),
    rounds_3d=10,
    start=40,
    sampling="7.5 degrees",
    local="3.7 degrees",
)
WHOLE = Scale(
    Settings(micrographs=8, particles=60, preferred=0.5),
    box=120,
    small=56,  # 6.4 Å per pixel
    classes=8,
    rounds_2d=12,
    initial=(20, 15, 10),
    subsets=(60, 150),
    rounds_3d=6,
    start=40,
    sampling="15 degrees",
    local="7.5 degrees",
    first_sampling="30 degrees",
    first_finest=35,
)


@dataclass(frozen=True)
class Pipeline:
    """Steps in their order, and what they are made for. extracted: it begins with particles, not with movies.

    about: what it is, for people.
    """

    scale: Scale
    steps: tuple[Step, ...]
    about: str
    extracted: bool = False


def to_classes(scale: Scale) -> tuple[Step, ...]:
    """From movies to class averages."""
    return steps.movies(scale) + steps.classes(scale, "{extract}particles.star")


def to_map(scale: Scale) -> tuple[Step, ...]:
    """From movies to a map."""
    particles = "{extract}particles.star"
    return (
        *to_classes(scale),
        steps.initial(scale, particles),
        steps.refine(scale, particles, steps.first_map(scale)),
        steps.mask(),
        steps.post(scale),
    )


def advanced(scale: Scale) -> tuple[Step, ...]:
    """Every type of job that RELION 3.1 runs without its window, from movies to a polished map and to moving bodies."""
    data_2d = f"{{classes}}run_it{scale.rounds_2d:03d}"
    data_3d = f"{{classes_3d}}run_it{scale.rounds_3d:03d}_data.star"
    known = {"fn_data": "{refine}run_data.star", "fn_post": "{post}postprocess.star", "minres": f"{scale.start}"}
    again = {
        "star_mics": "{ctf}micrographs_ctf.star",
        "do_reextract": "Yes",
        "fndata_reextract": data_3d,
        "do_recenter": "Yes",
        "extract_size": f"{scale.box}",
        "do_rescale": "Yes",
        "rescale": f"{scale.small}",
    }
    by_averages = {
        "fn_input_autopick": "{ctf}micrographs_ctf.star",
        "fn_refs_autopick": f"{data_2d}_classes.mrcs",
        "angpix_ref": f"{scale.pixel}",
        "lowpass": f"{scale.finest:.0f}",
        "psi_sampling_autopick": "30",
        "mindist_autopick": "200",
        "threshold_autopick": "0.1",
    }
    return (
        *to_classes(scale),
        Step("pick_by_averages", "AutoPick", by_averages),
        steps.select(scale),
        Step("halves", "Select", {"fn_data": "{select}particles.star"} | HALVES),
        Step(
            "join",
            "JoinStar",
            {
                "do_part": "Yes",
                "fn_part1": "{halves}particles_split1.star",
                "fn_part2": "{halves}particles_split2.star",
            },
        ),
        steps.initial(scale, "{join}join_particles.star"),
        steps.classes_3d(scale, "{join}join_particles.star"),
        Step("extract_again", "Extract", again),
        steps.refine(scale, "{extract_again}particles.star", f"{data_3d[:-10]}_class001.mrc"),
        steps.mask(),
        steps.post(scale),
        steps.local_resolution(scale),
        Step("ctf_refine", "CtfRefine", known | {"do_ctf": "Yes", "do_defocus": "Per-particle"}),
        Step(
            "polish",
            "Polish",
            known
            | {
                "fn_data": "{ctf_refine}particles_ctf_refine.star",
                "fn_mic": "{motion}corrected_micrographs.star",
                "do_own_params": "Yes",
                "nr_threads": "2",
            },
        ),
        steps.refine(scale, "{polish}shiny.star", "{refine}run_class001.mrc", "refine_polished", "{mask}mask.mrc"),
        steps.post(scale, "refine_polished", "post_polished"),
        Step(
            "bodies",
            "External",
            {
                "fn_exe": f"python3 {SCRIPT}",
                "in_mask": "{mask}mask.mrc",
                "param1_label": "edge",
                "param1_value": "4",
            },
        ),
        # Not of the refinement: that takes several processes, and those of 3.1.3 may write before the first one has
        # made the folder.
        Step(
            "subtract",
            "Subtract",
            {"fn_opt": f"{data_3d[:-10]}_optimiser.star", "fn_mask": "{bodies}body1.mrc"},
        ),
        Step(
            "multibody",
            "MultiBody",
            {
                "fn_in": "{optimiser}",
                "fn_bodies": "{bodies}bodies.star",
                "do_analyse": "Yes",
                "do_select": "No",
                "sampling": scale.local,
                "offset_range": "2",
                "do_preread_images": "Yes",
                "nr_mpi": "3",
            },
            limit=7200,
        ),
    )


def common(scale: Scale) -> tuple[Step, ...]:
    """From particles that were extracted elsewhere to a map."""
    particles = {"do_raw": "No", "do_other": "Yes", "fn_in_other": EXTRACTED, "node_type": PARTICLES}
    return (
        Step("import", "Import", particles, limit=300),
        *steps.classes(scale, "{import}particles.star"),
        steps.select(scale),
        steps.initial(scale, "{select}particles.star"),
        steps.classes_3d(scale, "{select}particles.star"),
        steps.refine(scale, "{select}particles.star", f"{{classes_3d}}run_it{scale.rounds_3d:03d}_class001.mrc"),
        steps.mask(),
        steps.post(scale),
        steps.local_resolution(scale),
    )


PIPELINES = {
    "classes": Pipeline(DEMO, to_classes(DEMO), "from movies to 2D classes"),
    "map": Pipeline(DEMO, to_map(DEMO), "from movies to a map"),
    "advanced": Pipeline(WHOLE, advanced(WHOLE), "every type of job, from movies to a polished map"),
    "common": Pipeline(WHOLE, common(WHOLE), "from extracted particles to a map", extracted=True),
}
