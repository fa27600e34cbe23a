# SPDX-License-Identifier: Apache-2.0
"""English commands by pocketsphinx, for boards where onnxruntime has no build (musl).

It hears only what its grammar says: a JSGF file the owner may replace. That is little, and right.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from parrot.base.audio import Samples, pcm16
from parrot.base.errors import EngineError, FormatError
from parrot.senses.recognizer import check_length

GRAMMAR = """#JSGF V1.0;
grammar parrot;
public <command> = <greeting> | <wish> | <answer>;
<greeting> = hello | hello parrot | good morning | good night | goodbye | thank you;
<wish> = tell me a story | tell me a joke | sing a song | how are you | what is your name |
         what do you remember | go to sleep | wake up | stop | say it again;
<answer> = yes | no | good | bad | i am happy | i am sad | i am tired | i love you;
"""


class Sphinx:
    """A recognizer of the phrases in `grammar`."""

    languages: tuple[str, ...] = ("en",)

    def __init__(self, grammar: Path | None = None) -> None:
        try:
            import pocketsphinx
        except ImportError as exc:
            raise EngineError(
                "pocketsphinx: not installed, expected where onnxruntime cannot run; run: "
                "pip install 'parrot-companion[sphinx]'."
            ) from exc
        self._decoder = pocketsphinx.Decoder(lm=None, loglevel="FATAL")
        text = grammar.read_text() if grammar else GRAMMAR
        try:
            self._decoder.add_jsgf_string("parrot", text)
            self._decoder.activate_search("parrot")
        except (RuntimeError, ValueError, KeyError) as exc:
            raise FormatError(
                f"{grammar}: not a grammar pocketsphinx can read ({exc}); see JSGF.", path=grammar
            ) from exc

    def recognize(self, samples: Samples, is_aborted: Callable[[], bool] | None = None) -> str:
        check_length(samples)
        if not len(samples):
            return ""
        self._decoder.start_utt()
        self._decoder.process_raw(pcm16(samples), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return str(heard.hypstr) if heard else ""
