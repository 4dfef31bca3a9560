"""The demo's jobs and their options: one table, in RELION 3.1's own names of job options.

In a value, {name} is the folder of an earlier step, with its slash, and {threshold} the mask's density threshold.
An option that is not named keeps RELION's default.
"""

from dataclasses import dataclass, field

from cryoburst.simulate.dataset import Settings

# 960 particles, most of them in seven views, as at an air-water interface: each view makes a sharp class average.
DATA = Settings(micrographs=16, particles=60, preferred=0.7)
DIAMETER = 320  # Å, the specimen's largest extent
BOX, SMALL = 120, 64  # pixels: the box in the micrograph (360 Å) and what it is scaled down to (5.6 Å per pixel)
LAST_2D = 20  # iterations of Class2D
LAST_3D = 50  # of InitialModel, all three phases
VOLUME = 3.2e6  # Å³ that the mask starts from: 2.3 MDa of ribosome, a bit more than its dry volume


@dataclass(frozen=True)
class Step:
    """One job. kind: RELION's name of the job type; number: its number, where relion_pipeliner does not know the name.

    limit: seconds after which the demo gives up; generous, for a computer may be busy with other things.
    """

    name: str
    kind: str
    options: dict[str, str] = field(default_factory=dict)
    limit: int = 1800
    number: int | None = None
    full: bool = False


STEPS = (
    Step("import", "Import", {"fn_in_raw": "Movies/*.mrcs", "angpix": f"{DATA.pixel_size}"}, limit=300),
    Step(
        "motion",
        "MotionCorr",
        {
            "input_star_mics": "{import}movies.star",
            "fn_gain_ref": "Movies/gain.mrc",
            "dose_per_frame": f"{DATA.dose / DATA.frames}",
            "patch_x": "3",
            "patch_y": "3",
            "do_dose_weighting": "Yes",
            "do_save_ps": "Yes",
            "group_for_ps": "8",
            "nr_threads": "2",
        },
    ),
    Step(
        "ctf",
        "CtfFind",
        {
            "input_star_mics": "{motion}corrected_micrographs.star",
            "use_ctffind4": "Yes",
            "use_given_ps": "Yes",
            "resmax": "6.5",
            "dfmax": "40000",
            "dast": "500",
        },
    ),
    Step(
        "pick",
        "AutoPick",
        {
            "fn_input_autopick": "{ctf}micrographs_ctf.star",
            "do_log": "Yes",
            "log_diam_min": "200",
            "log_diam_max": "280",
        },
    ),
    Step(
        "extract",
        "Extract",
        {
            "star_mics": "{ctf}micrographs_ctf.star",
            "coords_suffix": "{pick}coords_suffix_autopick.star",
            "extract_size": f"{BOX}",
            "do_rescale": "Yes",
            "rescale": f"{SMALL}",
        },
    ),
    Step(
        "classes",
        "Class2D",
        {
            "fn_img": "{extract}particles.star",
            "nr_classes": "16",
            "nr_iter": f"{LAST_2D}",
            "particle_diameter": f"{DIAMETER}",
            "psi_sampling": "6",
            "offset_range": "3",
            "offset_step": "1",
            "do_preread_images": "Yes",
            "nr_threads": "2",
        },
    ),
    Step(
        "initial",
        "InitialModel",
        {
            "fn_img": "{extract}particles.star",
            "particle_diameter": f"{DIAMETER}",
            "sgd_ini_iter": "20",
            "sgd_inbetween_iter": "20",
            "sgd_fin_iter": "10",
            "sgd_ini_resol": "45",
            "sgd_fin_resol": "25",
            "sgd_ini_subset_size": "60",
            "sgd_fin_subset_size": "200",
            "offset_range": "3",
            "offset_step": "2",
            "do_preread_images": "Yes",
            "nr_threads": "2",
        },
        full=True,
    ),
    Step(
        "refine",
        "Refine3D",
        {
            "fn_img": "{extract}particles.star",
            "fn_ref": f"{{initial}}run_it{LAST_3D:03d}_class001.mrc",
            "ref_correct_greyscale": "Yes",
            "ctf_corrected_ref": "Yes",
            "ini_high": "40",
            "particle_diameter": f"{DIAMETER}",
            "sampling": "7.5 degrees",
            "auto_local_sampling": "3.7 degrees",
            "offset_range": "3",
            "offset_step": "2",
            "do_preread_images": "Yes",
            "nr_mpi": "3",
            "nr_threads": "1",
        },
        limit=7200,
        full=True,
    ),
    Step(
        "mask",
        "MaskCreate",
        {
            "fn_in": "{refine}run_class001.mrc",
            "inimask_threshold": "{threshold}",
            "extend_inimask": "2",
            "width_mask_edge": "5",
            "lowpass_filter": "20",
        },
        number=12,
        full=True,
    ),
    Step(
        "post",
        "PostProcess",
        {
            "fn_in": "{refine}run_half1_class001_unfil.mrc",
            "fn_mask": "{mask}mask.mrc",
            "angpix": f"{DATA.pixel_size * BOX / SMALL}",
            "do_auto_bfac": "No",
            "do_adhoc_bfac": "Yes",
            "adhoc_bfac": "-300",
        },
        full=True,
    ),
)
