"""Text to samples with espeak-ng, whose library and voices ship in the espeakng-loader wheel."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
from pathlib import Path

import numpy as np

from vaest.errors import MissingExtraError

RATE_HZ = 22050

# Values of the enumerations in espeak-ng's speak_lib.h.
_SYNCHRONOUS = 2
_RATE, _PITCH = 1, 3
_BY_CHARACTER = 1
_UTF8 = 1

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Espeak:
    """One speaker, who says the same sentences in the same order with the same samples.

    Every instance loads its own copy of the library: the synthesis goes on from call to call in
    static variables, which nothing short of a fresh copy resets.
    """

    def __init__(self, voice: str) -> None:
        try:
            import espeakng_loader
        except ImportError:
            raise MissingExtraError("espeakng-loader", "offline", "the demo corpus") from None
        self._library = _private_copy(Path(espeakng_loader.get_library_path()))
        data = espeakng_loader.get_data_path().encode()
        rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
        assert rate_hz == RATE_HZ, rate_hz
        # The clock seeds the breath of some voices otherwise.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        status = self._library.espeak_SetVoiceByName(voice.encode())
        assert status == 0, voice
        self._pieces: list[np.ndarray] = []
        self._callback = _Callback(self._collect)
        self._library.espeak_SetSynthCallback(self._callback)

    def say(self, text: str, words_per_minute: int, pitch: int) -> np.ndarray:
        """(n,) float32 in [-1, 1] at RATE_HZ. pitch in [0, 99], 50 is the voice's own."""
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        data = text.encode() + b"\0"
        self._pieces.clear()
        status = self._library.espeak_Synth(
            data, ctypes.c_size_t(len(data)), 0, _BY_CHARACTER, 0, _UTF8, None, None
        )
        assert status == 0, status
        return np.concatenate(self._pieces).astype(np.float32) / 2**15

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int) -> int:
        if samples and count:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0


def _private_copy(library: Path) -> ctypes.CDLL:
    # Windows keeps a loaded file open; there the copy stays behind.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return ctypes.CDLL(shutil.copy(library, folder))
