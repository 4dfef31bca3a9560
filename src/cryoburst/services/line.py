"""Opens the line between this computer and its store, as polite as the settings say. Nobody else makes one."""

from cryoburst.services.settings import Settings
from cryoburst.transfer import limits
from cryoburst.transfer.line import Line


def open_line(settings: Settings) -> Line:
    """A line for one transfer: its limit is shared with all others of this state folder, as is a pause.

    What the store does not take is tried again three times within 11 s; then the error is the caller's. Raises BadInput
    for a bandwidth that is none. Opens no file yet.
    """
    rule = limits.parse(settings.bandwidth)
    bandwidth = limits.Bandwidth(rule, limits.SharedTurns(settings.state / "bandwidth")) if rule.spans else None
    return Line(bandwidth=bandwidth, paused=limits.pause_file(settings.pause_file), insist=limits.retry())
