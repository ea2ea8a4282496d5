"""Train the model: transformer, text encoder and condition encoder together, by flow matching on encoded songs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AceStepPipeline, AutoencoderOobleck, FlowMatchEulerDiscreteScheduler
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedTokenizerFast

from models.checkpoints import TRAITS_FILE

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
from ..data import TRAINING
from ..precision import autocast
from ..prompts import start_numbers
from ..training import Training, forget_paths, load_average, start_over
from .architecture import (
    CLOCK_TEMPOS,
    SHAPE,
    LatentShape,
    build_condition_encoder,
    build_text_encoder,
    build_transformer,
)
from .latents import frames
from .levels import LEVELS
from .prompts import build_tokenizer, format_prompt, song_prompt

SAMPLING = {"steps": 16, "guidance": 3.0, "shift": 2.0, "guided": True, "source_guided": True, "noise_strength": 0.1}
"""The checkpoint's default settings."""
TRAITS = {"clock": True, "max_true_peak": 6.0, "level_channels": LEVELS, "reference": False}
"""How twins are trained on the checkpoint. Its codec is nearly linear and reconstructs peaks above full scale too."""
LOOP_LENGTHS = (6.0, 8.0, 10.0, 10.0, 10.0, 12.0)
"""Seconds; one is drawn for each step."""
LONG_SHARE = 0.2
"""Share of steps on pieces with a form, also among the steps on rhythm alone, as the form is in the loudness."""
SECONDS_PER_STEP = 150.0
PROMPT_DROPOUT = 0.12
"""Share of clips trained without their prompt, for classifier-free guidance."""
RHYTHM_SHARE = 0.4
"""Share of steps on rhythm alone.

The input of such a step is nearly pure noise and its loss is on loudness only, so that prompt and clock are all that
the model can use. It then learned to follow the prompt's tempo within 75 steps; without, not within 1,000."""
LEVEL_WEIGHT, NOISE_WEIGHT = 2.0, 0.2
"""Weights of the channels of loudness and of noise in the loss; the others weigh 1."""
DRUMLESS_SHARE = 0.25
"""Share of clips drawn from those without drums.

Without it, half of the pieces whose genre was not recognised were drumless ones, classified as ambient."""
PARTS = ("transformer", "text_encoder", "condition_encoder")
"""The components of `AceStepPipeline` that are trained together."""
TIMES = (0.002, 0.999)
"""The least and the greatest time that is trained."""
REFRESH_EVERY = 200
VALIDATE_EVERY = 250


