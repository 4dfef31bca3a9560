"""The emulated cloud's fixtures, for the tests in this folder."""

from .fixtures import cloud, cloud_server  # noqa: F401
