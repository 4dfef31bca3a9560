"""The agent's command line. The one place that prints an error.

``agent.pyz run|guard STORE_URL PREFIX ROOT TOKEN``: exit code 0: the attempt has its exit.json, or belongs to another
agent. 1: the guard is needed (again). 2: wrong use.

``agent.pyz machine STORE_URL PREFIX ROOT TOKEN SECONDS``: what a rented machine does, from the agent to the guard.
The archive is ROOT/agent.pyz; after so many seconds it is off.
"""

import os
import sys

from cryoburst.agent import guard, life
from cryoburst.agent.attempt import sentence_of
from cryoburst.agent.carry import TAG, Duty, carry, now
from cryoburst.agent.place import Pace, Place
from cryoburst.stores import open_store

VERBS = {"run": life.run, "guard": guard.finish}
USAGE = "usage: agent.pyz run|guard STORE_URL PREFIX ROOT TOKEN, or machine STORE_URL PREFIX ROOT TOKEN SECONDS"


def main(arguments: list[str] | None = None, pace: Pace | None = None) -> int:
    """Run one verb; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) == 6 and given[0] == "machine":
        return _machine(*given[1:])
    if len(given) != 5 or given[0] not in VERBS:
        print(USAGE, file=sys.stderr)
        return 2
    verb, url, prefix, root, token = given
    root = os.path.realpath(root)
    try:
        if not url.startswith("file://"):
            from cryoburst.agent import client  # needs what reads archives, which a folder does not

            client.unpack(sys.argv[0])
        VERBS[verb](open_store(url), prefix, root, token, pace or Pace())
    except Exception as error:  # noqa: BLE001 - here every bug becomes a sentence that the guard takes home
        return _fail(root, verb, sentence_of(error))
    return 0


def _machine(url: str, prefix: str, root: str, token: str, seconds: str) -> int:
    """Carry this machine, which is off after so many seconds; whoever called makes it end."""
    if os.environ.get(TAG) != token:
        print(f"{TAG} is not this machine's token", file=sys.stderr)
        return 2
    try:
        duty = Duty(os.path.realpath(root), url, prefix, token, now() + float(seconds))
    except ValueError:
        print(USAGE, file=sys.stderr)
        return 2
    carry(duty, lambda: True)
    return 0


def _fail(root: str, verb: str, sentence: str) -> int:
    print(f"agent: {sentence}", file=sys.stderr)
    if verb == "run":
        try:
            Place(root).note("fault", {"sentence": f"the agent ended early: {sentence}"})
        except OSError as error:
            print(f"agent: {sentence_of(error)}", file=sys.stderr)
    return 1
