"""The first program of a rented machine: ``boot.py`` sends its text as user data, and cloud-init runs it as root.

timer SECONDS TOKEN TEXT   starts what turns the machine off after so many seconds, before anything else is done;
                           TEXT is this program
start                      goes on in the background, where the end of cloud-init does not end it
keep                       scratch disks, programs, the agent's archive; then the agent, as a user of its own; then off

Standard library only, and nothing of cryoburst: it brings cryoburst. However it ends, the machine is turned off, and
the provider takes that for the machine's end. It writes below NOTES and the order's scratch folder, nowhere else.
"""
# ruff: noqa: PTH103, PTH110, PTH112, PTH123, PTH208, S310 - plain Python, for any image

import contextlib
import ctypes
import hashlib
import hmac
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from typing import Any

NOTES = "/var/lib/cryoburst"
SERVICE = "169.254.169.254"  # the machine's metadata service
USER = "cryoburst"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEVER = -1000  # killed when memory runs out
TRIES, WAIT = 5, 10.0  # of what needs the network, and s between two of them
WEEKS = 2_000_000  # s: about the most that the kernel can multiply by its ticks
OLDEST = (3, 11)  # Python, for the agent
LOCAL = "Amazon EC2 NVMe Instance Storage"


def main(words: list[str]) -> None:
    """Do one verb."""
    if words[0] == "timer":
        timer(float(words[1]), words[2], words[3])
    else:
        with open(f"{NOTES}/order.json") as file:
            order = json.load(file)
        start() if words[0] == "start" else keep(order)


def say(text: str) -> None:
    """A line on the machine's console, which home can read."""
    print(f"cryoburst: {text}", flush=True)


def timer(seconds: float, token: str, text: str) -> None:
    """Leave a process behind that turns the machine off. One that boots a second time has nothing to do, and goes off:
    what it made whole is in the store, and its run goes on elsewhere."""
    os.makedirs(NOTES, mode=0o700, exist_ok=True)
    booted = f"{NOTES}/booted"
    if os.path.exists(booted):
        with open(booted) as file:
            again = file.read() == token  # else it was made from an image of such a machine
        if again:
            off()
    end = time.monotonic() + seconds
    for name, content in (("booted", token), ("boot.py", text), ("end", str(end))):
        with open(f"{NOTES}/{name}", "w") as file:
            file.write(content)
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    oom_score(NEVER)
    for descriptor in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    while time.monotonic() < end:
        time.sleep(max(0.0, min(60.0, end - time.monotonic())))
    off()


def start() -> None:
    """Carry on as a unit of systemd's that ends with the machine's end; without systemd as a process of its own."""
    program = [sys.executable, f"{NOTES}/boot.py"]
    if os.path.isdir("/run/systemd/system"):
        # One process of the job that takes too much memory must not take the others along.
        settings = ["OOMPolicy=continue", "StandardOutput=journal+console", "StandardError=journal+console"]
        # Not our own ``off``, which waits: systemd, on its way down, would wait for it in turn, and the bill goes on.
        settings.append(f"ExecStopPost={shutil.which('systemctl')} --no-block poweroff")
        unit = ["systemd-run", "--unit=cryoburst", "--no-block", *(f"--property={each}" for each in settings)]
        if subprocess.call([*unit, *program, "keep"]) == 0:
            return
    subprocess.Popen([*program, "keep"], stdin=subprocess.DEVNULL, start_new_session=True)


def keep(order: dict[str, Any]) -> None:
    """Everything from here to the machine's end."""
    try:
        oom_score(NEVER)
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: whoever outlives its parent is waited for
        if sys.version_info < OLDEST:
            raise OSError(f"the agent needs Python 3.11, and this image has {sys.version.split()[0]}")
        root = order["root"]
        make_scratch(root, order["local"])
        let_openers_wait()
        install(order["software"])
        if shutil.disk_usage(root).free < order["disk"]:
            raise OSError(f"{root} has {shutil.disk_usage(root).free} bytes free, and the job needs {order['disk']}")
        carry(order, fetch(order))
    except Exception as error:  # noqa: BLE001 - whatever it is, the console says it and the machine goes off
        say(f"this machine can't do its work: {type(error).__name__}: {error}")
    finally:
        say("turning off")
        off()


