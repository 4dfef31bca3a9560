"""What stages took in two published studies, as far as the forecast is fitted on them. Data alone.

beta-galactosidase: EMPIAR-10061 on AWS and on one workstation, 2018 (cryoem-cloud-tools); TRPV1: EMPIAR-10005 on AWS,
in the EGI Federated Cloud and on one workstation, 2017 (ScipionCloud). Hours are those that the studies print for the
program alone where they separate it from moving data (beta-galactosidase), else for the stage. Movies were streamed in
TRPV1, so that stage is left out but for the number that it gives on movies; so are stages that run programs for which
we have no kind of job.

Powers are in the units of ``forecast.power``. Units of work are those of ``model.plugins.Work`` for the kind, 0 where
the studies don't print what is needed: TRPV1's particle numbers. That 3D classification took the particles of the first
refinement is our reading.
"""

from typing import NamedTuple

from cryoburst.engine.power import CARDS


class Row(NamedTuple):
    """One stage on one machine."""

    kind: str
    data: str  # the study: stages of one kind in it did the same work
    machine: str
    gpu: bool  # whether it ran on GPUs
    power: float
    hours: float
    units: float


_K80, _GTX1070, _K20, _TITAN = (CARDS[name] for name in ("K80", "GTX1070", "K20", "TITANXP"))
P2_16, P2_8, DESK = 16 * _K80, 8 * _K80, 4 * _GTX1070  # AWS p2; the workstation of beta-galactosidase
EGI, TITANS = 2 * _K20, 2 * _TITAN  # the cloud's gpu2cpu12; the workstation of TRPV1
MOVIES = 12e12 / 4 / 1e9  # 12 TB in pixels of 4 bytes, in 10^9
BOX2 = 384**2 / 1e6  # 10^6 pixels of a particle after the second extraction

ROWS = (
    Row("relion.motioncorr", "betagal", "5 x1.32xlarge", False, 5 * 128, 2.20, MOVIES),
    Row("relion.motioncorr", "betagal", "workstation", False, 8, 34.0, MOVIES),
    Row("relion.ctffind", "betagal", "p2.8xlarge", True, P2_8, 0.11, 1536),
    Row("relion.ctffind", "betagal", "workstation", True, DESK, 0.4, 1536),
    Row("relion.autopick", "betagal", "p2.8xlarge", True, P2_8, 0.20, 1536),
    Row("relion.autopick", "betagal", "workstation", True, DESK, 2.0, 1536),
    Row("relion.extract", "betagal", "m4.4xlarge", False, 16, 0.62, 1536),
    Row("relion.extract", "trpv1", "g2.2xlarge", False, 8, 0.6, 966),
    Row("relion.extract", "trpv1", "gpu1cpu6", False, 6, 0.43, 966),
    Row("relion.extract", "trpv1", "workstation", False, 24, 0.42, 966),
    Row("relion.class2d", "betagal", "p2.16xlarge", True, P2_16, 4.13, 138901 * 25 * 200 * 192**2 / 1e6),
    Row("relion.class2d", "betagal", "workstation", True, DESK, 8.0, 138901 * 25 * 200 * 192**2 / 1e6),
    Row("relion.class2d", "trpv1", "p2.8xlarge", True, P2_8, 5.4, 0),
    Row("relion.class2d", "trpv1", "gpu2cpu12", True, EGI, 25.0, 0),
    Row("relion.class2d", "trpv1", "workstation", True, TITANS, 7.5, 0),
    Row("relion.class3d", "betagal", "p2.8xlarge", True, P2_8, 6.0, 119443 * 25 * 8 * BOX2),
    Row("relion.class3d", "betagal", "workstation", True, DESK, 7.0, 119443 * 25 * 8 * BOX2),
    Row("relion.class3d", "trpv1", "p2.8xlarge", True, P2_8, 0.6, 0),
    Row("relion.class3d", "trpv1", "gpu2cpu12", True, EGI, 2.13, 0),
    Row("relion.class3d", "trpv1", "workstation", True, TITANS, 1.28, 0),
    Row("relion.refine3d", "betagal", "p2.8xlarge", True, P2_8, 5.30, 119443 * BOX2),
    Row("relion.refine3d", "betagal", "workstation", True, DESK, 5.3, 119443 * BOX2),
    Row("relion.refine3d", "betagal again", "p2.8xlarge", True, P2_8, 6.30, 106237 * BOX2),
    Row("relion.refine3d", "betagal again", "workstation", True, DESK, 6.0, 106237 * BOX2),
    Row("relion.refine3d", "trpv1", "p2.8xlarge", True, P2_8, 0.7, 0),
    Row("relion.refine3d", "trpv1", "gpu2cpu12", True, EGI, 2.57, 0),
    Row("relion.refine3d", "trpv1", "workstation", True, TITANS, 1.75, 0),
    Row("relion.polish", "betagal", "x1.32xlarge", False, 128, 5.40, 119443 * BOX2),
    Row("relion.polish", "betagal", "workstation", False, 8, 25.0, 119443 * BOX2),
)
