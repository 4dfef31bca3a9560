"""A program of a user's own project, for RELION's External job: cuts a mask into the masks of two bodies.

The demo copies it into its project as scripts/bodies.py. It runs there and on machines that have nothing but Python, so
it imports nothing else, and nothing of cryoburst.

    python3 scripts/bodies.py --o External/job018/ --in_mask MaskCreate/job014/mask.mrc --edge 4
"""

import argparse
import struct
from array import array
from pathlib import Path

HEADER = 1024
BODIES = """
data_

loop_
_rlnBodyMaskName #1
_rlnBodyRotateRelativeTo #2
_rlnBodySigmaAngles #3
_rlnBodySigmaOffset #4
"""
# RELION reads this at the job's end, and the masks become nodes (7: a mask) that its other jobs can take.
NODES = """
data_output_nodes

loop_
_rlnPipeLineNodeName #1
_rlnPipeLineNodeType #2
"""


def main() -> None:
    """Write body1.mrc, body2.mrc, and bodies.star for MultiBody."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--o", required=True, help="the job's folder")
    parser.add_argument("--in_mask", required=True, help="the mask, in floats")
    parser.add_argument("--edge", type=int, default=4, help="pixels over which one body fades into the other")
    parser.add_argument("--j", help="threads: RELION always gives them")
    options = parser.parse_args()
    data = Path(options.in_mask).read_bytes()
    columns, _, _, mode = struct.unpack_from("<4i", data)
    if mode != 2:
        raise SystemExit(f"{options.in_mask}: mode {mode}; floats (2) are needed")
    values = array("f", data[HEADER:])
    middle = _middle(values, columns)
    fading = [min(1.0, max(0.0, (column - middle) / options.edge + 0.5)) for column in range(columns)]
    rows = nodes = ""
    for number, turned in ((1, 2), (2, 1)):
        share = fading if number == 2 else [1 - one for one in fading]
        body = array("f", (value * share[at % columns] for at, value in enumerate(values)))
        name = f"{options.o}body{number}.mrc"
        Path(name).write_bytes(data[:HEADER] + body.tobytes())
        rows += f"{name} {turned} 10 2\n"
        nodes += f"{name} 7\n"
    Path(options.o, "bodies.star").write_text(f"{BODIES}{rows}\n")
    Path(options.o, "RELION_OUTPUT_NODES.star").write_text(f"{NODES}{nodes}\n")
    print(f"two bodies of {columns} pixels each way, cut at column {middle:.1f}")
    Path(options.o, "RELION_JOB_EXIT_SUCCESS").touch()


def _middle(values: "array[float]", columns: int) -> float:
    """The column of the mask's centre."""
    sums = [0.0] * columns
    for at, value in enumerate(values):
        sums[at % columns] += value
    return sum(column * one for column, one in enumerate(sums)) / sum(sums)


if __name__ == "__main__":
    main()
