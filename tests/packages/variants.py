"""Jobs that the demo's pipelines do not have: other ways of its types, each of which opens other files."""

from cryoburst.demo.steps import Step

KNOWN = {"fn_data": "{refine}run_data.star", "fn_post": "{post}postprocess.star", "minres": "60"}
MASK = {"fn_mask": "{bodies}body1.mrc"}
VARIANTS = (
    Step("select_by_statistics", "Select", {"fn_data": "{extract}particles.star", "do_discard": "Yes"}),
    Step("select_once", "Select", {"fn_data": "{refine}run_data.star", "do_remove_duplicates": "Yes"}),
    Step(
        "select_micrographs",
        "Select",
        {
            "fn_mic": "{ctf}micrographs_ctf.star",
            "do_select_values": "Yes",
            "select_label": "rlnCtfMaxResolution",
            "select_minval": "0",
            "select_maxval": "99",
        },
    ),
    Step(
        "join_micrographs",
        "JoinStar",
        {
            "do_mic": "Yes",
            "fn_mic1": "{ctf}micrographs_ctf.star",
            "fn_mic2": "{ctf_of_micrographs}micrographs_ctf.star",
        },
    ),
    Step(
        "join_movies", "JoinStar", {"do_mov": "Yes", "fn_mov1": "{import}movies.star", "fn_mov2": "{import}movies.star"}
    ),
    Step(
        "pick_by_map",
        "AutoPick",
        {
            "fn_input_autopick": "{ctf}micrographs_ctf.star",
            "do_ref3d": "Yes",
            "fn_ref3d_autopick": "{refine}run_class001.mrc",
            "angpix_ref": "12",
            "lowpass": "30",
            "psi_sampling_autopick": "45",
            "ref3d_sampling": "30 degrees",
        },
    ),
    Step(
        "subtract_others",
        "Subtract",
        {
            "fn_opt": "{classes_3d}run_it002_optimiser.star",
            "do_data": "Yes",
            "fn_data": "{join}join_particles.star",
        }
        | MASK,
    ),
    Step("revert", "Subtract", {"do_fliplabel": "Yes", "fn_fliplabel": "{subtract}particles_subtracted.star"}),
    Step("aberrations", "CtfRefine", KNOWN | {"do_ctf": "No", "do_tilt": "Yes", "do_trefoil": "Yes"}),
)
