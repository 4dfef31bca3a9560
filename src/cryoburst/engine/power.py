"""How much a machine can do, for the forecast: a number that is larger for a faster one, nothing more exact. Pure."""

import math
from dataclasses import dataclass

from cryoburst.model.plugins import Offer

# A card's power is the geometric mean of its arithmetic (FP32, TFLOPS) and its memory (GB/s), as NVIDIA's data sheets
# give them: RELION's E step is between the two. A K80 is a board of two; each half counts as a GPU.
_SHEETS = {
    "K520": (2.45, 160),
    "K20": (3.52, 208),
    "K80": (4.37, 240),
    "GTX1070": (6.46, 256),
    "TITANXP": (12.15, 548),
    "T4": (8.1, 320),
    "V100": (15.7, 900),
    "V100-32GB": (15.7, 900),
    "A10G": (31.2, 600),
    "L4": (30.3, 300),
    "L40S": (91.6, 864),
    "A100": (19.5, 1555),
    "H100": (66.9, 3350),
    "H200": (66.9, 4800),
}
CARDS = {name: math.sqrt(flops * memory) for name, (flops, memory) in _SHEETS.items()}
UNKNOWN_CARD = CARDS["T4"]  # of a computer that does not say which it has
CORE = 1.0  # of a card's power, where a job that is known on GPUs alone runs on cores: a guess, and told as one


@dataclass(frozen=True)
class Uses:
    """What a job uses of a machine; None: all there is."""

    cores: int | None = None
    gpus: int | None = None  # 0: it runs on cores, whatever GPUs there are


EVERYTHING = Uses()


def power(offer: Offer, *, gpu: bool, uses: Uses = EVERYTHING) -> float:
    """Cores, or the sum of its cards' powers, that a job uses of a machine of this type; at least that of one."""
    if not gpu:
        return float(max(1, offer.cores if uses.cores is None else min(uses.cores, offer.cores)))
    cards = offer.gpus if uses.gpus is None else min(uses.gpus, offer.gpus)
    return max(1, cards) * CARDS.get(offer.gpu, UNKNOWN_CARD)
