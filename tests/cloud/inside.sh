#!/bin/sh
# The first process of a machine, in namespaces of its own (launch.py): it mounts the machine's root and becomes systemd.
#
#   inside.sh MACHINE ROOTFS        MACHINE is its folder: up/ work/ root/ cmdline
#
# systemd must not know that it is in a container, or cloud-init would not ask for EC2 at all. So whatever of this
# computer it could change is out of its reach: /proc/sys and /sys are read-only, there is no device but the harmless
# ones, and it lacks the rights to set the clock, load modules or make devices.
set -eu
machine=$1 rootfs=$2

mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$machine/up,workdir=$machine/work" "$machine/root"
cd "$machine/root"

mount -t proc -o nosuid,nodev,noexec proc proc
for path in proc/sys proc/sysrq-trigger; do
    [ -e "$path" ] || continue
    mount --bind "$path" "$path"
    mount -o remount,bind,ro "$path"
done
mount --bind "$machine/cmdline" proc/cmdline
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup

mount -t tmpfs -o mode=755,nosuid,size=1m tmpfs dev
for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
touch dev/console
mount --bind "$(tty)" dev/console
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run

pivot_root . mnt
cd /
umount -l /mnt
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    setpriv --bounding-set=-sys_time,-sys_module,-sys_rawio,-mknod,-syslog,-wake_alarm,-mac_admin,-mac_override,-bpf,-perfmon \
    /sbin/init
