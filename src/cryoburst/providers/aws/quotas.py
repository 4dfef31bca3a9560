"""Whether the account may have a machine at all: how many vCPUs of its family may run at once in a region, as AWS's
Service Quotas tell.

A new account's quota for GPU machines is 0: then every order is refused, and a job would wait for nothing. What can't
be asked is not known, and refuses nothing.
"""

import re
from collections.abc import Sequence

from cryoburst.model.errors import CryoburstError
from cryoburst.model.plugins import Offer
from cryoburst.providers.aws.calls import Calls

# Family of a type -> EC2's quotas on-demand and for spot, in vCPUs: docs.aws.amazon.com/ec2/latest/instancetypes
# ("Amazon EC2 instance type quotas"). The standard families are A, C, D, H, I, M, R, T and Z.
STANDARD = ("L-1216C47A", "L-34B43A08")
CODES = {"g": ("L-DB2E81BA", "L-3819A6DF"), "p": ("L-417A185B", "L-7212CCBC"), "x": ("L-7295265B", "L-E3A00192")}
OTHERS = {"p5": ("L-417A185B", "L-C4BD4855"), "hpc": ("L-F7808C92", "")}  # that are told from the rest of their letter


def code(name: str, *, spot: bool) -> str:
    """The quota that a type of machine counts against in a market; empty when that is not known."""
    found = re.match(r"([a-z]+)(\d*)", name)
    if found is None:
        return ""
    family, series = found[1], found[1] + found[2]
    codes = OTHERS.get(series) or OTHERS.get(family) or CODES.get(family[0])
    if codes is None:
        codes = STANDARD if family[0] in "acdhimrtz" and family not in ("inf", "dl", "trn", "mac") else ("", "")
    return codes[spot]


def refusal(calls: Calls, offers: Sequence[Offer]) -> str:
    """Why the account can have none of these offers, as a sentence; empty when it can have one, or nobody knows.
    Usually one call."""
    limits: dict[tuple[str, str], float] = {}
    said = ""
    for offer in offers:
        key = (offer.region, offer.quota)
        if not key[1]:
            return ""
        if key not in limits:
            try:
                answer = calls.ask(
                    "service-quotas", offer.region, "get_service_quota", ServiceCode="ec2", QuotaCode=key[1]
                )
                limits[key] = float(answer["Quota"]["Value"])
            except (CryoburstError, KeyError, TypeError, ValueError):
                return ""
        if limits[key] >= offer.cores:
            return ""
        market = "spot " if offer.spot else ""
        said = said or (
            f"the account may use {limits[key]:g} vCPUs of such {market}machines in {offer.region}, and {offer.name} "
            f"has {offer.cores}: ask AWS for more in Service Quotas ({key[1]}), or choose another region"
        )
    return said
