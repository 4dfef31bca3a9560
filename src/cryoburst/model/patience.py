"""How patient the engine is, and what every machine is told of its time. Settings, so that no test waits."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How long the engine waits for others; seconds."""

    retry_delays: tuple[float, ...] = (30.0, 300.0, 1200.0)
    boot: float = 600.0  # from the provider's answer to started.json
    lost: float = 60.0  # without a heartbeat before a run is flagged as lost; never less than three missing ones
    abort: float = 120.0  # from stop.json to the deletion of the machine
    settle: float = 30.0  # a new machine may be missing from the provider's listing for so long


@dataclass(frozen=True)
class Rhythm:
    """How often a machine tells, and how often home looks, while a job runs; seconds. Each one is a request."""

    beat_least: float = 0.2  # between two heartbeats, whatever there is to tell
    beat_most: float = 2.0  # between two heartbeats when there is nothing to tell
    look_least: float = 0.0  # between two looks at the heartbeat, while outputs come; 0: at every tick
    look_most: float = 0.0  # the same, when none came for long
    look_exit: float = 0.0  # between two looks for an exit record that no heartbeat tells of


METERED = Rhythm(beat_least=1.0, beat_most=60.0, look_least=1.0, look_most=3.0, look_exit=60.0)


@dataclass(frozen=True)
class Terms:
    """What every machine is told at its creation; seconds."""

    walltime: float = 24 * 3600.0  # from staging to the end of the command
    grace: float = 3600.0  # after that, for the outputs
    free: Rhythm = Rhythm()
    metered: Rhythm = METERED
    late: int = 2**30  # bytes of inputs from which on they may come while the command runs; 0: never

    def rhythm(self, *, metered: bool) -> Rhythm:
        """How often runs are watched on a store whose requests cost money, or cost nothing."""
        return self.metered if metered else self.free
