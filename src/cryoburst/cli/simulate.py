"""`cryoburst simulate DIR`: write a cryo-EM data set with known truth."""

import argparse
import sys
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; the defaults are those of `cryoburst.simulate.dataset.Settings`."""
    parser.description = (
        "Writes movies of ribosomes (PDB 6ZU5) with drift, dose, CTF and noise, a gain reference, and the truth about "
        "them. The same options and seed give the same bytes."
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where to write; new or empty")
    parser.add_argument("--micrographs", type=int, default=16, help="number of movies (%(default)s)")
    parser.add_argument("--particles", type=int, default=60, help="particles per movie (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, another data set (%(default)s)")
    parser.add_argument("--size", type=int, default=1024, help="pixels along an edge (%(default)s)")
    parser.add_argument("--frames", type=int, default=10, help="frames per movie (%(default)s)")
    parser.add_argument("--pixel-size", type=float, default=3.0, help="Å (%(default)s)")
    parser.add_argument("--dose", type=float, default=36.0, help="e⁻/Å² per movie (%(default)s)")
    parser.add_argument("--voltage", type=float, default=300.0, help="kV (%(default)s)")
    parser.add_argument("--cs", type=float, default=2.7, help="spherical aberration, mm (%(default)s)")
    parser.add_argument(
        "--preferred", type=float, default=0.0, help="share of particles in 7 views, 0 to 1 (%(default)s)"
    )
    parser.add_argument("--force", action="store_true", help="write more than 300 MB")


def run(options: argparse.Namespace) -> int:
    """Write the data set; print a line per movie."""
    from cryoburst.cli.ended import heed_term
    from cryoburst.simulate.dataset import Settings, write

    heed_term()
    settings = Settings(
        micrographs=options.micrographs,
        particles=options.particles,
        seed=options.seed,
        size=options.size,
        frames=options.frames,
        pixel_size=options.pixel_size,
        dose=options.dose,
        voltage=options.voltage,
        aberration=options.cs,
        preferred=options.preferred,
        force=options.force,
    )
    write(options.folder, settings, lambda line: print(line, file=sys.stdout, flush=True))
    return 0
