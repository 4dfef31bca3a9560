"""The whole path to a rented machine and back, by the command line: setup, submit, boot, job, results, power-off.

And what may come between. Home's patience is scaled down with everything else (QUICK of tests/services/home.py: a beat
every 0.1 s): a machine counts as lost after LOST s instead of 60, so that a cut of CUT s is to it what one of five
minutes is at the default.
"""

import base64
import json
import time
from typing import Any

import pytest
from tests.patient_kernel import patient_kernel
from tests.servers import Server, store_url
from tests.servers.clients import connect, new_bucket
from tests.services import refinement
from tests.services.home import Home

from .fixtures import EmulatedCloud

pytestmark = pytest.mark.slow
LOST = 1.2
CUT = LOST * 300 / 60
FIRST_WAITS = "case $CRYOBURST_JOB in *-1) sleep 600;; esac"  # the first attempt goes on until its machine is no more
NOTICE = 5.0  # s within which home can know that a machine is taken back
TO_AWS = ("--to", "aws", "--store", "aws")


def submit(home: Home, folder: str, *words: str) -> None:
    """Send a job to a rented machine."""
    done = home.call("submit", "--job", folder, *TO_AWS, *words)
    assert done.returncode == 0, done.stdout + done.stderr


def orders(cloud: EmulatedCloud) -> list[dict[str, str]]:
    """The parameters of each RunInstances."""
    return [call for call in cloud.ask("calls")["calls"] if call["Action"] == "RunInstances"]


def machines(home: Home, cloud: EmulatedCloud) -> list[dict[str, Any]]:
    """All instances of this user, the oldest first."""
    mine = [{"Name": "tag:cryoburst:owner", "Values": [home.environment["CRYOBURST_OWNER"]]}]
    found = cloud.client("ec2").describe_instances(Filters=mine)["Reservations"]
    return sorted((each for group in found for each in group["Instances"]), key=lambda each: each["LaunchTime"])


def reasons(home: Home, cloud: EmulatedCloud) -> list[str]:
    """Why each machine ended, once none is left."""
    for each in machines(home, cloud):
        cloud.ended(each["InstanceId"])
    return [each["StateReason"]["Code"] for each in machines(home, cloud)]


def assert_home(home: Home, folder: str) -> None:
    """All that the job made is at home, byte for byte."""
    for name in ("one.bin", "two.bin"):
        assert (home.project / folder / name).read_bytes() == (home.project / "in.bin").read_bytes()
    assert (home.project / folder / "DONE").exists()


def job(home: Home, wait: str) -> str:
    """A job that copies its input, waits, and copies it again."""
    folder = "Script/job001"
    return home.job(script=f"cp in.bin {folder}/one.bin\necho step 1 of 2\n{wait}\ncp in.bin {folder}/two.bin\n")


