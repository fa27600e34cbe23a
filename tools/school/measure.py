# SPDX-License-Identifier: Apache-2.0
"""What the school has made: bytes per family, largest templates, distinct n-grams."""

from __future__ import annotations

from collections import Counter

from tools.school.document import Document

NGRAM_BYTES = 4_000_000  # n-grams are counted over the first bytes of each language


class Report:
    """Counts over documents as they are written."""

    def __init__(self) -> None:
        self.documents = 0
        self.bytes: Counter[str] = Counter()
        self.families: Counter[tuple[str, str]] = Counter()
        self.templates: Counter[str] = Counter()
        self.ngrams: dict[str, set[int]] = {"en": set(), "zh": set()}
        self.counted: Counter[str] = Counter()

    def add(self, document: Document) -> None:
        """Count one document."""
        text = document.text()
        size = len(text.encode())
        self.documents += 1
        self.bytes[document.lang] += size
        self.bytes["dialogue" if document.turns[0][0] != "N" else "prose"] += size
        self.families[document.lang, document.family] += size
        for template, share in document.shares:
            self.templates[template] += share
        if self.counted[document.lang] < NGRAM_BYTES:
            self.counted[document.lang] += size
            self.ngrams[document.lang].update(map(hash, ngrams(text, document.lang)))

    @property
    def total(self) -> int:
        """Bytes of text in both languages."""
        return self.bytes["en"] + self.bytes["zh"]

    def largest(self, count: int = 10) -> list[tuple[str, float]]:
        """The templates with the largest share of all bytes."""
        return [(t, size / max(1, self.total)) for t, size in self.templates.most_common(count)]

    def per_megabyte(self, lang: str) -> int:
        """Distinct n-grams a megabyte: words by four in English, characters by six in Chinese."""
        return round(len(self.ngrams[lang]) * 1e6 / max(1, self.counted[lang]))

    def lines(self) -> list[str]:
        """The report for people."""
        parts = sorted(self.bytes.items())
        kinds = ", ".join(f"{name} {size / 1e6:.2f} MB" for name, size in parts)
        out = [f"{self.documents} documents, {self.total / 1e6:.2f} MB: {kinds}"]
        for (lang, family), size in sorted(self.families.items(), key=lambda item: -item[1]):
            out.append(f"  {lang} {family:<12} {size / 1e3:9.0f} kB {size / self.total:7.2%}")
        for lang, what in (("en", "word 4-grams"), ("zh", "character 6-grams")):
            out.append(
                f"  {lang}: {self.per_megabyte(lang)} distinct {what} per MB "
                f"over {self.counted[lang] / 1e6:.1f} MB"
            )
        out.append("  largest templates (share of bytes):")
        out.extend(f"    {template:<32} {share:.3%}" for template, share in self.largest())
        return out


def ngrams(text: str, lang: str) -> list[tuple[str, ...]]:
    """Word 4-grams of English, character 6-grams of Chinese."""
    units = text.split() if lang == "en" else list(text)
    size = 4 if lang == "en" else 6
    return [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]
