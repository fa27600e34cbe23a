# SPDX-License-Identifier: Apache-2.0
"""Build the corpus: texts named in a TOML file become shards of framed bytes, with a manifest.

    python -m tools.corpus tools/mix/parrot.toml --root corpus=DIR --root school=DIR --out DIR

A shard `NAME.bin` is documents one after the other, shuffled, each ended by 0x00 (design, section
3); `heldout/NAME.bin` the same for what is never trained on. `manifest.json` names for each shard
its source, licence, share, and the hashes of what went in and came out. A training document that
shares half of its 32-byte windows with held-out text is dropped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from parrot.base.errors import ConfigError, CorruptError, FileError, ParrotError
from parrot.base.files import file_error, replace_file
from parrot.base.text import COMPANION, END_OF_DOCUMENT, END_OF_TURN, PARROT, RECALLED
from tools.corpus_read import Record, read_records
from tools.neardup import Windows

HELD_EVERY, HELD_AT = 20, 19  # of a file written by hand, items 19, 39, ... are held out
NEAR = 0.5  # of a document's windows also in held-out text: it is dropped
ROLES = {"user": COMPANION, "assistant": PARROT, "memory": RECALLED}


@dataclass(frozen=True)
class Source:
    """One shard as the TOML file describes it."""

    name: str
    root: str
    files: tuple[str, ...]
    licence: str
    origin: str
    where: dict[str, list[str]]  # keep records whose field has one of these values
    reading: str = "any"  # "easy" or "hard": keep what our measure calls so
    longer: int = 0  # keep texts of at least so many bytes,
    shorter: int = 1 << 40  # and below so many
    hold: bool = False  # hold out every twentieth item of each file
    heldout: bool = False  # all of it is held out


def frame(record: Record) -> bytes:
    """A record as the model sees it; the closing 0x00 is not part of it."""
    if record.text is not None:
        return record.text.encode()
    parts = [ROLES[role] + text.encode() + END_OF_TURN for role, text in record.turns]
    return b"".join(parts)


def load_mix(path: Path) -> list[Source]:
    """The sources of a TOML file, checked."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as exc:
        raise file_error(path, exc, "read") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}, expected TOML; mend the file.", path=path) from exc
    entries = table.get("source")
    if set(table) != {"source"} or not entries:
        raise ConfigError(f"{path}: expected [[source]] entries only; mend the file.", path=path)
    sources = [_source(path, entry) for entry in entries]
    names = [(s.name, s.heldout) for s in sources]
    for name, heldout in names:
        if names.count((name, heldout)) > 1:
            raise ConfigError(f"{path}: two sources are named {name}; rename one.", path=path)
    return sources


def _source(path: Path, entry: dict[str, Any]) -> Source:
    known = {f.name for f in fields(Source)}
    if unknown := set(entry) - known:
        key = sorted(unknown)[0]
        raise ConfigError(
            f"{path}: {key} is not a key of [[source]], expected {', '.join(sorted(known))}; "
            "remove or rename it.",
            path=path,
            key=key,
        )
    values = {"where": {}, **entry}
    if missing := {"name", "root", "files", "licence", "origin"} - set(values):
        key = sorted(missing)[0]
        raise ConfigError(f"{path}: a [[source]] has no {key}; add it.", path=path, key=key)
    values["files"] = tuple(values["files"])
    return Source(**values)


def collect(source: Source, roots: dict[str, Path]) -> tuple[list[bytes], list[bytes], list[dict]]:
    """Documents to train on, documents held out, and the files they came from."""
    if source.root not in roots:
        raise ConfigError(
            f"{source.name}: no folder was given for {source.root}, expected "
            f"--root {source.root}=DIR; name it.",
            key=source.root,
        )
    train: list[bytes] = []
    held: list[bytes] = []
    inputs: list[dict] = []
    for pattern in source.files:
        for path, member in _matches(roots[source.root], pattern):
            records, entry = read_records(path, member)
            inputs.append(entry)
            for i, record in enumerate(records):
                if not _wanted(source, record):
                    continue
                aside = source.heldout or (source.hold and i % HELD_EVERY == HELD_AT)
                (held if aside else train).append(frame(record))
    if not train and not held:
        raise CorruptError(f"{source.name}: nothing in its files fits it; check its filters.")
    return train, held, inputs