# ---------------------------------------------------------------------------------------------------------- disks


def make_scratch(root: str, local: bool) -> None:
    """The folder that everything happens in: on the machine's own disks where it has some, several of them as one."""
    os.makedirs(root, exist_ok=True)
    disks = local_disks() if local else []
    if not disks or os.path.ismount(root):
        return
    device = disks[0]
    if len(disks) > 1:
        if not shutil.which("mdadm"):
            apt_install(["mdadm"])
        device = "/dev/md/cryoburst"
        striped = ["mdadm", "--create", device, "--run", "--force", "--level=0", f"--raid-devices={len(disks)}"]
        run([*striped, *disks])
    run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard,lazy_itable_init=1", device])
    run(["mount", "-o", "noatime", device, root])
    say(f"scratch on {len(disks)} local disks: {shutil.disk_usage(root).total / 1e9:.0f} GB")


def local_disks(blocks: str = "/sys/block") -> list[str]:
    """The machine's own NVMe disks; a network disk has another model."""
    found: list[str] = []
    for name in sorted(os.listdir(blocks)):
        with contextlib.suppress(OSError), open(f"{blocks}/{name}/device/model") as file:
            if file.read().strip() == LOCAL:
                found.append(f"/dev/{name}")
    return found


def let_openers_wait() -> None:
    """Let whoever opens an input that is still coming wait for it as long as it takes (``agent.promised``)."""
    with contextlib.suppress(OSError), open("/proc/sys/fs/lease-break-time", "w") as file:
        file.write(str(WEEKS))


# ------------------------------------------------------------------------------------------------------- programs


def install(software: list[dict[str, Any]]) -> None:
    """Bring the programs that the image lacks: of each its name on PATH, package sources, packages, commands."""
    for recipe in software:
        if shutil.which(recipe["program"]):
            continue
        say(f"installing {' '.join(recipe['packages'])}")
        if recipe["sources"]:
            with open("/etc/apt/sources.list.d/cryoburst.list", "w") as file:
                file.write("".join(f"{line}\n" for line in recipe["sources"]))
        apt_install([package.replace("KERNEL", os.uname().release) for package in recipe["packages"]])
        for command in recipe["commands"]:
            run(command)
        if not shutil.which(recipe["program"]):
            raise OSError(f"{recipe['program']} is still not there")