class Starter(nn.Module):
    """The three trained parts, and the loss of prompts and latents.

    Args:
        tokenizer: default: that of text-to-music.
        timbre_layers: of the timbre encoder.
        shape: of the latents.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast | None = None,
        timbre_layers: int = 1,
        shape: LatentShape = SHAPE,
    ) -> None:
        super().__init__()
        self.shape = shape
        self.tokenizer = tokenizer or build_tokenizer()
        self.transformer = build_transformer(shape)
        self.text_encoder = build_text_encoder(len(self.tokenizer))
        self.condition_encoder = build_condition_encoder(timbre_layers, shape)
        self.condition_encoder.timbre_encoder.requires_grad_(False)
        self._no_reference: torch.Tensor | None = None
        for patches in (self.transformer.proj_in_conv, self.transformer.proj_out_conv):
            patches.forward = partial(_in_float32, patches.forward)  # type: ignore[method-assign]
        start_numbers(self.text_encoder.get_input_embeddings().weight, self.tokenizer, CLOCK_TEMPOS)

    def conditions(self, texts: list[str], lyrics: str) -> torch.Tensor:
        """The transformer's cross-attention states, `[B, L, TEXT_WIDTH]`, in the order of the pipeline."""
        device = self.transformer.device
        tokens = self.tokenizer(texts, padding="longest", return_tensors="pt").input_ids.to(device)
        words = self.tokenizer([lyrics], return_tensors="pt").input_ids.to(device)
        encoder = self.condition_encoder
        text = encoder.text_projector(self.text_encoder(input_ids=tokens).last_hidden_state)
        lyric = encoder.lyric_encoder(
            inputs_embeds=self.text_encoder.get_input_embeddings()(words), attention_mask=torch.ones_like(words)
        )
        count = len(texts)
        return torch.cat([lyric.expand(count, -1, -1), self._timbre().expand(count, -1, -1), text], 1)

    @torch.no_grad()
    def _timbre(self) -> torch.Tensor:
        """The timbre without a reference, `[1, 1, TEXT_WIDTH]`; constant, as its encoder is not trained."""
        if self._no_reference is None:
            encoder = self.condition_encoder
            reference = encoder.silence_latent[:, : self.shape.frames(30)]
            order = torch.zeros(1, dtype=torch.long, device=reference.device)
            self._no_reference = encoder.timbre_encoder(reference, order)[0]
        return self._no_reference

    def loss(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        time: torch.Tensor,
        conditions: torch.Tensor,
        levels_only: bool = False,
    ) -> torch.Tensor:
        """Squared error of the velocity for each clip `[B]`; latents and noise `[B, T, LATENT]`, time `[B]`."""
        count, length, _ = latents.shape
        clock = self.condition_encoder.silence_latent[:, :length]
        context = torch.cat([clock, torch.ones_like(clock)], -1).expand(count, -1, -1)
        error = self.squared_error(latents, noise, time, conditions, context).mean(1)
        weight = channel_weights(error, levels_only, self.shape)
        return (error * weight).sum(1) / weight.sum()

    def squared_error(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        time: torch.Tensor,
        conditions: torch.Tensor,
        context: torch.Tensor,
    ) -> torch.Tensor:
        """Squared error of the velocity `[B, T, LATENT]`; context `[B, T, 2 * LATENT]`, the others as for `loss`."""
        share = time.view(-1, 1, 1)
        velocity = self.transformer(
            hidden_states=(1 - share) * latents + share * noise,
            timestep=time,
            timestep_r=time,
            encoder_hidden_states=conditions,
            context_latents=context,
            return_dict=False,
        )[0]
        return (velocity.float() - (noise - latents)).square()


def channel_weights(like: torch.Tensor, levels_only: bool, shape: LatentShape = SHAPE) -> torch.Tensor:
    """The weight of each latent channel in the loss, `[channels]`."""
    weight = torch.full((shape.channels,), 0.0 if levels_only else 1.0).to(like)
    weight[: shape.levels] = LEVEL_WEIGHT
    weight[shape.channels - shape.noise :] *= NOISE_WEIGHT
    return weight


def _in_float32(convolution: Callable[[torch.Tensor], torch.Tensor], frames: torch.Tensor) -> torch.Tensor:
    """Run a strided convolution in float32: with AMX, oneDNN computes them wrongly in bfloat16."""
    with torch.autocast(frames.device.type, enabled=False):
        return convolution(frames.float())


