"""The agent's command line: ``agent.pyz run|guard STORE_URL PREFIX ROOT TOKEN``. The one place that prints an error.

Exit code 0: the attempt has its exit.json, or belongs to another agent. 1: the guard is needed (again). 2: wrong use.
"""

import os
import sys

from cryoburst.agent import client, guard, life
from cryoburst.agent.attempt import sentence_of
from cryoburst.agent.place import Pace, Place
from cryoburst.stores import open_store

VERBS = {"run": life.run, "guard": guard.finish}


def main(arguments: list[str] | None = None, pace: Pace | None = None) -> int:
    """Run one verb; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 5 or given[0] not in VERBS:
        print("usage: agent.pyz run|guard STORE_URL PREFIX ROOT TOKEN", file=sys.stderr)
        return 2
    verb, url, prefix, root, token = given
    root = os.path.realpath(root)
    try:
        if not url.startswith("file://"):
            client.unpack(sys.argv[0])
        VERBS[verb](open_store(url), prefix, root, token, pace or Pace())
    except Exception as error:  # noqa: BLE001 - here every bug becomes a sentence that the guard takes home
        return _fail(root, verb, sentence_of(error))
    return 0


def _fail(root: str, verb: str, sentence: str) -> int:
    print(f"agent: {sentence}", file=sys.stderr)
    if verb == "run":
        try:
            Place(root).note("fault", {"sentence": f"the agent ended early: {sentence}"})
        except OSError as error:
            print(f"agent: {sentence_of(error)}", file=sys.stderr)
    return 1
