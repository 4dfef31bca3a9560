"""Where the demo's jobs are sent: the one place that ties the demo to the rest of cryoburst."""

import os
import sys
from pathlib import Path


def program(name: str) -> str:
    """Full path of one of our own programs, beside this Python."""
    return str(Path(sys.executable).parent / name)


def queue_environment(project: Path) -> dict[str, str]:
    """RELION's settings that send a project's jobs to `cryoburst submit`, as `cryoburst relion setup` makes them.

    Writes the submission template into the project, where it does not touch the user's own.
    """
    from cryoburst.packages.relion.setup import environment, write_template

    template = project / ".cryoburst_template.sh"
    write_template(template)
    return environment(Path(program("cryoburst")), template)


def relion_environment() -> dict[str, str]:
    """Return what RELION needs beside a queue, here and in the jobs."""
    result = {
        "RELION_CTFFIND_EXECUTABLE": program("cryoburst-ctffind"),
        # RELION 3.1 would use csh, and without it end "successfully" with nothing done.
        "RELION_SHELL": "sh",
        # Three MPI processes on two cores.
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "OMPI_MCA_hwloc_base_binding_policy": "none",
    }
    if os.geteuid() == 0:
        result |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return result
