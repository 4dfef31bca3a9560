"""Whether an account may have a machine at all, by its quotas."""

from dataclasses import replace
from typing import Any, cast

import pytest

from cryoburst.model.errors import BadCredentials, CryoburstError
from cryoburst.providers.aws import quotas
from cryoburst.providers.aws.calls import Answer, Calls, Missing

from .conftest import HERE, OFFER, THERE

GPU = replace(OFFER, name="g5.2xlarge", cores=8, gpus=1, quota="L-DB2E81BA")


class Quotas:
    """An account whose quotas these are; what is asked of another is refused with an error."""

    def __init__(self, limits: dict[tuple[str, str], float], error: CryoburstError | None = None) -> None:
        self.limits, self.error, self.asked = limits, error or Missing("none"), list[tuple[str, str]]()

    def ask(self, service: str, region: str, operation: str, **arguments: Any) -> Answer:
        assert (service, operation, arguments["ServiceCode"]) == ("service-quotas", "get_service_quota", "ec2")
        self.asked.append((region, arguments["QuotaCode"]))
        if self.asked[-1] not in self.limits:
            raise self.error
        return {"Quota": {"Value": self.limits[self.asked[-1]]}}


def refusal(account: Quotas, *offers: Any) -> str:
    return quotas.refusal(cast(Calls, account), offers)


@pytest.mark.parametrize(
    ("name", "spot", "code"),
    [
        ("c7i.4xlarge", False, "L-1216C47A"),
        ("hpc7a.96xlarge", False, "L-F7808C92"),
        ("i4i.large", True, "L-34B43A08"),
        ("g4dn.xlarge", False, "L-DB2E81BA"),
        ("g6e.xlarge", True, "L-3819A6DF"),
        ("p3dn.24xlarge", False, "L-417A185B"),
        ("p4d.24xlarge", True, "L-7212CCBC"),
        ("p5en.48xlarge", True, "L-C4BD4855"),
        ("x2idn.32xlarge", False, "L-7295265B"),
        ("inf2.xlarge", False, ""),
        ("trn1.2xlarge", False, ""),
        ("?", False, ""),
    ],
)
def test_codes(name: str, spot: bool, code: str) -> None:
    assert quotas.code(name, spot=spot) == code


def test_a_quota_of_nothing_is_one_sentence_with_the_next_step() -> None:
    account = Quotas({(HERE, "L-DB2E81BA"): 0.0})
    said = refusal(account, GPU, replace(GPU, name="g5.4xlarge", cores=16))
    assert said == (
        f"the account may use 0 vCPUs of such machines in {HERE}, and g5.2xlarge has 8: "
        "ask AWS for more in Service Quotas (L-DB2E81BA), or choose another region"
    )
    assert len(account.asked) == 1, "a quota is asked for once"


def test_one_machine_that_it_may_have_is_enough() -> None:
    assert refusal(Quotas({(HERE, "L-DB2E81BA"): 8.0}), GPU) == ""
    limits = {(HERE, "L-DB2E81BA"): 0.0, (THERE, "L-DB2E81BA"): 64.0}
    assert refusal(Quotas(limits), GPU, replace(GPU, region=THERE)) == ""


@pytest.mark.parametrize("error", [Missing("no such quota"), BadCredentials("may not do it")])
def test_what_is_not_known_refuses_nothing(error: CryoburstError) -> None:
    assert refusal(Quotas({}, error), GPU) == ""
    assert refusal(Quotas({}), replace(GPU, quota="")) == ""
    assert refusal(Quotas({})) == ""
