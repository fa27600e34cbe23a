# SPDX-License-Identifier: Apache-2.0
"""Pack a release for OpenWrt: an .ipk for opkg (up to 24.10), a tarball with installer for all.

Both put the same files in place: a release below /opt/parrot (board/UPDATES.md), a service of
procd, its settings in UCI, and what sysupgrade keeps. Python and numpy come from OpenWrt's feed.
One .ipk serves all routers of one processor: `preinst` looks at the machine. The same wheels give
the same bytes.

examples:
  python -m tools.wheels --target aarch64-linux-musl --out dist
  pip download --no-deps --dest pure smbus2
  python -m tools.openwrt --target aarch64-linux-musl --with pure --out dist dist
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from parrot.base.errors import ConfigError, ParrotError
from parrot.base.files import replace_file
from tools.archive import Entry, gzip_of, tar_of
from tools.cross import TARGETS, Target, target_of
from tools.release import COMMON, own_wheel, release_of, version_of

BOARD = Path(__file__).parents[1] / "board" / "openwrt"
MUSL = [name for name, target in TARGETS.items() if target.is_musl]
_LOADERS = {
    "x86_64": "ld-musl-x86_64.so.1",
    "aarch64": "ld-musl-aarch64.so.1",
    "armv7l": "ld-musl-armhf.so.1",
    "riscv64": "ld-musl-riscv64.so.1",
}
_KEPT = "/etc/parrot/\n/etc/config/parrot\n"


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    try:
        target = target_of(args.target)
        if not target.is_musl:
            raise ConfigError(
                f"--target {target.name}: OpenWrt is musl; expected {', '.join(MUSL)}."
            )
        more = sorted(args.more.glob("*.whl")) if args.more else []
        release = release_of([own_wheel(args.wheels, target), *more], target)
        version = version_of(release)
        made = {
            f"parrot_{version}-1_{target.processor}.ipk": ipk_of(release, target),
            f"parrot-{version}-openwrt-{target.processor}.tar.gz": tarball_of(release, target),
        }
        args.out.mkdir(parents=True, exist_ok=True)
        for name, blob in made.items():
            replace_file(args.out / name, blob)
    except ParrotError as exc:
        print(f"openwrt: {exc}", file=sys.stderr)
        return 1
    sizes = {name: len(blob) for name, blob in made.items()}
    words = "\n".join(f"{name}  {size:,} bytes" for name, size in sizes.items())
    print(json.dumps({"made": sizes}) if args.json else words)
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.openwrt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("wheels", type=Path, metavar="DIST", help="the folder that tools.wheels wrote")
    add("--target", required=True, metavar="NAME", help=f"one of {', '.join(MUSL)}")
    add("--with", type=Path, dest="more", metavar="DIR", help="further wheels that no feed brings")
    add("--out", type=Path, required=True, metavar="DIR", help="where the two files go")
    add("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def files_of(release: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return every file as it lies on the router; what links to what is made by `settle`."""
    home = f"opt/parrot/releases/{version_of(release)}"
    return {
        **{f"{home}/{name}": entry for name, entry in release.items()},
        "opt/parrot/start": Entry((COMMON / "start").read_bytes(), 0o755),
        "etc/init.d/parrot": Entry((BOARD / "parrot.init").read_bytes(), 0o755),
        "etc/config/parrot": Entry((BOARD / "parrot.config").read_bytes(), 0o600),
        "lib/upgrade/keep.d/parrot": Entry(_KEPT.encode()),
    }


def script(name: str, release: Mapping[str, Entry], target: Target) -> Entry:
    """Return a script of board/openwrt, its @WORDS@ filled in."""
    text = (BOARD / name).read_text()
    words = {
        "PROCESSOR": target.processor,
        "LOADER": _LOADERS[target.processor],
        "VERSION": version_of(release),
    }
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return Entry(text.encode(), 0o755)


def ipk_of(release: Mapping[str, Entry], target: Target) -> bytes:
    """Return the .ipk: a gzip'd tar of debian-binary, data.tar.gz and control.tar.gz.

    Source: OpenWrt's scripts/ipkg-build; opkg reads the same order.
    """
    data = tar_of(files_of(release), "./")
    control = {
        "Package": "parrot",
        "Version": f"{version_of(release)}-1",
        "Depends": "libc, python3, python3-numpy",
        "Source": "parrot",
        "License": "Apache-2.0",
        "Section": "utils",
        "Architecture": "all",  # of one processor; preinst looks
        "Installed-Size": str(len(data)),
        "Description": "An offline talking companion whose state is never reset.",
    }
    lines = "".join(f"{key}: {value}\n" for key, value in control.items())
    about = {
        "control": Entry(lines.encode()),
        "conffiles": Entry(b"/etc/config/parrot\n"),
        "preinst": script("check", release, target),
        "postinst": _with_service(script("settle", release, target), "enable", "restart"),
        "prerm": script("clear", release, target),
    }
    whole = {
        "debian-binary": Entry(b"2.0\n"),
        "data.tar.gz": Entry(gzip_of(data)),
        "control.tar.gz": Entry(gzip_of(tar_of(about, "./"))),
    }
    return gzip_of(tar_of(whole, "./", first="debian-binary"))


def _with_service(entry: Entry, *actions: str) -> Entry:
    """Let a script do `actions` with the service at its end, on a running router."""
    head, end = entry.data.decode().rsplit("exit 0\n", 1)
    calls = " && ".join(f"/etc/init.d/parrot {action}" for action in actions)
    return Entry(f'{head}[ -n "$IPKG_INSTROOT" ] || {{ {calls}; }}\nexit 0\n{end}'.encode(), 0o755)


def tarball_of(release: Mapping[str, Entry], target: Target) -> bytes:
    """Return the tarball: install.sh, its scripts, and the files."""
    entries = {f"files/{name}": entry for name, entry in files_of(release).items()}
    for name in ("check", "settle", "clear", "install.sh"):
        entries[name] = script(name, release, target)
    return gzip_of(tar_of(entries, f"parrot-{version_of(release)}/"))


if __name__ == "__main__":
    sys.exit(main())