def apt_install(packages: list[str]) -> None:
    """Debian's packages. Tried again, because mirrors and the boot's own apt get in the way."""
    apt = ["apt-get", "-y", "-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]
    for left in reversed(range(TRIES)):
        try:
            run([*apt, "update"])
            run([*apt, "install", "--no-install-recommends", *packages])
            return
        except subprocess.CalledProcessError:
            if not left:
                raise
            time.sleep(WAIT)


def run(command: list[str]) -> None:
    """A program that must succeed; what it prints is kept, and its end said when it fails."""
    with open(f"{NOTES}/log", "a+") as log:
        ended = subprocess.call(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive", "LANG": "C.UTF-8", "HOME": "/root"},
        )
    if ended:
        with open(f"{NOTES}/log", errors="replace") as log:
            say(" | ".join(line.strip() for line in log.readlines()[-3:]))
        raise subprocess.CalledProcessError(ended, command)


# ------------------------------------------------------------------------------------------------------ the agent


def fetch(order: dict[str, Any]) -> str:
    """The agent's archive out of the store, checked against the order; its path."""
    data = b""
    for left in reversed(range(TRIES * 6)):
        try:
            data = answer_to(signed(order), 60)
            if f"sha256:{hashlib.sha256(data).hexdigest()}" != order["checksum"]:
                raise OSError("the agent's archive is not the one that was promised")
            break
        except OSError as error:
            say(f"the agent's archive: {error}")
            if not left:
                raise
            time.sleep(WAIT)
    path = f"{order['root']}/agent.pyz"
    with open(path, "wb") as file:
        file.write(data)
    return path


def signed(order: dict[str, Any]) -> urllib.request.Request:
    """The request for the archive, signed by "AWS Signature Version 4" (SigV4) as S3 wants it."""
    key = credential(order)
    host, base, path = order["host"], order["base"], urllib.parse.quote(order["path"])
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    headers = {"host": host, "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(), "x-amz-date": stamp}
    if key.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = key["AWS_SESSION_TOKEN"]
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    asked = f"GET\n{path}\n\n{lines}\n{names}\n{headers['x-amz-content-sha256']}"
    scope = f"{stamp[:8]}/{order['region']}/s3/aws4_request"
    digest = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    secret = f"AWS4{key['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), digest):
        secret = hmac.new(secret, part.encode(), "sha256").digest()
    scoped = f"{key['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scoped}, SignedHeaders={names}, Signature={secret.hex()}"
    return urllib.request.Request(f"{base}{path}", headers=headers)


def credential(order: dict[str, Any]) -> dict[str, str]:
    """What the order has, or the machine's own role."""
    if order["credential"]:
        return order["credential"]

    def ask(method: str, path: str, headers: dict[str, str]) -> str:
        url = f"http://{SERVICE}/latest/{path}"
        return answer_to(urllib.request.Request(url, headers=headers, method=method), 5).decode()

    token = ask("PUT", "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"})
    mine = {"X-aws-ec2-metadata-token": token}
    role = ask("GET", "meta-data/iam/security-credentials/", mine).split()[0]
    found = json.loads(ask("GET", f"meta-data/iam/security-credentials/{role}", mine))
    names = {"AWS_ACCESS_KEY_ID": "AccessKeyId", "AWS_SECRET_ACCESS_KEY": "SecretAccessKey"}
    return {name: found[key] for name, key in {**names, "AWS_SESSION_TOKEN": "Token"}.items()}


def answer_to(asked: urllib.request.Request, seconds: float) -> bytes:
    """What a server answers, without any proxy. Raises OSError."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=seconds) as answer:
        return answer.read()


def carry(order: dict[str, Any], archive: str) -> None:
    """Run the agent as a user of its own until it, and whoever saves what it left, has ended."""
    try:
        pwd.getpwnam(USER)
    except KeyError:
        run(["useradd", "--create-home", "--shell", "/bin/bash", USER])
    user, root = pwd.getpwnam(USER), order["root"]
    for path in (root, archive):
        os.chown(path, user.pw_uid, user.pw_gid)
    with open(f"{NOTES}/end") as file:
        seconds = float(file.read()) - time.monotonic()
    known = {"PATH": PATH, "LANG": "C.UTF-8", "USER": USER, "HOME": user.pw_dir, **order["environment"]}
    words = ["machine", order["store"], order["prefix"], root, order["token"], str(seconds)]
    say("the agent starts")
    oom_score(0)  # the job may be killed when memory runs out, and we not
    subprocess.Popen(
        [sys.executable, "-I", "-S", archive, *words],
        stdin=subprocess.DEVNULL,
        cwd=root,
        env={**known, **order["credential"]},
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
    )
    oom_score(NEVER)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


# ------------------------------------------------------------------------------------------------------- the end


def oom_score(score: int) -> None:
    """How soon this process, and those that it starts from now on, are killed when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(score))


def off() -> None:
    """Turn the machine off; does not return."""
    os.sync()
    if os.path.isdir("/run/systemd/system"):
        subprocess.call(["systemctl", "--no-block", "poweroff"])
        time.sleep(90)
    while True:
        ctypes.CDLL(None).reboot(0x4321FEDC)  # reboot(2), LINUX_REBOOT_CMD_POWER_OFF; in a namespace it ends that
        time.sleep(5)


if __name__ == "__main__":
    main(sys.argv[1:])
