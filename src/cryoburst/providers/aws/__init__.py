"""AWS: machines of EC2, their prices, and what is set up for them once."""

from cryoburst.providers.aws.provider import AwsProvider

__all__ = ["AwsProvider"]
