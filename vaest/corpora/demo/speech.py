"""What is said and when: words follow valence, the voice follows arousal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from vaest.corpora.demo.espeak import RATE_HZ, Espeak
from vaest.errors import MissingExtraError

VOICES = ("en-us", "en-us+f3", "en-us+m3", "en-us+f2", "en-us+m1")
# Among this many sentences of nearly the right sentiment one is drawn.
CHOICE = 10
PAUSE_S = (0.15, 0.4)
TYPICAL_SENTENCE_S = 2.0

THINGS = ("morning", "party", "journey", "movie", "weather", "evening", "dinner", "meeting")
WORDS = (
    *("good", "nice", "happy", "great", "wonderful", "beautiful", "perfect", "lovely", "fun"),
    *("bad", "sad", "awful", "terrible", "horrible", "boring", "painful", "lonely", "ugly"),
)
PAIRS = (
    *(("wonderful", "beautiful"), ("great", "happy"), ("nice", "lovely"), ("perfect", "great")),
    *(("terrible", "horrible"), ("awful", "sad"), ("bad", "ugly"), ("horrible", "cruel")),
    *(("good", "boring"), ("nice", "lonely"), ("bad", "funny"), ("long", "happy")),
)
FEELINGS = ("love", "enjoy", "like", "remember", "dislike", "fear", "hate")
NEUTRAL = (
    "We walked from the station to the river.",
    "The table is next to the window.",
    "She put the letter in the second drawer.",
    "The train leaves at a quarter past seven.",
    "There are four chairs in the kitchen.",
    "He read the report on Tuesday afternoon.",
    "They turned left at the next corner.",
    "The paper was on the wooden floor.",
)


@dataclass(frozen=True)
class Utterance:
    """compound: VADER's score of the text in [-1, 1]."""

    text: str
    start_s: float
    end_s: float
    compound: float


def speak(
    va_at: Callable[[np.ndarray], np.ndarray], duration_s: float, rng: np.random.Generator
) -> tuple[np.ndarray, list[Utterance]]:
    """(n,) float32 at RATE_HZ, duration_s long, and what is said in it.

    Per sentence, VADER's compound (Hutto and Gilbert, 2014) is near the valence, and pitch and
    rate rise with the arousal, of its middle; loudness follows arousal sample by sample.
    """
    voice = Espeak(VOICES[rng.integers(len(VOICES))])
    samples = np.zeros(round(duration_s * RATE_HZ), dtype=np.float32)
    said: list[Utterance] = []
    start_s = rng.uniform(0.1, 0.4)
    while start_s < duration_s - 1.0:
        valence, arousal = va_at(np.array([start_s + TYPICAL_SENTENCE_S / 2]))[0]
        text, compound = _sentence(valence, rng)
        sound = voice.say(
            text, words_per_minute=round(165 + 50 * arousal), pitch=round(50 + 40 * arousal)
        )
        first = round(start_s * RATE_HZ)
        sound = sound[: len(samples) - first]
        samples[first : first + len(sound)] = sound
        end_s = start_s + len(sound) / RATE_HZ
        said.append(Utterance(text, round(start_s, 3), round(end_s, 3), compound))
        start_s = end_s + rng.uniform(*PAUSE_S)
    return samples * _loudness(va_at, len(samples)), said


@cache
def sentences() -> tuple[tuple[str, float], ...]:
    """Every sentence with its VADER compound, sorted by it."""
    try:
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
    except ImportError:
        raise MissingExtraError("vaderSentiment", "offline", "the demo corpus") from None
    texts = {
        *NEUTRAL,
        *(f"The {thing} was {word}." for thing, word in product(THINGS, WORDS)),
        *(f"The {thing} was {a} and {b}." for thing, (a, b) in product(THINGS, PAIRS)),
        *(f"I {feeling} the {thing}." for thing, feeling in product(THINGS, FEELINGS)),
        *(
            f"The {thing} was {word}, and I {feeling} it."
            for thing, word, feeling in product(THINGS, WORDS, FEELINGS)
        ),
    }
    analyser = SentimentIntensityAnalyzer()
    scored = [(text, analyser.polarity_scores(text)["compound"]) for text in sorted(texts)]
    return tuple(sorted(scored, key=lambda pair: (pair[1], pair[0])))


def _sentence(valence: float, rng: np.random.Generator) -> tuple[str, float]:
    bank = sentences()
    distance = np.abs(np.array([compound for _, compound in bank]) - valence)
    # Ties are drawn from as a whole: eight things share every score.
    nearest = np.flatnonzero(distance <= np.sort(distance)[CHOICE - 1])
    return bank[rng.choice(nearest)]


def _loudness(va_at: Callable[[np.ndarray], np.ndarray], samples: int) -> np.ndarray:
    """(samples,) gain from -9 dB at arousal -1 to +9 dB at arousal 1, around a third."""
    arousal = va_at(np.arange(0, samples, 100) / RATE_HZ)[:, 1]
    gain = 0.35 * 10 ** (9 * arousal / 20)
    return np.interp(np.arange(samples), np.arange(0, samples, 100), gain).astype(np.float32)
