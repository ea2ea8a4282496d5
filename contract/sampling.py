"""Sampling options: one model from the HTTP request to the sampler."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

SEEDS = 2**32
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


def _random_seed() -> int:
    return secrets.randbelow(SEEDS)


def _random_if_negative(seed: Any) -> Any:
    """-1 asks for a random seed, as in other tools."""
    return _random_seed() if seed in (-1, "-1") else seed


class SamplingOptions(BaseModel):
    """How a track is sampled. `None` leaves the choice to the model.

    `GenerateRequest` inherits these fields, a runner's `TrackRequest` and a batch's `Row` hold them whole, so that a
    new option is one field here and its use in a sampler.

    Attributes:
        seed: the same request with the same seed gives the same audio, alone or in a batch; random if left out.
        steps: denoising steps, for models that denoise.
        guidance: classifier-free guidance scale.
        shift: shift of the timesteps towards noise, for models that denoise.
        temperature: randomness of each token, for models that sample tokens; 0 takes the likeliest.
    """

    # Where these options are expected, a `GenerateRequest` counts as its options alone.
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, revalidate_instances="subclass-instances")

    seed: Annotated[Seed, BeforeValidator(_random_if_negative, json_schema_input_type=Seed | Literal[-1] | None)] = (
        Field(default_factory=_random_seed)
    )
    steps: int | None = Field(None, ge=1, le=200)
    guidance: float | None = Field(None, ge=0, le=20)
    shift: float | None = Field(None, ge=0.1, le=20)
    temperature: float | None = Field(None, ge=0, le=5)

    def take(self, number: int) -> SamplingOptions:
        """The options of a take, counted from 0: its seed is `number` more."""
        options = SamplingOptions.model_validate({name: getattr(self, name) for name in SamplingOptions.model_fields})
        return options.model_copy(update={"seed": (self.seed + number) % SEEDS})
