"""How patient the engine is, and what every machine is told of its time. Settings, so that no test waits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long the engine waits for others; seconds."""

    retry_delays: tuple[float, ...] = (30.0, 300.0, 1200.0)
    boot: float = 600.0  # from the provider's answer to started.json
    lost: float = 60.0  # without a heartbeat before a run is flagged as lost
    abort: float = 120.0  # from stop.json to the deletion of the machine
    settle: float = 30.0  # a new machine may be missing from the provider's listing for so long


@dataclass(frozen=True)
class Terms:
    """What every machine is told at its creation; seconds."""

    walltime: float = 24 * 3600.0  # from staging to the end of the command
    grace: float = 3600.0  # after that, for the outputs
    heartbeat: float = 1.0