def _matches(root: Path, pattern: str) -> list[tuple[Path, str]]:
    """Files under root; `archive.tar.xz:member` names one member."""
    name, _, member = pattern.partition(":")
    found = sorted(root.glob(name))
    if not found:
        raise FileError(f"{root / name}: no such file; check the folder given.", path=root / name)
    return [(path, member) for path in found]


def _wanted(source: Source, record: Record) -> bool:
    if any(record.fields.get(key) not in values for key, values in source.where.items()):
        return False
    if not source.longer <= record.size < source.shorter:
        return False
    return source.reading == "any" or (source.reading == "easy") == record.easy()


def build(mix: Path, roots: dict[str, Path], out: Path, seed: int) -> dict[str, Any]:
    """Write shards and manifest to `out`; the manifest."""
    sources = load_mix(mix)
    (out / "heldout").mkdir(parents=True, exist_ok=True)
    collected = [(source, *collect(source, roots)) for source in sources]
    windows = Windows(b for _, _, held, _ in collected for b in held)
    shards: list[dict[str, Any]] = []
    seen: set[bytes] = set()
    for source, train, held, inputs in collected:
        clean, dropped = _distinct(train, seen)
        near = windows.share_of(clean)
        kept = [d for d, share in zip(clean, near, strict=True) if share < NEAR]
        about = {"source": source.name, "licence": source.licence, "origin": source.origin}
        entry = about | {"inputs": inputs, "repeated": dropped, "near": len(clean) - len(kept)}
        shards += [entry | _write(out, source.name, kept, seed)] if kept else []
        shards += [about | _write(out / "heldout", source.name, held, seed)] if held else []
    total = sum(s["bytes"] for s in shards if "inputs" in s)
    for shard in shards:
        shard["share"] = round(shard["bytes"] / total, 5) if "inputs" in shard else 0.0
    manifest = {"mix": mix.name, "seed": seed, "bytes": total, "shards": shards}
    replace_file(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode())
    return manifest


def _distinct(documents: list[bytes], seen: set[bytes]) -> tuple[list[bytes], int]:
    """Each document once, over all shards; and how many were repeats."""
    kept = []
    for document in documents:
        key = hashlib.blake2b(document, digest_size=12).digest()
        if key not in seen:
            seen.add(key)
            kept.append(document)
    return kept, len(documents) - len(kept)


def _write(folder: Path, name: str, documents: list[bytes], seed: int) -> dict[str, Any]:
    order = np.random.default_rng((seed, *name.encode())).permutation(len(documents))
    blob = b"".join(documents[i] + END_OF_DOCUMENT for i in order)
    path = folder / f"{name}.bin"
    replace_file(path, blob)
    return {
        "file": str(path.relative_to(folder.parent if folder.name == "heldout" else folder)),
        "documents": len(documents),
        "bytes": len(blob),
        "sha256": hashlib.sha256(blob).hexdigest(),
    }


def report(manifest: dict[str, Any]) -> Iterator[str]:
    """The manifest as a table."""
    yield f"{'shard':28} {'documents':>9} {'bytes':>11} {'share':>7} {'near':>6} {'again':>6}"
    for s in manifest["shards"]:
        yield (
            f"{s['file']:28} {s['documents']:9,} {s['bytes']:11,} {s['share']:7.2%} "
            f"{s.get('near', 0):6,} {s.get('repeated', 0):6,}"
        )


def parse_roots(pairs: list[str]) -> dict[str, Path]:
    """--root NAME=DIR, and PARROT_CORPUS for the one named corpus."""
    roots: dict[str, Path] = {}
    if os.environ.get("PARROT_CORPUS"):
        roots["corpus"] = Path(os.environ["PARROT_CORPUS"])
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not equals or not folder:
            raise ConfigError(f"--root {pair}: expected NAME=DIR; write it so.", key="root")
        roots[name] = Path(folder)
    return roots


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.corpus", description=__doc__)
    parser.add_argument("mix", type=Path, help="TOML file that names the sources")
    parser.add_argument("--root", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    try:
        manifest = build(args.mix, parse_roots(args.root), args.out, args.seed)
    except ParrotError as exc:
        print(exc, file=sys.stderr)
        return 1
    print("\n".join(report(manifest)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
