"""The one table of RELION's job types and programs: their names in 3.1, 4.0 and 5.0, and how inputs are found.

Source: ``src/pipeline_jobs.h`` of 3dem/relion at 3.1.3, 4.0.1 and 5.0.1. 3.1 writes a number into job.star, 4.0 and 5.0
write a label that may carry a suffix (``relion.import.movies``).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class JobType:
    """One job type: RELION's number, label and folder, and the least version that has it."""

    number: int
    label: str
    folder: str
    since: str = "3.1"


TYPES = (
    JobType(0, "relion.import", "Import"),
    JobType(1, "relion.motioncorr", "MotionCorr"),
    JobType(2, "relion.ctffind", "CtfFind"),
    JobType(3, "relion.manualpick", "ManualPick"),
    JobType(4, "relion.autopick", "AutoPick"),
    JobType(5, "relion.extract", "Extract"),
    JobType(7, "relion.select", "Select"),
    JobType(8, "relion.class2d", "Class2D"),
    JobType(9, "relion.class3d", "Class3D"),
    JobType(10, "relion.refine3d", "Refine3D"),
    JobType(12, "relion.maskcreate", "MaskCreate"),
    JobType(13, "relion.joinstar", "JoinStar"),
    JobType(14, "relion.subtract", "Subtract"),
    JobType(15, "relion.postprocess", "PostProcess"),
    JobType(16, "relion.localres", "LocalRes"),
    JobType(18, "relion.initialmodel", "InitialModel"),
    JobType(19, "relion.multibody", "MultiBody"),
    JobType(20, "relion.polish", "Polish"),
    JobType(21, "relion.ctfrefine", "CtfRefine"),
    JobType(22, "dynamight", "DynaMight", "5.0"),
    JobType(23, "modelangelo", "ModelAngelo", "5.0"),
    JobType(50, "relion.importtomo", "Import", "4.0"),
    JobType(51, "relion.pseudosubtomo", "Extract", "4.0"),
    JobType(52, "relion.ctfrefinetomo", "CtfRefine", "4.0"),
    JobType(53, "relion.framealigntomo", "Polish", "4.0"),
    JobType(54, "relion.reconstructparticletomo", "Reconstruct", "4.0"),
    JobType(55, "relion.aligntiltseries", "AlignTiltSeries", "5.0"),
    JobType(56, "relion.reconstructtomograms", "Tomograms", "5.0"),
    JobType(57, "relion.excludetilts", "ExcludeTiltImages", "5.0"),
    JobType(58, "relion.denoisetomo", "Denoise", "5.0"),
    JobType(59, "relion.picktomo", "Picks", "5.0"),
    JobType(99, "relion.external", "External"),
)

EXTERNAL = "relion.external"


@dataclass(frozen=True)
class Program:
    """One program: the rule by which its inputs are found (a name in ``rules``), and whether it opens a window.

    ``verified`` says how we know: ``strace`` (the real 3.1.3 was watched) or ``source`` (read, not run).
    """

    rule: str
    verified: str = "source"
    window: bool = False


PROGRAMS = {
    "relion_import": Program("import", "strace"),
    "relion_run_motioncorr": Program("motioncorr", "strace"),
    "relion_run_ctffind": Program("ctffind", "strace"),
    "relion_autopick": Program("autopick", "strace"),
    "relion_preprocess": Program("extract", "strace"),
    "relion_refine": Program("refine", "strace"),
    "relion_mask_create": Program("options", "strace"),
    "relion_postprocess": Program("postprocess", "strace"),
    "relion_ctf_refine": Program("ctf_refine", "strace"),
    "relion_motion_refine": Program("motion_refine", "strace"),
    "relion_star_handler": Program("star_handler", "strace"),
    "relion_particle_subtract": Program("subtract", "strace"),
    "relion_flex_analyse": Program("flex_analyse", "strace"),
    "relion_class_ranker": Program("class_ranker"),
    "relion_reconstruct": Program("images"),
    "relion_stack_create": Program("images"),
    "relion_particle_reposition": Program("images"),
    "relion_localsym": Program("generic"),
    "relion_image_handler": Program("images"),
    "relion_convert_to_tiff": Program("motioncorr"),
    "relion_estimate_gain": Program("motioncorr"),
    "relion_convert_star": Program("options"),
    "relion_particle_symmetry_expand": Program("options"),
    "relion_particle_select": Program("options"),
    "relion_merge_particles": Program("options"),
    "relion_align_symmetry": Program("options"),
    "relion_helix_toolbox": Program("generic"),
    "relion_helix_inimodel2d": Program("images"),
    "relion_project": Program("options"),
    "relion_external_reconstruct": Program("generic"),
    "relion_ctf_toolbox": Program("generic"),
    "relion_prepare_subtomo": Program("generic"),
    "relion_manualpick": Program("generic", window=True),
    "relion_display": Program("generic", window=True),
    # tomography, 4.0 and 5.0
    "relion_tomo_subtomo": Program("tomo"),
    "relion_tomo_refine_ctf": Program("tomo"),
    "relion_tomo_align": Program("tomo"),
    "relion_tomo_reconstruct_particle": Program("tomo"),
    "relion_tomo_reconstruct_tomogram": Program("tilt_series"),
    "relion_tomo_make_reference": Program("tomo"),
    "relion_tomo_import_tomograms": Program("generic"),
    "relion_tomo_import_particles": Program("generic"),
    "relion_align_tiltseries": Program("tilt_series"),
    "relion_exclude_tilts": Program("tilt_series"),
    "relion_python_tomo_import": Program("tomo_import"),
    "relion_python_tomo_align_tilt_series": Program("tilt_series"),
    "relion_python_tomo_exclude_tilt_images": Program("tilt_series", window=True),
    "relion_python_tomo_denoise": Program("tilt_series"),
    "relion_python_tomo_pick": Program("tilt_series", window=True),
    "relion_python_tomo_view": Program("tilt_series", window=True),
    "relion_python_tomo_get_particle_poses": Program("generic"),
    # other Python programs of 4.0 and 5.0
    "relion_python_topaz": Program("generic"),
    "relion_python_dynamight": Program("images"),
    "relion_python_modelangelo": Program("options"),
    "relion_python_blush": Program("generic"),
    "relion_python_classranker": Program("generic"),
}


def program(name: str) -> Program | None:
    """The row of a program, with or without ``_mpi``; None when RELION has no such program."""
    return PROGRAMS.get(name.removesuffix("_mpi"))


def opens_plainly(name: str) -> bool:
    """Whether a program was watched, and waits for a file that its machine lets it wait for (never O_NONBLOCK)."""
    known = program(name)
    return known is not None and known.verified == "strace"


def label_of(number: int) -> str | None:
    """The label of a 3.1 job type number; None when there is no such type."""
    return next((t.label for t in TYPES if t.number == number), None)


def known_label(label: str) -> str | None:
    """The table's label for one that may carry a suffix (``relion.import.movies``); None when there is none."""
    return next((t.label for t in TYPES if label == t.label or label.startswith(t.label + ".")), None)
