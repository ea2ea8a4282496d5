"""Train the model: decoder and text encoder together, to predict the next codes of encoded songs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    EncodecFeatureExtractor,
    GenerationConfig,
    MusicgenForCausalLM,
    MusicgenForConditionalGeneration,
    T5EncoderModel,
)

from models.checkpoints import TRAITS_FILE
from models.musicgen.pattern import delay, delays
from models.musicgen.text import caption

from ..clips import (
    LONG_SECONDS,
    LOOP_SECONDS,
    VALIDATION_CLIPS,
    Clip,
    Library,
    draw,
    for_training,
    load_clip,
    phrase_starts,
)
from ..data import SAMPLE_RATE, TRAINING, song_number
from ..precision import autocast
from ..prompts import learned_tokenizer, loose_text, number_tokens, start_numbers, within
from ..training import Training, forget_paths, load_average, start_over
from .architecture import CODEBOOKS, CODES, HOP, TEXT_WIDTH, WIDTH, WINDOW_SECONDS, config
from .clock import TEMPOS, start_clock
from .codec import load_codec

LENGTHS = (2.4, 2.4, 6.0, 10.0, 12.0)
"""Seconds; one is drawn for each step.

Short pieces do not reveal the tempo, so it must come from the text."""
LONG_SHARE = 0.08
"""Share of steps on pieces as long as the window, with a form."""
SECONDS_PER_STEP = 96.0
TEXT_DROPOUT = 0.12
"""Share of clips trained without their text, for classifier-free guidance."""
MID_PHRASE_SHARE = 0.25
"""Share of clips that begin anywhere, as a continuation does, instead of on a phrase."""
CONTEXT_SECONDS = 2.0
"""Beginning of such a clip that has no loss, since a piece does not begin so."""
DRUMLESS_SHARE = 0.15
"""Share of clips drawn from those without drums."""
BLIND_SHARE, BLIND_LENGTHS = 0.5, (2.4, 4.8)
"""Share of steps in which the decoder's codes are masked, and seconds of their pieces.

Former codes predict the tempo, and nearly all else, better than the text does. Without such steps the model learned one
tempo for each genre, and ignored the number."""
BOOK_WEIGHTS = (3.0, 1.5, 1.0, 1.0, 1.0, 1.0)
"""Of the codebooks' losses. Rhythm is in the first codebook, and bass in the second."""
CLOCK_TEXTS = 920
"""Number of texts that the clock is fitted to."""
REFRESH_EVERY = 200
VALIDATE_EVERY = 250
DELAYS = delays(CODEBOOKS, 1)
GENERATION = {"do_sample": True, "guidance_scale": 3.0, "top_k": 250, "temperature": 0.7}


