"""The program `cryoburst-ctffind`: answers on standard input, a report on standard output, exit code 0 or 2."""

import argparse
import os
import sys
from importlib.metadata import version

from cryoburst.model.errors import BadInput, CryoburstError

from . import dialogue


def main(arguments: list[str] | None = None) -> int:
    """Estimate the CTF of one image; bad input gives one sentence on stderr and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="cryoburst-ctffind",
        description="Estimates a CTF. Speaks CTFFIND 4.1's dialogue (answers on standard input, one per line), so "
        "RELION can use it as its CTFFIND executable: set RELION_CTFFIND_EXECUTABLE to this program.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cryoburst-ctffind {version('cryoburst')}")
    parser.add_argument("--amplitude-spectrum-input", action="store_true", help="the image is an amplitude spectrum")
    # CTFFIND's own switches that change nothing here.
    parser.add_argument("--old-school-input", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--omp-num-threads", metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    # One thread: RELION starts as many of these as it has processes. Must stand before numpy is imported.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        print(estimate(dialogue.read(sys.stdin), options.amplitude_spectrum_input), flush=True)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except UnicodeDecodeError:
        print("cryoburst-ctffind: The dialogue on standard input is not text", file=sys.stderr)
        return 2
    except CryoburstError as error:
        print(f"cryoburst-ctffind: {error}", file=sys.stderr)
        return 2
    return 0


def estimate(request: dialogue.Request, is_spectrum: bool) -> str:
    """Fit the CTF of the request's image, write the files, and return the report in CTFFIND's words."""
    import numpy as np

    from cryoburst.simulate.optics import Optics

    from .files import write
    from .fit import fit
    from .spectrum import polar, read_image, tiled

    image = read_image(request.image)
    if is_spectrum:
        amplitude = np.asarray(image, np.float64).reshape(-1, *image.shape[-2:]).mean(axis=0)
        if amplitude.min() < 0:
            raise BadInput("This is no amplitude spectrum: it has negative values", where=str(request.image))
    else:
        amplitude = tiled(image, request.box, request.frames_together)
    optics = Optics(request.voltage, request.aberration, request.amplitude_contrast)
    found = fit(polar(amplitude, request.pixel_size), optics, request.search)
    text = write(request, found, amplitude)
    return (
        f"Estimated defocus values        : {found.defocus.u:.2f} , {found.defocus.v:.2f} Angstroms\n"
        f"Estimated azimuth of astigmatism: {found.defocus.azimuth:.2f} degrees\n"
        f"Phase shift                     : {found.phase_shift:.3f} radians\n"
        f"Score                           : {found.score:.5f}\n"
        f"Thon rings with good fit up to  : {found.resolution:.1f} Angstroms\n"
        f"Summary of results                          : {text}\n"
        f"Diagnostic images                           : {request.output}"
    )


if __name__ == "__main__":
    sys.exit(main())