def train_model(runs: Path, steps: int, device: str, rate: float, compile_it: bool) -> None:
    """Train to `steps` steps in total; resumes from `runs/model.pt`, and picks up new latents as they are written."""
    torch.manual_seed(0)
    starter = Starter().to(device).train()
    training = Training(starter, runs / "model.pt", rate, steps)
    if compile_it:
        for layer in starter.transformer.layers:
            layer.compile()
    library = Library(runs / "latents", load_clip)
    running = 0.0
    for step in range(training.first, steps):
        rng = np.random.default_rng([TRAINING, 7, step])
        torch.manual_seed(step)
        rhythm = bool(rng.random() < RHYTHM_SHARE)
        clips, latents, seconds = _draw(library, rng)
        texts = [song_prompt(clip.song, seconds, rng) for clip in clips]
        latents = latents.to(device)
        time = draw_times(len(clips), rhythm)
        dropped = (torch.rand(len(clips), device=device) < PROMPT_DROPOUT).view(-1, 1, 1)
        with sdpa_kernel(SDPBackend.MATH), autocast(device):
            conditions = starter.conditions(texts, draw_lyrics(rng))
            null = starter.condition_encoder.null_condition_emb.expand_as(conditions)
            conditions = torch.where(dropped, null, conditions)
            noise = torch.randn_like(latents)
            loss = starter.loss(latents, noise, time.to(device), conditions, levels_only=rhythm).mean()
        training.step(step, loss)

        if not rhythm:
            running = 0.98 * running + 0.02 * loss.item() if running else loss.item()
        if step % 50 == 49:
            print(f"model {step + 1}/{steps} loss {running:.4f} clips {len(library.clips)}", flush=True)
        if step % REFRESH_EVERY == REFRESH_EVERY - 1:
            library.refresh()
        if step % VALIDATE_EVERY == VALIDATE_EVERY - 1 or step + 1 == steps:
            with training:
                print(json.dumps({"step": step + 1, **validation(starter, library)}), flush=True)


def draw_times(count: int, rhythm: bool) -> torch.Tensor:
    """Flow-matching times `[B]`: half of them biased to the noisy end, where rhythm and form are decided."""
    if rhythm:
        return 0.9 + 0.099 * torch.rand(count)
    noisy = draw_noisy_times(count)
    return torch.where(torch.rand(count) < 0.5, torch.rand(count), noisy).clamp(*TIMES)


def draw_noisy_times(count: int) -> torch.Tensor:
    """Times `[B]` towards the noisy end."""
    return torch.sigmoid(torch.randn(count) * 1.2 + 1.0).clamp(*TIMES)


def _draw(library: Library[Clip], rng: np.random.Generator) -> tuple[list[Clip], torch.Tensor, float]:
    """A batch of one length: clips, latents `[B, T, LATENT]`, and seconds."""
    if rng.random() < LONG_SHARE:
        seconds = float(rng.choice(LONG_SECONDS))
        stock = for_training(library, seconds)
    else:
        seconds = float(rng.choice(LOOP_LENGTHS))
        stock = for_training(library, LOOP_SECONDS)
    clips = draw(stock, max(1, round(SECONDS_PER_STEP / seconds)), DRUMLESS_SHARE, rng)
    return clips, torch.stack([cut(clip, frames(seconds), rng) for clip in clips]).float(), seconds


def cut(
    clip: Clip, length: int, rng: np.random.Generator, frames: Callable[[float], int] = SHAPE.frames
) -> torch.Tensor:
    """Latents `[length, channels]` from the first beat of a random phrase; `frames` converts seconds to frames."""
    starts = phrase_starts(clip, length, frames)
    start = starts[rng.integers(len(starts))]
    return clip.frames[start : start + length]


def draw_lyrics(rng: np.random.Generator) -> str:
    """No lyrics, the usual tag for none, or now and then other words, to which the starter should be indifferent."""
    words = ("", "[Instrumental]", "la la la oh yeah", "[verse]\nlights are low tonight")
    text = format_prompt("", 10)[1]
    return text.replace("<|endoftext|>", words[rng.choice(4, p=[0.4, 0.4, 0.1, 0.1])] + "<|endoftext|>")


