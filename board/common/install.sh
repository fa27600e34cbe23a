#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Install the parrot on a board that runs: Debian 12, Armbian or Raspberry Pi OS of that generation, arm64.
#
#     sudo sh install.sh BOARD        rk3588, raspberrypi, or the path of your own .toml
#
# What it writes: /opt/parrot, /usr/lib/parrot, the unit parrot.service, udev rules. The soul is
# /var/lib/parrot/soul.db. A second run replaces the release and keeps the soul.
set -eu
root=${DESTDIR:-}
board=${1:-}
here=$(cd "$(dirname "$0")" && pwd)
stop() {
    echo "install: $*" >&2
    exit 1
}

[ -n "$board" ] || stop "no board named, expected rk3588, raspberrypi or a .toml; run: sudo sh install.sh rk3588"
if [ -z "$root" ]; then
    [ "$(id -u)" = 0 ] || stop "not root; run: sudo sh install.sh $board"
    [ "$(uname -m)" = aarch64 ] || stop "this machine is $(uname -m), expected aarch64; take another archive."
    command -v systemctl >/dev/null || stop "no systemd here; see board/UPDATES.md for what has to start."
    python=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])') || stop "no python3; run: apt install python3"
    [ "$python" = 3.11 ] || stop "Python is $python, expected 3.11; install Debian 12's generation, or with pip."
fi
version=$(ls "$here/files/opt/parrot/releases")
profiles=$here/files/opt/parrot/releases/$version/lib/parrot/assets/boards
mine=
case $board in
*.toml) # the service does not see /home: it gets a copy
    [ -f "$board" ] || stop "$board: no such file, expected a board's .toml; see board/README.md."
    mine=$board board=/usr/lib/parrot/board.toml
    ;;
*) [ -f "$profiles/$board.toml" ] ||
    stop "$board: no such board, expected one of $(basename -s .toml "$profiles"/*.toml | xargs) or a .toml; choose one." ;;
esac
mkdir -p "$root/opt/parrot/releases" "$root/var/lib/parrot" "$root/usr/local/bin"
rm -rf "$root/opt/parrot/releases/$version"
(cd "$here/files" && tar -cf - .) | (cd "$root/" && tar --no-same-owner -xf -)
ln -sfn "releases/$version" "$root/opt/parrot/current"
ln -sfn /opt/parrot/current/bin/parrot "$root/usr/local/bin/parrot"
[ -z "$mine" ] || cp "$mine" "$root$board"
echo "PARROT_BOARD=$board" >"$root/usr/lib/parrot/board.env"
sync
if [ -z "$root" ]; then
    getent group i2c >/dev/null || groupadd --system i2c
    getent group gpio >/dev/null || groupadd --system gpio
    modprobe i2c-dev || echo "install: no i2c-dev in this kernel; the panel needs it." >&2
    udevadm control --reload
    systemctl daemon-reload
    systemctl enable parrot.service
    systemctl restart parrot.service
fi
echo "parrot $version is installed for $board. It starts with the board; see it with: journalctl -fu parrot"