class Starter(nn.Module):
    """The trained parts, and the loss of texts and codes."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = learned_tokenizer()
        sizes = config(len(self.tokenizer))
        self.text_encoder = T5EncoderModel(sizes.text_encoder)
        self.decoder = MusicgenForCausalLM(sizes.decoder)
        self.enc_to_dec_proj = nn.Linear(TEXT_WIDTH, WIDTH)
        start_numbers(self.text_encoder.get_input_embeddings().weight, self.tokenizer, TEMPOS, height=6.0)
        self._init_cross_attention()

    @torch.no_grad()
    def _init_cross_attention(self) -> None:
        """Initialise cross-attention to states of unit size, and to scores that differ by about one between words.

        MusicGen has no norm there, and its default initialisation is so small that attention is uniform: the model then
        learned to ignore all words but the genres.
        """
        nn.init.normal_(self.enc_to_dec_proj.weight, std=TEXT_WIDTH**-0.5)
        nn.init.zeros_(self.enc_to_dec_proj.bias)
        for layer in self.decoder.model.decoder.layers:
            for projection in (layer.encoder_attn.q_proj, layer.encoder_attn.k_proj, layer.encoder_attn.v_proj):
                nn.init.normal_(projection.weight, std=WIDTH**-0.5)

    @torch.no_grad()
    def start_clock(self) -> None:
        """Initialise the first layer's cross-attention as a clock at the tempo in the text."""
        rng = np.random.default_rng(0)
        songs = [replace(song_number(TRAINING, n), bpm=TEMPOS[n % len(TEMPOS)]) for n in range(CLOCK_TEXTS)]
        texts = [caption(loose_text(song, rng)) for song in songs]
        tokens = self.tokenizer(texts, padding="longest", return_tensors="pt")
        states, _ = self.conditions(texts, torch.ones(len(texts)))
        tempo_of = torch.zeros(len(self.tokenizer))
        for number, token in number_tokens(self.tokenizer).items():
            tempo_of[token] = 2 * round(within(number, TEMPOS) / 2)
        words = tokens.attention_mask.bool()
        start_clock(self.decoder, states[words], tempo_of[tokens.input_ids[words]])

    def conditions(self, texts: list[str], conditional: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The cross-attention states `[B, L, WIDTH]` and their mask; zeros where `conditional` `[B]` is false.

        Attention to zeros is how MusicGen generates without a text.
        """
        tokens = self.tokenizer(texts, padding="longest", return_tensors="pt").to(self.decoder.device)
        states = self.text_encoder(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask).last_hidden_state
        mask = tokens.attention_mask * conditional[:, None]
        return self.enc_to_dec_proj(states) * mask[..., None], tokens.attention_mask

    def losses(
        self, codes: torch.Tensor, texts: list[str], conditional: torch.Tensor, skip: torch.Tensor, blind: bool = False
    ) -> torch.Tensor:
        """Cross-entropy of each code `[B, K, T]`.

        Args:
            codes: `[B, K, T]`
            conditional: `[B]`; false for clips trained without their text.
            skip: `[B]`; number of first frames without a loss.
            blind: mask the decoder's codes.
        """
        count, books, frames = codes.shape
        positions = delay(torch.full_like(codes, CODES) if blind else codes, DELAYS, CODES)
        states, mask = self.conditions(texts, conditional)
        logits = self.decoder(
            input_ids=positions[..., :-1].flatten(0, 1),
            encoder_hidden_states=states,
            encoder_attention_mask=mask,
            use_cache=False,
        ).logits.unflatten(0, (count, books))
        # Codebook k of frame t is predicted at position t + k.
        aligned = torch.stack([logits[:, book, by : by + frames] for book, by in enumerate(DELAYS)], 1)
        error = F.cross_entropy(aligned.float().flatten(0, 2), codes.flatten(), reduction="none").view(codes.shape)
        return error * (torch.arange(frames, device=codes.device) >= skip[:, None])[:, None]


def train_model(runs: Path, steps: int, device: str, rate: float, compile_it: bool) -> None:
    """Train to `steps` steps in total; resumes from `runs/model.pt`, and picks up new codes as they are written."""
    torch.manual_seed(0)
    starter = Starter().eval()
    if not (runs / "model.pt").exists():
        starter.start_clock()
    training = Training(starter.to(device).train(), runs / "model.pt", rate, steps)
    if compile_it:
        for layer in starter.decoder.model.decoder.layers:
            layer.compile()
    library = Library(runs / "codes", load_clip)
    weights = torch.tensor(BOOK_WEIGHTS, device=device)
    running = 0.0
    for step in range(training.first, steps):
        rng = np.random.default_rng([TRAINING, 8, step])
        torch.manual_seed(step)
        blind = bool(rng.random() < BLIND_SHARE)
        clips, codes, skip = _draw(library, rng, blind)
        texts = [caption(loose_text(clip.song, rng)) for clip in clips]
        conditional = torch.rand(len(clips), device=device) >= TEXT_DROPOUT
        with sdpa_kernel(SDPBackend.MATH), autocast(device):
            losses = starter.losses(codes.to(device), texts, conditional, skip.to(device), blind)
        by_book = losses.sum((0, 2)) / (codes.shape[-1] - skip).sum().to(device)
        training.step(step, by_book[0] if blind else (by_book * weights).sum() / weights.sum())

        if not blind:
            running = 0.98 * running + 0.02 * by_book[0].item() if running else by_book[0].item()
        if step % 50 == 49:
            books = " ".join(f"{value:.2f}" for value in by_book.tolist()) + (" blind" if blind else "")
            print(f"model {step + 1}/{steps} levels {running:.3f} books {books} clips {len(library.clips)}", flush=True)
        if step % REFRESH_EVERY == REFRESH_EVERY - 1:
            library.refresh()
        if step % VALIDATE_EVERY == VALIDATE_EVERY - 1 or step + 1 == steps:
            with training:
                print(json.dumps({"step": step + 1, **validation(starter, library)}), flush=True)


def _draw(
    library: Library[Clip], rng: np.random.Generator, blind: bool
) -> tuple[list[Clip], torch.Tensor, torch.Tensor]:
    """A batch of one length: clips, codes `[B, K, T]`, and the numbers of frames without a loss `[B]`."""
    if not blind and rng.random() < LONG_SHARE:
        seconds, stock = float(WINDOW_SECONDS), for_training(library, *LONG_SECONDS)
    else:
        seconds, stock = float(rng.choice(BLIND_LENGTHS if blind else LENGTHS)), for_training(library, LOOP_SECONDS)
    clips = draw(stock, max(1, round(SECONDS_PER_STEP / seconds)), DRUMLESS_SHARE, rng)
    length, parts, skips = frames(seconds), [], []
    for clip in clips:
        last = len(clip.frames) - length
        mid_phrase = not blind and seconds > 2 * CONTEXT_SECONDS and last > 0 and rng.random() < MID_PHRASE_SHARE
        starts = phrase_starts(clip, length, frames)
        start = int(rng.integers(last + 1)) if mid_phrase else starts[rng.integers(len(starts))]
        parts.append(clip.frames[start : start + length].T.long())
        skips.append(frames(CONTEXT_SECONDS) if mid_phrase else 0)
    return clips, torch.stack(parts), torch.tensor(skips)


@torch.no_grad()
def validation(starter: Starter, library: Library[Clip]) -> dict[str, float]:
    """Cross-entropy of the validation clips and of their first levels, with their own and with other clips' texts."""
    device = starter.decoder.device
    rng = np.random.default_rng(0)
    clips = [clip for clip in library.clips[:VALIDATION_CLIPS] if clip.seconds == LOOP_SECONDS]
    codes = torch.stack([clip.frames[: frames(10)].T.long() for clip in clips]).to(device)
    texts = [caption(loose_text(clip.song, rng)) for clip in clips]
    conditional, none = torch.ones(len(clips), device=device), torch.zeros(len(clips), device=device)
    result = {}
    with autocast(device.type):
        for name, words in (("right", texts), ("wrong", texts[11:] + texts[:11])):
            losses = starter.losses(codes, words, conditional, none)
            result[name] = round(losses.mean().item(), 4)
            result[f"{name}_levels"] = round(losses[:, 0].mean().item(), 4)
            result[f"{name}_first_levels"] = round(losses[:, 0, : frames(2)].mean().item(), 4)
    return result


def pack(runs: Path, target: Path) -> None:
    """Assemble the last checkpoint as a `MusicgenForConditionalGeneration` in bfloat16."""
    starter = Starter()
    load_average(starter, runs / "model.pt")
    model = MusicgenForConditionalGeneration(
        text_encoder=starter.text_encoder,
        audio_encoder=load_codec(runs),
        decoder=starter.decoder,
    )
    model.enc_to_dec_proj.load_state_dict(starter.enc_to_dec_proj.state_dict())
    special = dict.fromkeys(("bos_token_id", "pad_token_id", "decoder_start_token_id"), CODES)
    length = frames(WINDOW_SECONDS) + max(DELAYS) + 1
    model.generation_config = GenerationConfig(**GENERATION, **special, max_length=length)
    model.to(torch.bfloat16).save_pretrained(target)
    starter.tokenizer.save_pretrained(target)
    extractor = EncodecFeatureExtractor(feature_size=1, sampling_rate=SAMPLE_RATE, padding_side="left")
    extractor.save_pretrained(target)
    (target / TRAITS_FILE).write_text(json.dumps({"clock": True}, indent=2) + "\n")
    forget_paths(target)


def unpack(source: Path, runs: Path) -> None:
    """Turn a packed checkpoint into an empty `runs` again: training continues from its weights, with a new warm-up."""
    # A folder, never the hub.
    model = MusicgenForConditionalGeneration.from_pretrained(source, dtype=torch.float32)  # nosec B615
    starter = Starter()
    for part in ("text_encoder", "decoder", "enc_to_dec_proj"):
        getattr(starter, part).load_state_dict(getattr(model, part).state_dict())
    start_over(runs / "model.pt", starter)
    model.audio_encoder.save_pretrained(runs / "codec")


def frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE / HOP)
