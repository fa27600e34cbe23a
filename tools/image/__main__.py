# SPDX-License-Identifier: Apache-2.0
"""Build what is flashed: an image of a board, from Debian's packages and this parrot.

examples:
  python -m tools.image build --board raspberrypi --out images
  python -m tools.image build --board qemu --voice ~/.local/share/parrot/speech
  python -m tools.image build --board rk3588 --armbian Armbian_24.11_Rock-5b_bookworm.img
  python -m tools.image installer --out images     for a board that runs Debian or Armbian already
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from parrot.base.errors import ParrotError
from parrot.base.files import replace_file
from tools.image import armbian, installer
from tools.image.apps import pure_wheels
from tools.image.build import Built, build, build_bare, say
from tools.image.pack import pack
from tools.image.recipe import names, recipe

CACHE = Path("/var/tmp/parrot-image")


def main(arguments: Sequence[str] | None = None) -> int:
    args = parse(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        if args.action == "installer":
            print(installer.build(args.cache, args.out))
        elif args.action == "bare":
            print(build_bare(recipe(args.board), args.cache, args.out))
        elif args.board == "openwrt":
            return build_openwrt(args)
        else:
            finish(build_board(args), args)
    except ParrotError as exc:
        print(f"image: {exc}", file=sys.stderr)
        return 1
    return 0


def build_board(args: argparse.Namespace) -> Built:
    if args.board == "rk3588":
        return armbian.build(args.armbian, args.overlay, args.cache, args.out)
    return build(recipe(args.board), args.cache, args.out, args.voice)


def build_openwrt(args: argparse.Namespace) -> int:
    """Leave routers to tools.openwrt, with wheels made for them."""
    wheels = args.out / "wheels"
    for tool, words in (
        ("tools.wheels", []),
        ("tools.openwrt", ["--with", str(pure_wheels(args.cache)), str(wheels)]),
    ):
        out = wheels if tool == "tools.wheels" else args.out
        line = [sys.executable, "-m", tool, "--target", args.target, "--out", str(out), *words]
        if code := subprocess.run(line, check=False).returncode:
            return code
    return 0


def finish(built: Built, args: argparse.Namespace) -> None:
    """Write what tells two images apart, and pack the image."""
    replace_file(built.image.with_suffix(".manifest.json"), built.manifest())
    replace_file(built.image.with_suffix(".files"), built.listing.encode())
    if args.raw:
        print(built.image)
        return
    say("packing")
    packed = pack(built.image)
    built.image.unlink()
    mb = packed.image.stat().st_size / 1e6
    print(f"{packed.image}  {mb:.0f} MB; write it with: parrot flash {packed.image}")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.image",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    one = actions.add_parser("build", help="an image of a board")
    one.add_argument("--board", required=True, choices=[*names(), "openwrt", "rk3588"])
    one.add_argument("--voice", type=Path, metavar="DIR", help="a folder of parrot speech install")
    one.add_argument("--armbian", type=Path, metavar="IMAGE", help="for rk3588: the image to use")
    one.add_argument("--overlay", metavar="NAME", help="for rk3588: the I2C overlay of your pins")
    one.add_argument("--raw", action="store_true", help="leave the image as it is, not packed")
    one.add_argument(
        "--target", default="aarch64-linux-musl", metavar="NAME", help="for openwrt: its processor"
    )
    compare = actions.add_parser("bare", help="the same Debian without a parrot, to compare")
    compare.add_argument("--board", required=True, choices=names())
    actions.add_parser("installer", help="an archive that installs itself on a running board")
    for action in actions.choices.values():
        action.add_argument("--cache", type=Path, default=CACHE, metavar="DIR")
        action.add_argument("--out", type=Path, default=Path("images"), metavar="DIR")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
