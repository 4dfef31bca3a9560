"""What a store costs: keeping data there, requests, and bringing data home. Pure, by the store's address.

Only AWS's own S3 has numbers here; a folder and a server of one's own cost nothing, and what another cloud takes is not
known (None), which is never free.
"""

from cryoburst.model.errors import BadInput
from cryoburst.model.price import FREE, Tariff
from cryoburst.stores.address import metered, parse

# S3 Standard, its first tier of storage, and data transfer out to the internet, its first tier without the 100 GB a
# month that are free: https://aws.amazon.com/s3/pricing/ and https://aws.amazon.com/ec2/pricing/on-demand/. Entered by
# hand as they were in 2025: our snapshot of machine prices has none of these, and they are not asked for live.
DATED = "2025"
_S3 = {
    "us-east-1": (0.023, 0.005, 0.0004, 0.09),
    "us-west-2": (0.023, 0.005, 0.0004, 0.09),
    "eu-west-1": (0.023, 0.005, 0.0004, 0.09),
    "eu-central-1": (0.0245, 0.0054, 0.00043, 0.09),
    "ap-southeast-2": (0.025, 0.0055, 0.00044, 0.114),
}
_ELSEWHERE = Tariff()


def tariff(url: str, region: str = "") -> Tariff:
    """The tariff of the store with this URL. ``region`` is where its bucket is when the address does not say. Of an
    address that can't be read nothing is known: a bill has lines of long ago."""
    if url.startswith("file:"):
        return FREE
    try:
        address = parse(url)
    except BadInput:
        return _ELSEWHERE
    if address.kind != "s3":
        return _ELSEWHERE
    if not metered(address.endpoint):
        return FREE
    ours = not address.endpoint or ".amazonaws.com" in address.endpoint
    found = _S3.get(address.region or region) if ours else None
    return Tariff(*found, dated=DATED) if found else _ELSEWHERE
