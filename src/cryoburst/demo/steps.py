"""The demo's jobs and their options, in RELION 3.1's own names of job options: groups of steps, for any scale of data.

In a value, {name} is the folder of an earlier step, with its slash, or a fact that is known only then (``FACTS``). An
option that is not named keeps RELION's default.
"""

from dataclasses import dataclass, field

from cryoburst.simulate.dataset import Settings

DIAMETER = 320  # Å, the specimen's largest extent
VOLUME = 3.2e6  # Å³ that the mask starts from: 2.3 MDa of ribosome, a bit more than its dry volume
# {threshold}: of the mask's density; {first_class}, {last_class}: what Select keeps; {optimiser}: Refine3D's last one.
FACTS: tuple[str, ...] = ("threshold", "first_class", "last_class", "optimiser")
SEEDED = {"other_args": "--random_seed 1"}  # or RELION takes the time of day: two runs would be two results


@dataclass(frozen=True)
class Step:
    """One job. kind: RELION's name of the job type.

    limit: seconds after which the demo gives up; generous, for a computer may be busy with other things.
    """

    name: str
    kind: str
    options: dict[str, str] = field(default_factory=dict[str, str])
    limit: int = 1800


@dataclass(frozen=True)
class Scale:
    """How much is computed: the data, and what the jobs are told of them.

    box: pixels cut out of the micrographs, and small what they are scaled down to. start: Å to which the first
    reference is filtered, and from which the CTF is refined. initial: iterations of InitialModel's three phases,
    subsets: particles of its first and last ones, first_finest: Å that it ends with, which decide how finely and long
    it looks. threads: of refinements; with two, the last digits differ from run to run.
    """

    data: Settings
    box: int
    small: int
    classes: int
    rounds_2d: int
    initial: tuple[int, int, int]
    subsets: tuple[int, int]
    rounds_3d: int
    start: int
    sampling: str
    local: str
    first_sampling: str = "15 degrees"
    first_finest: int = 25
    ctf_box: int = 512
    threads: int = 2

    @property
    def pixel(self) -> float:
        """Å per pixel of the particles."""
        return self.data.pixel_size * self.box / self.small

    @property
    def finest(self) -> float:
        """Å that the particles' pixels can hold, with a margin: a filter must not be beyond it."""
        return max(20.0, 2.2 * self.pixel)


def movies(scale: Scale) -> tuple[Step, ...]:
    """From movies to picked particles."""
    data = scale.data
    return (
        Step("import", "Import", {"fn_in_raw": "Movies/*.mrcs", "angpix": f"{data.pixel_size}"}, limit=300),
        Step(
            "motion",
            "MotionCorr",
            {
                "input_star_mics": "{import}movies.star",
                "fn_gain_ref": "Movies/gain.mrc",
                "dose_per_frame": f"{data.dose / data.frames}",
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
                "box": f"{scale.ctf_box}",
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
                "extract_size": f"{scale.box}",
                "do_rescale": "Yes",
                "rescale": f"{scale.small}",
            },
        ),
    )


def classes(scale: Scale, particles: str) -> tuple[Step, ...]:
    """Class averages of a particle list."""
    options = {
        "fn_img": particles,
        "nr_classes": f"{scale.classes}",
        "nr_iter": f"{scale.rounds_2d}",
        "particle_diameter": f"{DIAMETER}",
        "psi_sampling": "6",
        "offset_range": "3",
        "offset_step": "1",
    }
    return (Step("classes", "Class2D", options | _quick(scale) | SEEDED),)


def select(scale: Scale) -> Step:
    """The particles of the classes that hold most of them: what 3.1 can do without its window."""
    options = {
        "fn_data": f"{{classes}}run_it{scale.rounds_2d:03d}_data.star",
        "do_select_values": "Yes",
        "select_label": "rlnClassNumber",
        "select_minval": "{first_class}",
        "select_maxval": "{last_class}",
    }
    return Step("select", "Select", options)


def initial(scale: Scale, particles: str) -> Step:
    """A first map from nothing."""
    first, between, last = (f"{count}" for count in scale.initial)
    options = {
        "fn_img": particles,
        "particle_diameter": f"{DIAMETER}",
        "sgd_ini_iter": first,
        "sgd_inbetween_iter": between,
        "sgd_fin_iter": last,
        "sgd_ini_resol": f"{scale.start + 5}",
        "sgd_fin_resol": f"{scale.first_finest}",
        "sgd_ini_subset_size": f"{scale.subsets[0]}",
        "sgd_fin_subset_size": f"{scale.subsets[1]}",
        "sampling": scale.first_sampling,
        "offset_range": "3",
        "offset_step": "2",
    }
    return Step("initial", "InitialModel", options | _quick(scale) | SEEDED)


def first_map(scale: Scale) -> str:
    """What InitialModel leaves."""
    return f"{{initial}}run_it{sum(scale.initial):03d}_class001.mrc"


def classes_3d(scale: Scale, particles: str) -> Step:
    """Two 3D classes."""
    options = _reference(first_map(scale), scale) | {
        "fn_img": particles,
        "nr_classes": "2",
        "nr_iter": f"{scale.rounds_3d}",
        "sampling": scale.sampling,
    }
    return Step("classes_3d", "Class3D", options | _quick(scale) | SEEDED)


def refine(scale: Scale, particles: str, reference: str, name: str = "refine", mask: str = "") -> Step:
    """A map from two independent halves; with a mask, the halves are compared inside it."""
    options = _reference(reference, scale) | {
        "fn_img": particles,
        "sampling": scale.local if mask else scale.sampling,
        "auto_local_sampling": scale.local,
        "do_preread_images": "Yes",
        "nr_mpi": "3",
        "nr_threads": "1",
    }
    if mask:
        options |= {"fn_mask": mask, "do_solvent_fsc": "Yes", "ini_high": f"{scale.finest:.0f}"}
    return Step(name, "Refine3D", options | SEEDED, limit=7200)


def _quick(scale: Scale) -> dict[str, str]:
    return {"do_preread_images": "Yes", "nr_threads": f"{scale.threads}"}


def _reference(reference: str, scale: Scale) -> dict[str, str]:
    return {
        "fn_ref": reference,
        "ref_correct_greyscale": "Yes",
        "ctf_corrected_ref": "Yes",
        "ini_high": f"{scale.start}",
        "particle_diameter": f"{DIAMETER}",
        "offset_range": "3",
        "offset_step": "2",
    }


def mask() -> Step:
    """A soft mask around the refined map."""
    options = {
        "fn_in": "{refine}run_class001.mrc",
        "inimask_threshold": "{threshold}",
        "extend_inimask": "2",
        "width_mask_edge": "5",
        "lowpass_filter": "20",
    }
    return Step("mask", "MaskCreate", options)


def post(scale: Scale, refined: str = "refine", name: str = "post") -> Step:
    """The resolution, and the sharpened map."""
    options = _halves(scale, refined) | {"do_auto_bfac": "No", "do_adhoc_bfac": "Yes", "adhoc_bfac": "-300"}
    return Step(name, "PostProcess", options)


def local_resolution(scale: Scale, refined: str = "refine") -> Step:
    """The resolution at every place."""
    options = _halves(scale, refined) | {"do_relion_locres": "Yes", "do_resmap_locres": "No", "adhoc_bfac": "-300"}
    return Step("local", "LocalRes", options)


def _halves(scale: Scale, refined: str) -> dict[str, str]:
    return {
        "fn_in": f"{{{refined}}}run_half1_class001_unfil.mrc",
        "fn_mask": "{mask}mask.mrc",
        "angpix": f"{scale.pixel}",
    }
