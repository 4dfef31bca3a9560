"""The root file system that the emulated cloud's machines start from: Debian 12 as its cloud images are, and RELION.

Made once for a computer by mmdebstrap (two or three minutes and 510 MB), kept below the user's cache folder under a
name that holds the checksum of its recipe, and never written to afterwards: machines lay their own layer over it.

    python -m tests.cloud.rootfs        makes it if need be, and prints where it is
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

MIRROR, SUITE = "http://deb.debian.org/debian", "bookworm"
TIME = 1500.0  # s that the making may take on a slow line
PACKAGES = (
    # what Debian's own cloud images have
    "systemd-sysv", "dbus", "cloud-init", "openssh-server", "python3", "ca-certificates", "curl", "iproute2", "procps",
    "netbase", "sudo", "kmod", "mdadm", "xfsprogs", "e2fsprogs",
    # what our install recipe would bring; machines reach no package index here
    "relion", "openmpi-bin", "ghostscript",
)  # fmt: skip
# Units that speak to hardware, to the clock or to the kernel, which is this computer's own.
MASKED = (
    "systemd-udevd.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service", "systemd-timesyncd.service", "systemd-modules-load.service",
    "systemd-sysctl.service", "systemd-random-seed.service", "systemd-remount-fs.service", "systemd-pstore.service",
    "systemd-binfmt.service", "systemd-firstboot.service", "proc-sys-fs-binfmt_misc.automount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount", "dev-hugepages.mount", "dev-mqueue.mount", "getty@tty1.service",
    "getty-static.service", "console-getty.service", "serial-getty@.service", "apt-daily.timer",
    "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer", "mdmonitor.service",
    "mdcheck_start.timer", "mdcheck_continue.timer",
    # Ec2Local asks for an address by DHCP, for a minute; our machines have theirs when they start.
    "cloud-init-local.service",
)  # fmt: skip
# cloud-init finds EC2 by what the firmware says, and only where it is not in a container; here is no firmware, and
# systemd sees the namespaces: so these two say what they say on a Nitro instance.
DETECT = """#!/bin/sh
case " $* " in
*" -c "* | *" --container "*) answer=none ;;
*) answer=amazon ;;
esac
case " $* " in
*" -q "* | *" --quiet "*) ;;
*) echo $answer ;;
esac
[ $answer != none ]
"""
DMIDECODE = """#!/bin/sh
case "$*" in
*system-uuid* | *system-serial*) echo ec2f00d0-0000-4000-8000-000000000000 ;;
*) echo "Amazon EC2" ;;
esac
"""
CLOUD = """\
datasource_list: [Ec2]
datasource: {Ec2: {metadata_urls: ["http://169.254.169.254"], timeout: 5, max_wait: 20}}
network: {config: disabled}
locale: false
resize_rootfs: false
growpart: {mode: "off"}
ssh_genkeytypes: [ed25519]
apt: {preserve_sources_list: true}
"""
FILES = {
    "usr/bin/systemd-detect-virt": (DETECT, 0o755),
    "usr/sbin/dmidecode": (DMIDECODE, 0o755),
    "etc/cloud/cloud.cfg.d/99-emulated.cfg": (CLOUD, 0o644),
    "etc/cloud/ds-identify.cfg": ("policy: enabled\n", 0o644),
    "etc/machine-id": ("", 0o444),  # empty: systemd makes one, and does not take it for a first boot
    "etc/hostname": ("debian\n", 0o644),
    "etc/resolv.conf": ("", 0o644),
    "etc/fstab": ("", 0o644),
}
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")


def rootfs() -> Path:
    """The folder of the root file system, which is made when it is not there. Raises RuntimeError with the reason.

    Two at once make one: the second waits for the first.
    """
    made = cache() / f"rootfs-{recipe()}"
    if made.is_dir():
        return made
    with alone(cache() / "rootfs.lock"):
        if not made.is_dir():
            partial = made.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            print(f"making the machines' root file system in {made}, once; about two minutes", file=sys.stderr)
            bootstrap(partial)
            furnish(partial)
            partial.rename(made)
    return made


def cache() -> Path:
    given = os.environ.get("XDG_CACHE_HOME")
    return (Path(given) if given else Path.home() / ".cache") / "cryoburst"


def recipe() -> str:
    """A checksum of all that decides what is in it, but for Debian's own updates."""
    files = {name: list(value) for name, value in FILES.items()}
    text = json.dumps([MIRROR, SUITE, PACKAGES, MASKED, files, LEFT_OUT], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Nobody else is in here; ends with the process, however that ends."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def bootstrap(target: Path) -> None:
    words = [
        # What it mounts in there goes with its processes, however they end.
        "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc",
        "mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
        "--aptopt=Acquire::Retries 2",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        SUITE, str(target), MIRROR,
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, timeout=TIME, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-5:]
        raise RuntimeError(f"mmdebstrap made no root file system (no network?): {' / '.join(said)}")


def furnish(target: Path) -> None:
    """Write our own files, and take the units away that are not for a machine without hardware."""
    for name, (text, mode) in FILES.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(mode)
    for unit in MASKED:
        mask = target / "etc/systemd/system" / unit
        mask.unlink(missing_ok=True)
        mask.symlink_to("/dev/null")


if __name__ == "__main__":
    print(rootfs())
