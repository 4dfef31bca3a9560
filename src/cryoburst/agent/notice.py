"""Whether the provider takes this machine back: asks the machine's own metadata service, once a second.

It only tells. The job is asked nothing: what is whole is in the store already, and what becomes whole goes there until
the machine's power is cut.
"""

import os
import threading

SERVICE = (
    "CRYOBURST_NOTICE"  # in the environment: host[:port] of an EC2 metadata service; unset where nobody takes back
)
EVERY = 1.0  # s between two looks; the provider asks for one in five at least
SECONDS = 1.0  # that an answer may take
TOKEN = 300  # s that a token of the service is good for
PATH = "/latest/meta-data/spot/instance-action"  # 404 until the machine is to end: "Spot Instance interruption notices"


class Notice:
    """Looks in a thread of its own, so that a service that hangs holds nobody up."""

    def __init__(self, service: str | None = None, every: float = EVERY) -> None:
        self._service = os.environ.get(SERVICE, "") if service is None else service
        self._every = every
        self._ended = threading.Event()
        self.came = False

    def start(self) -> None:
        """Begin to look, where there is something to ask."""
        if self._service:
            threading.Thread(target=self._look_all, daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _look_all(self) -> None:
        from http.client import HTTPException  # most machines are never taken back, and need none of it

        while not self.came and not self._ended.wait(self._every):
            try:
                self.came = look(self._service)
            except (OSError, HTTPException):
                continue  # no answer says nothing


def look(service: str) -> bool:
    """Whether the notice is there, by IMDSv2. Raises OSError or HTTPException without an answer."""
    from http.client import HTTPConnection

    connection = HTTPConnection(service, timeout=SECONDS)
    try:
        connection.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN)})
        answer = connection.getresponse()
        token = answer.read(1024).decode("latin-1")
        if answer.status != 200:
            return False
        connection.request("GET", PATH, headers={"X-aws-ec2-metadata-token": token})
        answer = connection.getresponse()
        answer.read(4096)
        return answer.status == 200
    finally:
        connection.close()
