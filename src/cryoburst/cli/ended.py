"""For commands that work for minutes with processes of their own: a wish to end is heard, and told."""

import signal
from types import FrameType
from typing import NoReturn


def heed_term() -> None:
    """From now on SIGTERM does what Ctrl-C does: the work's own processes end too, and one sentence is said."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