@torch.no_grad()
def validation(starter: Starter, library: Library[Clip]) -> dict[str, float]:
    """Loss on the validation clips, with their prompts and with other clips': the gap is the effect of prompts."""
    rng = np.random.default_rng(0)
    clips = [clip for clip in library.clips[:VALIDATION_CLIPS] if clip.seconds == LOOP_SECONDS]
    length = starter.shape.frames(10)
    latents = torch.stack([clip.frames[:length] for clip in clips]).float().to(starter.transformer.device)
    texts = [song_prompt(clip.song, 10, rng) for clip in clips]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    time = torch.linspace(0.03, 0.99, len(clips))[torch.randperm(len(clips), generator=generator)].to(latents)
    result = {}
    with autocast(latents.device.type):
        for name, words in (("right", texts), ("wrong", texts[11:] + texts[:11])):
            losses = starter.loss(latents, noise, time, starter.conditions(words, format_prompt("", 10)[1]))
            result[name] = round(losses.mean().item(), 4)
            result[f"{name}_noisy"] = round(losses[time > 0.6].mean().item(), 4)
        result["levels_from_noise"] = round(levels_from_noise(starter, latents, noise, texts), 3)
    return result


def levels_from_noise(
    starter: Starter, latents: torch.Tensor, noise: torch.Tensor, texts: list[str], time: float = 0.98
) -> float:
    """Mean correlation of loudness over time, predicted from the prompt and noise, with that of the validation clips.

    The earliest sign of rhythm: it rises long before generated music has a pulse.
    """
    times = torch.full((len(latents),), time).to(latents)
    noisy = (1 - time) * latents + time * noise
    clock = starter.condition_encoder.silence_latent[:, : latents.shape[1]]
    velocity = starter.transformer(
        hidden_states=noisy,
        timestep=times,
        timestep_r=times,
        encoder_hidden_states=starter.conditions(texts, format_prompt("", 10)[1]),
        context_latents=torch.cat([clock, torch.ones_like(clock)], -1).expand(len(latents), -1, -1),
        return_dict=False,
    )[0]
    guess, truth = (
        (x - x.mean(1, keepdim=True))[..., : starter.shape.levels] for x in (noisy - time * velocity.float(), latents)
    )
    likeness = (guess * truth).sum(1) / (guess.norm(dim=1) * truth.norm(dim=1) + 1e-6)
    return float(likeness.mean())


def pack(runs: Path, target: Path) -> None:
    """Assemble the last checkpoint as an `AceStepPipeline` in bfloat16."""
    starter = Starter()
    load_average(starter, runs / "model.pt")
    write_pipeline(starter, last_codec(runs), TRAITS, target)


def last_codec(runs: Path) -> AutoencoderOobleck:
    """The codec with the decoder that was trained last."""
    decoder = runs / "decoder"
    return AutoencoderOobleck.from_pretrained(decoder if decoder.exists() else runs / "codec-unit")


def write_pipeline(
    starter: Starter, codec: AutoencoderOobleck, traits: dict[str, Any], target: Path, **parts: nn.Module
) -> None:
    """Write a pipeline in bfloat16, with its default sampling and what twins need to know of it.

    Args:
        parts: further ones of `AceStepPipeline`.
    """
    pipeline = AceStepPipeline(
        vae=codec,
        text_encoder=starter.text_encoder,
        tokenizer=starter.tokenizer,
        transformer=starter.transformer,
        condition_encoder=starter.condition_encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
        **parts,
    )
    pipeline.to(torch.bfloat16).save_pretrained(target)
    forget_paths(target)
    (target / "sampling.json").write_text(json.dumps(SAMPLING, indent=2) + "\n")
    (target / TRAITS_FILE).write_text(json.dumps(traits, indent=2) + "\n")


def unpack(source: Path, runs: Path) -> None:
    """Turn a packed checkpoint into an empty `runs` again: training continues from its weights, with a new warm-up."""
    take_apart(AceStepPipeline.from_pretrained(source, torch_dtype=torch.float32), Starter(), runs / "model.pt")


def take_apart(pipeline: AceStepPipeline, starter: Starter, state: Path) -> None:
    """Write the pipeline's weights as the first state of the starter's training, and its codec beside it."""
    for part in PARTS:
        getattr(starter, part).load_state_dict(getattr(pipeline, part).state_dict())
    start_over(state, starter)
    pipeline.vae.save_pretrained(state.parent / "codec-unit")
