"""The emulated cloud by itself: what its machines do, which is what the tests of the whole path rest on."""

import json
import os
import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from tests.servers import Server
from tests.servers.clients import connect, new_bucket

from . import image, lacking
from .fixtures import KIND, PATIENCE, EmulatedCloud, started

pytestmark = pytest.mark.slow
IMDS = """
at=http://169.254.169.254/latest
ask() { curl -s -o "${3:-/dev/stdout}" -w "${4:-}" -H "X-aws-ec2-metadata-token: $1" "$at/$2"; }
TOKEN=$(curl -s -X PUT -H "X-aws-ec2-metadata-token-ttl-seconds: 300" $at/api/token)
"""
OFF = "systemctl --no-block poweroff\n"


def run(cloud: EmulatedCloud, script: str, token: str = "", **more: Any) -> str:
    """Start a machine that runs a script once it is up; its id."""
    order: dict[str, Any] = {
        "ImageId": image(),
        "InstanceType": KIND,
        "MinCount": 1,
        "MaxCount": 1,
        "UserData": f"#!/bin/bash\nexec 2>&1\n{IMDS}{script}",
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled"},
        **({"ClientToken": token} if token else {}),
        **more,
    }
    return str(cloud.client("ec2").run_instances(**order)["Instances"][0]["InstanceId"])


def error(call: Any, **arguments: Any) -> str:
    """The code of the error that a call ends with."""
    import botocore.exceptions

    with pytest.raises(botocore.exceptions.ClientError) as raised:
        call(**arguments)
    return str(raised.value.response["Error"]["Code"])


def group(cloud: EmulatedCloud, name: str, *ports: int) -> str:
    """A security group that lets everybody in at these ports."""
    ec2 = cloud.client("ec2")
    made = str(ec2.create_security_group(GroupName=name, Description=name)["GroupId"])
    for port in ports:
        ec2.authorize_security_group_ingress(
            GroupId=made, IpProtocol="tcp", FromPort=port, ToPort=port, CidrIp="0.0.0.0/0"
        )
    return made


def reached(address: str, port: int, seconds: float = 1.0) -> bool:
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError:
        return False
    return True