def test_nothing_of_the_user_is_on_the_machine_and_it_is_rented_once(home: Home, cloud: EmulatedCloud) -> None:
    folder = job(home, "sleep 0.5")
    cloud.ask("fault", code="InsufficientInstanceCapacity")
    cloud.ask("fault", action="RunInstances")  # made, and the reply is lost
    submit(home, folder)
    run = home.ended()
    assert run["state"] == "SUCCEEDED", home.log()
    assert_home(home, folder)
    assert len(reasons(home, cloud)) == 1
    for order in orders(cloud):
        text = json.dumps(order) + base64.b64decode(order["UserData"]).decode()
        assert order["MetadataOptions.HttpTokens"] == "required"
        assert not any(cloud.environment[name] in text for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    assert not cloud.client("ec2").describe_volumes()["Volumes"]


def test_a_store_of_ones_own(home: Home, cloud: EmulatedCloud, radosgw_server: Server) -> None:
    """A bucket that the role does not open: the machine has a credential of its attempt alone."""
    home.environment |= {"CRYOBURST_WALLTIME_HOURS": "0.5", "CRYOBURST_GRACE_MINUTES": "10"}
    url = store_url(cloud.s3, cloud.region, new_bucket(radosgw_server), "lab")
    url += f"&sts={cloud.s3}&role={radosgw_server.role}"
    assert home.call("store", "add", "own", url).returncode == 0
    folder = home.job(script="env\ncp in.bin Script/job001/one.bin\ncp in.bin Script/job001/two.bin\n")
    done = home.call("submit", "--job", folder, "--to", "aws", "--store", "own")
    assert done.returncode == 0, done.stdout + done.stderr
    run = home.ended()
    assert run["state"] == "SUCCEEDED", home.log()
    assert_home(home, folder)
    assert "AWS_" not in (home.project / folder / "out.log").read_text()
    (order,) = orders(cloud)
    user_data = base64.b64decode(order["UserData"]).decode()
    assert "AWS_SESSION_TOKEN" in user_data
    assert not any(cloud.environment[name] in user_data for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    assert "IamInstanceProfile.Name" not in order


def test_a_refinement_of_relion(home: Home, cloud: EmulatedCloud) -> None:
    home.environment["CRYOBURST_LATE_INPUTS_GIB"] = "1e-9"  # even so little may come while it runs
    refinement.project(home)
    folder = refinement.job(home, "Class3D")
    expected = refinement.alone(home, folder)
    with patient_kernel():  # the machine's is this computer's, whose settings it may not change
        done = home.call("submit", f"{folder}/run_submit.script", *TO_AWS)
        assert done.returncode == 0, done.stdout + done.stderr
        run = home.ended()
    assert run["state"] == "SUCCEEDED", home.log()
    assert refinement.names(home, folder) >= {name for name in expected if name.startswith("run_it")}
    assert refinement.steps(home, folder) == list(range(1, 7))
    assert "came while it ran" in home.call("show", "1").stdout
    assert len(reasons(home, cloud)) == 1


def test_power_cut(home: Home, cloud: EmulatedCloud) -> None:
    folder = job(home, FIRST_WAITS)
    submit(home, folder)
    home.until(lambda run: run["progress"])
    cloud.ask("power_cut", instance=machines(home, cloud)[0]["InstanceId"])
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2), home.log()
    assert_home(home, folder)
    first, _second = reasons(home, cloud)
    assert first == "Server.InternalError"


def test_network_cut_for_five_times_what_makes_a_machine_lost(home: Home, cloud: EmulatedCloud) -> None:
    home.environment["CRYOBURST_LOST_SECONDS"] = str(LOST)
    folder = job(home, f"sleep {CUT * 0.9}")  # it ends while the network is cut
    submit(home, folder)
    home.until(lambda run: run["progress"])
    name = machines(home, cloud)[0]["InstanceId"]
    cloud.ask("cut", instance=name)
    end = time.monotonic() + CUT
    home.until(lambda run: run["lost_since"])
    time.sleep(max(0.0, end - time.monotonic()))
    assert cloud.state(name) == "running"
    cloud.ask("heal", instance=name)
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 1), home.log()
    assert_home(home, folder)
    assert len(reasons(home, cloud)) == 1


def test_spot_notice(home: Home, cloud: EmulatedCloud, radosgw_server: Server) -> None:
    folder = job(home, FIRST_WAITS)
    submit(home, folder, "--spot")
    home.until(lambda run: run["progress"])
    name = machines(home, cloud)[0]["InstanceId"]
    bucket = f"cryoburst-{home.environment['CRYOBURST_OWNER'].partition('@')[0]}"
    s3 = connect(radosgw_server)

    def noticed() -> bool:
        keys = [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        (beat,) = [key for key in keys if key.endswith("/heartbeat.json")]
        return bool(json.load(s3.get_object(Bucket=bucket, Key=beat)["Body"])["interrupted"])

    cloud.ask("interrupt", instance=name, seconds=NOTICE)
    cloud.until(noticed, "told in the store that the machine is taken back", name, NOTICE)
    run = home.ended()
    assert (run["state"], run["attempt"], run["interruptions"]) == ("SUCCEEDED", 2, 1), home.log()
    assert_home(home, folder)
    assert [each.get("InstanceLifecycle") for each in machines(home, cloud)] == ["spot", "spot"]
    assert reasons(home, cloud)[0] == "Server.SpotInstanceTermination"


def test_client_gone(home: Home, cloud: EmulatedCloud) -> None:
    folder = job(home, "sleep 1")
    submit(home, folder)
    cloud.until(lambda: machines(home, cloud), "rented")
    cloud.until(home.kill_watcher, "killed the watcher")
    assert reasons(home, cloud) == ["Client.InstanceInitiatedShutdown"]  # by its own power-off
    assert not home.watchers()
    run = home.ended()
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 1), home.log()
    assert_home(home, folder)
