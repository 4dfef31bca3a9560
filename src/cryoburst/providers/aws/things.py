"""The few things that an AWS account needs for us, each with its one wanted state: bucket, role, security group.

``make`` brings a thing to that state and may be repeated; ``remove`` is silent when it is gone. Each carries a tag with
the name of who had it made.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from cryoburst.model.errors import BadCredentials, BadInput, ProviderUnavailable
from cryoburst.providers.aws import tags
from cryoburst.providers.aws.calls import Calls, Missing

OLD = "cryoburst ends old runs"  # the name of the rule
UPLOADS = 7  # days after which an unfinished upload ends
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}


class Thing(Protocol):
    """One thing that setup makes and teardown removes."""

    @property
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def key(self) -> str:
        """Its kind and name, by which it is told from all others."""
        ...

    @property
    def about(self) -> str:
        """What it is like, for people."""
        ...

    def whose(self) -> str | None:
        """Who had it made; empty when it has no tag of ours, None when it is not there. Raises BadInput when it belongs
        to another account."""
        ...

    def make(self) -> str:
        """Bring it to its wanted state; what AWS calls it."""
        ...

    def remove(self) -> None:
        """Take it away."""
        ...


@dataclass(frozen=True)
class Bucket:
    """The bucket of the store: closed to the public, encrypted, with rules that end what would cost for ever."""

    calls: Calls
    name: str
    region: str
    account: str
    prefix: str
    owner: str
    expire: int  # days after which everything in it goes; 0: never
    kind = "bucket"

    @property
    def key(self) -> str:
        return f"bucket {self.name}"

    @property
    def about(self) -> str:
        old = f"what is older than {self.expire} days goes" if self.expire else "nothing goes by age"
        return f"in {self.region}; nobody else enters, encrypted; unfinished uploads end after {UPLOADS} days, {old}"

    def whose(self) -> str | None:
        mine = {"Bucket": self.name, "ExpectedBucketOwner": self.account}
        try:
            self.calls.ask("s3", self.region, "head_bucket", **mine)
        except Missing:
            return None
        except BadCredentials:
            raise self._taken() from None
        except ProviderUnavailable as error:
            if not error.what.startswith(("301", "PermanentRedirect")):
                raise
            said = "a bucket of this name is in another region"
            raise BadInput(said, where=self.name, advice="name that region first, or another bucket") from None
        try:
            found = self.calls.ask("s3", self.region, "get_bucket_tagging", **mine)
        except Missing:
            return ""
        return tags.read(found["TagSet"]).get(tags.SETUP, "")

    def expires(self) -> int | None:
        """The days that an earlier setup gave it, 0 for never; None when none of ours is there."""
        if not self.whose():
            return None
        mine = {"Bucket": self.name, "ExpectedBucketOwner": self.account}
        try:
            rules = self.calls.ask("s3", self.region, "get_bucket_lifecycle_configuration", **mine)["Rules"]
        except Missing:
            return 0
        return next((int(rule["Expiration"]["Days"]) for rule in rules if rule.get("ID") == OLD), 0)

    def make(self) -> str:
        ask, bucket = self.calls.ask, {"Bucket": self.name}
        where = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        more = {"CreateBucketConfiguration": where} if where else {}
        whose = self.whose()
        if whose is None:
            try:
                ask("s3", self.region, "create_bucket", **bucket, ObjectOwnership="BucketOwnerEnforced", **more)
            except ProviderUnavailable as error:
                if "BucketAlreadyExists" in str(error):
                    raise self._taken() from None
                if "BucketAlreadyOwnedByYou" not in str(error):
                    raise
        closed = dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        )
        ask("s3", self.region, "put_public_access_block", **bucket, PublicAccessBlockConfiguration=closed)
        if not whose:
            ask("s3", self.region, "put_bucket_tagging", **bucket, Tagging={"TagSet": _tag(self.owner)})
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True}
        encryption = {"Rules": [rule]}
        ask("s3", self.region, "put_bucket_encryption", **bucket, ServerSideEncryptionConfiguration=encryption)
        rules = {"Rules": self._rules()}
        ask("s3", self.region, "put_bucket_lifecycle_configuration", **bucket, LifecycleConfiguration=rules)
        return self.name

    def remove(self) -> None:
        try:
            self.calls.ask("s3", self.region, "delete_bucket", Bucket=self.name, ExpectedBucketOwner=self.account)
        except Missing:
            return

    def holds(self) -> bool:
        """Whether anything is in it. Raises as ``Calls.ask``; Missing when there is no bucket."""
        return next(self._objects(1), None) is not None

    def empty(self) -> int:
        """Delete all that is in it; how many objects that were."""
        count = 0
        while batch := list(self._objects(1000)):
            keys = {"Objects": [{"Key": key} for key in batch], "Quiet": True}
            answer = self.calls.ask("s3", self.region, "delete_objects", Bucket=self.name, Delete=keys)
            if errors := answer.get("Errors"):
                raise ProviderUnavailable(f"not deleted: {errors[0].get('Code')}", where=str(errors[0].get("Key")))
            count += len(batch)
        return count

    def _objects(self, most: int) -> Iterator[str]:
        answer = self.calls.ask("s3", self.region, "list_objects_v2", Bucket=self.name, MaxKeys=most)
        return (str(each["Key"]) for each in answer.get("Contents", []))

    def _rules(self) -> list[dict[str, Any]]:
        ends: dict[str, Any] = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UPLOADS}}
        rules = [{"ID": "cryoburst ends unfinished uploads", "Status": "Enabled", "Filter": {"Prefix": ""}, **ends}]
        if self.expire:
            old = {"Filter": {"Prefix": self.prefix}, "Expiration": {"Days": self.expire}}
            rules.append({"ID": OLD, "Status": "Enabled", **old})
        return rules

    def _taken(self) -> BadInput:
        advice = "choose another name: cryoburst aws setup --bucket NAME"
        return BadInput("a bucket of this name belongs to somebody else", where=self.name, advice=advice)


@dataclass(frozen=True)
class Role:
    """The right of our machines, with the instance profile that gives it to them: the store in the bucket, no more."""

    calls: Calls
    name: str
    bucket: str
    prefix: str
    partition: str
    owner: str
    kind = "role"

    @property
    def key(self) -> str:
        return f"role {self.name}"

    @property
    def about(self) -> str:
        return f"machines read the store in {self.bucket} and write what their jobs make; nothing else"

    def whose(self) -> str | None:
        try:
            found = self.calls.ask("iam", "", "get_role", RoleName=self.name)["Role"]
        except Missing:
            return None
        return tags.read(found.get("Tags")).get(tags.SETUP, "")

    def make(self) -> str:
        ask, role, profile = self.calls.ask, {"RoleName": self.name}, {"InstanceProfileName": self.name}
        mine = {"Tags": _tag(self.owner)}
        if self.whose() is None:
            trust = json.dumps(TRUST).replace("ec2.amazonaws.com", _service(self.partition))
            about = "cryoburst: what its machines may do"
            ask("iam", "", "create_role", **role, **mine, AssumeRolePolicyDocument=trust, Description=about)
        document = json.dumps(machine_policy(self.partition, self.bucket, self.prefix))
        ask("iam", "", "put_role_policy", **role, PolicyName="store", PolicyDocument=document)
        try:
            found = ask("iam", "", "get_instance_profile", **profile)["InstanceProfile"]
        except Missing:
            found = ask("iam", "", "create_instance_profile", **profile, **mine)["InstanceProfile"]
        if self.name not in {each["RoleName"] for each in found.get("Roles", [])}:
            ask("iam", "", "add_role_to_instance_profile", **profile, **role)
        return self.name

    def remove(self) -> None:
        role, profile = {"RoleName": self.name}, {"InstanceProfileName": self.name}
        self._silently("remove_role_from_instance_profile", **profile, **role)
        self._silently("delete_instance_profile", **profile)
        self._silently("delete_role_policy", **role, PolicyName="store")
        self._silently("delete_role", **role)

    def _silently(self, operation: str, **arguments: object) -> None:
        try:
            self.calls.ask("iam", "", operation, **arguments)
        except Missing:
            return


@dataclass(frozen=True)
class Wall:
    """The security group of our machines in one region: they dial out, and nobody dials in."""

    calls: Calls
    region: str
    name: str
    vpc: str
    owner: str
    kind = "security group"

    @property
    def key(self) -> str:
        return f"security group {self.name} in {self.region}"

    @property
    def about(self) -> str:
        return f"in {self.region}, {self.vpc}; no inbound rule"

    def whose(self) -> str | None:
        found = self._find()
        return None if found is None else tags.read(found.get("Tags")).get(tags.SETUP, "")

    def make(self) -> str:
        found = self._find()
        if found is None:
            about = "cryoburst: machines that only dial out"
            mine = [{"ResourceType": "security-group", "Tags": _tag(self.owner)}]
            named = {"GroupName": self.name, "Description": about, "VpcId": self.vpc}
            found = self.calls.ask("ec2", self.region, "create_security_group", **named, TagSpecifications=mine)
        group = str(found["GroupId"])
        if rules := found.get("IpPermissions"):
            self.calls.ask("ec2", self.region, "revoke_security_group_ingress", GroupId=group, IpPermissions=rules)
        return group

    def remove(self) -> None:
        found = self._find()
        if found is not None:
            try:
                self.calls.ask("ec2", self.region, "delete_security_group", GroupId=str(found["GroupId"]))
            except Missing:
                return

    def _find(self) -> dict[str, Any] | None:
        filters = [{"Name": "group-name", "Values": [self.name]}, {"Name": "vpc-id", "Values": [self.vpc]}]
        pages = self.calls.pages("ec2", self.region, "describe_security_groups", "SecurityGroups", Filters=filters)
        return next(pages, None)


def machine_policy(partition: str, bucket: str, prefix: str) -> dict[str, Any]:
    """What the machines' role may do: read the store, write what jobs make. What home alone writes it may not touch:
    what was asked for, records, projects, the agent."""
    store = f"arn:{partition}:s3:::{bucket}"
    homes = ("agent/*", "runs/*", "records/*", "projects/*", "*/project/*", "*/inputs/*", "*/spec.json", "*/stop.json")
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": store, "Condition": _below(prefix)},
            {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{store}/{prefix}*"},
            {"Effect": "Deny", "Action": "s3:PutObject", "Resource": [f"{store}/{prefix}{each}" for each in homes]},
        ],
    }


def _below(prefix: str) -> dict[str, Any]:
    return {"StringLike": {"s3:prefix": [f"{prefix}*"]}}


def _service(partition: str) -> str:
    return "ec2.amazonaws.com.cn" if partition == "aws-cn" else "ec2.amazonaws.com"


def _tag(owner: str) -> list[tags.Tag]:
    return tags.listed({tags.SETUP: owner})