def test_a_machine_boots_does_its_user_data_and_is_terminated_by_its_own_power_off(
    cloud: EmulatedCloud, radosgw_server: Server
) -> None:
    bucket = new_bucket(radosgw_server)
    role = role_for(cloud, bucket, "mine/")
    name = run(
        cloud,
        'echo "init $(cat /proc/1/comm) cloud $(cloud-id) id $(ask "$TOKEN" meta-data/instance-id)"\n'
        'echo "without a token: $(ask none meta-data/instance-id /dev/null %{http_code})"\n'
        'echo "region $(ask "$TOKEN" dynamic/instance-identity/document | grep -o us-east-1 | head -1)"\n'
        'echo "$(relion_refine --version)"\n'
        "role=$(ask $TOKEN meta-data/iam/security-credentials/)\n"
        'echo "the key of $role: $(ask $TOKEN meta-data/iam/security-credentials/$role) is all"\n' + OFF,
        token="one",
        IamInstanceProfile={"Name": role},
    )
    assert cloud.state(name) == "pending"
    text = cloud.said(name, "is all")
    assert f"init systemd cloud aws id {name}" in text
    assert "without a token: 401" in text
    assert "region us-east-1" in text
    assert "RELION version: 3.1.3" in text
    said = re.search(rf"the key of {role}: (.*) is all", text)
    assert said
    key = json.loads(said[1])
    s3 = connect(radosgw_server, "s3", key["AccessKeyId"], key["SecretAccessKey"], key["Token"])
    s3.put_object(Bucket=bucket, Key="mine/a", Body=b"words")
    assert error(s3.put_object, Bucket=bucket, Key="other/a", Body=b"words") == "AccessDenied"
    assert error(s3.get_object, Bucket=bucket, Key="mine/a") == "AccessDenied"
    assert connect(radosgw_server).get_object(Bucket=bucket, Key="mine/a")["Body"].read() == b"words"
    assert cloud.ended(name)["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    assert not cloud.client("ec2").describe_volumes()["Volumes"]
    assert not Path(f"/proc/{cloud.told(name)['pid']}").exists()


def role_for(cloud: EmulatedCloud, bucket: str, prefix: str) -> str:
    """A role that may write below a prefix and no more, with an instance profile of the same name."""
    iam, name = cloud.client("iam"), f"role-{bucket[-8:]}"
    allowed = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": f"arn:aws:s3:::{bucket}/{prefix}*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def test_the_same_token_is_the_same_machine(cloud: EmulatedCloud) -> None:
    cloud.ask("fault", action="RunInstances")  # the reply is lost
    with pytest.raises(Exception, match=r"(?i)connection"):
        run(cloud, "sleep 60", token="same")
    first = run(cloud, "sleep 60", token="same")
    assert run(cloud, "sleep 60", token="same") == first
    assert len(cloud.client("ec2").describe_instances()["Reservations"]) == 1 + ended_before(cloud)
    assert error(run, cloud=cloud, script="sleep 61", token="same") == "IdempotentParameterMismatch"
    cloud.client("ec2").terminate_instances(InstanceIds=[first])
    assert error(run, cloud=cloud, script="sleep 60", token="same") == "IdempotentInstanceTerminated"
    assert cloud.ended(first)["StateReason"]["Code"] == "Client.UserInitiatedShutdown"


def ended_before(cloud: EmulatedCloud) -> int:
    """The instances of earlier tests, which are listed as terminated ones are for an hour."""
    return sum(each["state"] == "terminated" for each in cloud.ask("told"))


def test_refusals_delays_and_late_listings(cloud: EmulatedCloud) -> None:
    cloud.ask("fault", code="InsufficientInstanceCapacity", where={"InstanceType": "c5.*"})
    cloud.ask("fault", code="VcpuLimitExceeded")
    cloud.ask("fault", action="Describe*", code="RequestLimitExceeded")
    assert error(run, cloud=cloud, script="") == "InsufficientInstanceCapacity"
    assert error(run, cloud=cloud, script="") == "VcpuLimitExceeded"
    ec2 = cloud.client("ec2")
    assert error(ec2.describe_instances) == "RequestLimitExceeded"
    assert error(run, cloud=cloud, script="", InstanceType="c99.huge") == "InvalidInstanceType.NotFound"
    assert error(run, cloud=cloud, script="", ImageId="ami-00000000") == "InvalidAMIID.NotFound"
    cloud.ask("settings", listing_delay=1.0, pending=1.0)
    name = run(cloud, "")
    assert error(ec2.describe_instances, InstanceIds=[name]) == "InvalidInstanceID.NotFound"
    cloud.until(lambda: name in json.dumps(ec2.describe_instances(), default=str), "listed")
    parameter = "/aws/service/debian/release/12/latest/amd64"
    assert cloud.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"] == image()


def test_nobody_gets_in_and_machines_get_to_the_store_alone(cloud: EmulatedCloud) -> None:
    listening = socket.create_server((cloud.host, 0))
    port = listening.getsockname()[1]
    script = (
        "ss -ltn | grep ':22 '\n"
        f"curl -s -o /dev/null -m 60 {cloud.s3}/ && echo the store answers\n"
        f"curl -s -o /dev/null -m 1 http://{cloud.host}:{port}/; echo another port: $?\nsleep 60\n"
    )
    shut = run(cloud, script, SecurityGroupIds=[group(cloud, "shut")])
    open_ = run(cloud, "ss -ltn | grep ':22 '\nsleep 60", SecurityGroupIds=[group(cloud, "open", 22)])
    text = cloud.said(shut, "another port:")
    assert "the store answers" in text
    assert "another port: 28" in text  # no answer in time
    assert ":22 " in text
    assert ":22 " in cloud.said(open_, ":22 ")
    address = cloud.instance(open_)["PublicIpAddress"]
    cloud.until(lambda: reached(address, 22), "reached at an open port", open_)
    assert not reached(address, 80)
    assert not any(reached(cloud.instance(shut)["PublicIpAddress"], port, 0.5) for port in (22, 80, 443))
    assert reached(cloud.host, port)
    listening.close()


def test_a_spot_machine_is_cut_off_and_heals_is_told_and_taken(cloud: EmulatedCloud) -> None:
    notice = 'ask "$TOKEN" meta-data/spot/instance-action'
    look = f"curl -s -o /dev/null -m 0.5 {cloud.s3}/ && echo look $n: up || echo look $n: down"
    spot = {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}
    name = run(
        cloud,
        f'n=0; until [ "$({notice} /dev/null %{{http_code}})" = 200 ]; do {look}; n=$((n + 1)); sleep 0.2; done\n'
        f'echo "notice $({notice})"\nsleep 60',
        InstanceMarketOptions=spot,
    )
    cloud.said(name, ": up")
    assert cloud.instance(name)["InstanceLifecycle"] == "spot"
    cloud.ask("cut", instance=name)
    cloud.said(name, ": down")
    assert cloud.state(name) == "running"
    cloud.ask("heal", instance=name)
    cloud.until(lambda: re.search(r": down\n(?:.*\n)*?.*: up\n", cloud.console(name)), "up again", name)
    cloud.ask("interrupt", instance=name, seconds=3)
    assert '"action": "terminate"' in cloud.said(name, "notice {")
    assert cloud.ended(name)["StateReason"]["Code"] == "Server.SpotInstanceTermination"


def test_a_power_cut_tells_nobody(cloud: EmulatedCloud) -> None:
    name = run(cloud, "echo it is up\nsleep 60", SecurityGroupIds=[group(cloud, "cut", 22)])
    cloud.said(name, "it is up")
    address = cloud.instance(name)["PublicIpAddress"]
    with socket.create_connection((address, 22), timeout=PATIENCE) as talk:
        assert talk.recv(4) == b"SSH-"
        talk.settimeout(1.0)
        cloud.ask("power_cut", instance=name, noticed=False)
        while True:
            try:
                assert talk.recv(4096), "the connection was closed, as no dead machine can"
            except TimeoutError:
                break
    assert cloud.state(name) == "running"  # EC2 has not noticed it


def test_a_cloud_that_is_killed_leaves_nothing(radosgw_server: Server, cloud_server: EmulatedCloud) -> None:
    with started(radosgw_server) as (own, process):
        name = run(own, "echo it is up\nsleep 600")
        own.said(name, "it is up")
        pid = own.told(name)["pid"]
        assert own.interface in interfaces()
        assert own.interface != cloud_server.interface
        process.kill()
        end = time.monotonic() + PATIENCE
        while left := left_of(own, pid):
            assert time.monotonic() < end, left
            time.sleep(0.1)


def left_of(cloud: EmulatedCloud, pid: int) -> list[str]:
    """What there still is of a cloud."""
    words = str(cloud.folder)
    groups = [str(path) for path in Path("/sys/fs/cgroup").rglob(f"cryoburst-{cloud.interface}-*")]
    found = [cloud.interface] if cloud.interface in interfaces() else []
    found += [f"process {pid}"] if Path(f"/proc/{pid}").exists() else []
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if words in line]
    return found + groups + ([words] if cloud.folder.exists() else [])


def interfaces() -> list[str]:
    return [name for _, name in socket.if_nameindex()]


def test_what_is_lacking_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "needs root" in lacking()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    assert "script/setup installs them (Debian: iproute2 mmdebstrap nftables util-linux)" in lacking()
