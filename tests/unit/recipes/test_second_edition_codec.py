"""The second edition's codec in small: its levels, latents, losses and the decoder's start."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderOobleck
from diffusers.models.autoencoders.autoencoder_oobleck import Snake1d

from recipes.first_edition.channels_last import use_channels_last
from recipes.first_edition.snake import TrainingSnake, use_training_snake
from recipes.second_edition.codec.analysis import FRAMES, LEVELS, fit_analysis, load_analysis
from recipes.second_edition.codec.architecture import HOP, LATENT, NOISE, RATE, build_codec
from recipes.second_edition.codec.cuts import Cuts
from recipes.second_edition.codec.griffin_lim import invert
from recipes.second_edition.codec.head import fit_head
from recipes.second_edition.codec.latents import band_weights, fit_whitening, wide_bands
from recipes.second_edition.codec.losses import energy_distance
from recipes.second_edition.codec.muon import ConvolutionMuon, orthogonal
from recipes.second_edition.codec.start import front, hold_noise, start_as_analysis, start_as_synthesis

pytestmark = pytest.mark.long


def tone(hertz: float, seconds: float = 2.0, phase: float = 0.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE + phase).astype(np.float32)


def music(count: int = 8, seconds: float = 2.0) -> torch.Tensor:
    """Noise that pulses over a chord, `[count, samples]`."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(count):
        chord = sum(tone(220 * 2 ** (note / 12), seconds) for note in rng.integers(0, 24, 3))
        gate = np.exp(-10 * (np.arange(round(seconds * RATE)) / RATE % (0.3 + 0.03 * n)))
        rows.append(0.1 * chord + 0.2 * gate * rng.standard_normal(len(gate)))
    return torch.from_numpy(np.stack(rows).astype(np.float32))


def test_levels_hold_no_phase_and_a_gain_only_adds() -> None:
    audio = torch.from_numpy(np.stack([tone(440), tone(440, phase=1.3)]))
    levels = LEVELS(audio)[..., 10:-10]
    assert levels.shape[1] == LEVELS.bands
    near = levels[0] > levels[0].max() - 8
    assert (levels[0] - levels[1]).abs()[near].max() < 0.05
    loud = LEVELS(10 ** (6 / 20) * music(2)) - LEVELS(music(2))
    assert loud.mean() == pytest.approx(6 / 10 * np.log(10), abs=0.02)


def test_every_hertz_up_to_11_khz_is_in_a_band() -> None:
    for region in LEVELS.regions:
        weights = region.triangles(RATE)
        assert torch.allclose(weights.sum(1), torch.ones(len(weights)), atol=1e-5)
    covered = torch.stack(
        [(region.triangles(RATE).sum(0) > 0)[:: region.window // 1024] for region in LEVELS.regions]
    ).any(0)
    assert covered[2 : 11_000 * 1024 // RATE].all()


def test_latents_are_of_their_scale_lead_with_loudness_and_give_the_levels_back(tmp_path: Path) -> None:
    audio = music()
    analysis = fit_analysis(audio)
    latents = analysis.latents(audio)
    assert latents.shape == (len(audio), LATENT - NOISE, audio.shape[1] // HOP)
    flat = latents.transpose(0, 1).flatten(1)
    loudness = len(analysis.whitening.wide)
    assert torch.allclose(flat[:loudness].std(1), torch.tensor(1.5), rtol=1e-3)
    correlation = torch.corrcoef(flat[loudness:])
    assert (correlation - torch.eye(len(correlation))).abs().max() < 0.02
    levels = LEVELS(audio)
    error = (analysis.levels(latents) - levels).square().mean()
    assert error < 0.35 * (levels - levels.mean((0, 2), keepdim=True)).square().mean()
    assert analysis.levels(latents).shape == levels.shape and levels.shape[2] == FRAMES * latents.shape[2]
    moved = analysis.latents(2 * audio)[:, :loudness] - latents[:, :loudness]
    assert (moved.mean((0, 2)) > 0).all()
    analysis.save(tmp_path / "latents.safetensors")
    assert torch.equal(load_analysis(tmp_path / "latents.safetensors").latents(audio), latents)


def test_low_bands_which_have_the_notes_are_kept_better_than_high_ones() -> None:
    levels, centres = LEVELS(music()), LEVELS.centres

    def error(weights: torch.Tensor) -> torch.Tensor:
        whitening = fit_whitening(levels, wide_bands(centres), weights, FRAMES, 20)
        return (whitening.decode(whitening.encode(levels)) - levels).square().mean((0, 2))

    alike, weighted = error(torch.ones(LEVELS.bands)), error(band_weights(centres))
    low = centres < 250
    assert weighted[low].mean() < 0.6 * alike[low].mean()
    assert alike.mean() < weighted.mean() < 1.5 * alike.mean()


def test_griffin_lim_makes_sound_with_the_levels() -> None:
    audio = music(1)
    wanted = LEVELS(audio)[0]
    again = LEVELS(invert(LEVELS, wanted, 8)[None])[0]
    loud = wanted > wanted.max() - 6
    assert (again - wanted)[loud].abs().mean() < 1.0


def test_the_codec_is_one_that_diffusers_loads_and_returns_the_length(tmp_path: Path) -> None:
    codec = build_codec()
    codec.save_pretrained(tmp_path)
    loaded = AutoencoderOobleck.from_pretrained(tmp_path)
    assert loaded.hop_length == HOP
    latents = torch.randn(1, LATENT, 6)
    assert loaded.decode(latents).sample.shape == (1, 1, 6 * HOP)
    assert loaded.encode(torch.randn(1, 1, 6 * HOP)).latent_dist.mode().shape == latents.shape


def test_the_decoder_starts_with_a_basis_that_spans_most_of_the_audio() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    start_as_synthesis(codec)
    # The waveforms of single coefficients before the last two transposed convolutions.
    tail = torch.nn.Sequential(*list(codec.decoder.block)[1:], codec.decoder.snake1, codec.decoder.conv2)
    coefficients = torch.zeros(120, codec.decoder.block[1].conv_t1.in_channels, 9)
    coefficients[torch.arange(120), torch.arange(120), 4] = 0.1
    with torch.no_grad():
        sounds = (tail(coefficients) - tail(torch.zeros_like(coefficients[:1])))[:, 0]
    energies = torch.linalg.svdvals(sounds) ** 2
    assert (energies > 0.05 * energies.mean()).sum() >= 110


def test_the_decoder_makes_many_random_numbers_of_one_size_from_few() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    start_as_synthesis(codec)
    latents = torch.randn(1, LATENT, 400)
    with torch.no_grad():
        features = codec.decoder.block[0].snake1(codec.decoder.conv1(latents))[0]
        latents[:, : LATENT - NOISE] = 0
        again = codec.decoder.block[0].snake1(codec.decoder.conv1(latents))[0]
    jitter = features[len(features) // 2 :]
    assert torch.equal(jitter, again[len(features) // 2 :])
    values = torch.linalg.eigvalsh(torch.corrcoef(jitter))
    assert values.sum() ** 2 / values.square().sum() > 0.4 * len(jitter)
    assert jitter.min() > -0.3 and jitter.max() < 1.3


def test_the_encoders_noise_is_normal_whatever_the_loudness_and_training_leaves_it() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    start_as_analysis(codec)
    hold_noise(codec)
    audio = torch.cat([gain * music(2) for gain in (0.1, 1.0)])[:, None]
    before = codec.encode(audio).latent_dist.mode()[:, LATENT - NOISE :].detach()
    for row in before:
        assert abs(row.mean()) < 0.5 and 0.6 < row.std() < 1.5
    assert torch.corrcoef(torch.stack([before[0, 0], before[2, 0]]))[0, 1].abs() < 0.5
    assert torch.corrcoef(torch.stack([before[0, 0, 1:], before[0, 0, :-1]]))[0, 1].abs() < 0.4
    optimizer = torch.optim.AdamW(codec.encoder.conv2.parameters(), lr=0.01, weight_decay=0)
    codec.encoder(audio).square().mean().backward()
    optimizer.step()
    assert torch.allclose(codec.encode(audio).latent_dist.mode()[:, LATENT - NOISE :], before, atol=1e-4)
    assert codec.encode(audio).latent_dist.std.max() < 0.05


def test_the_front_is_what_the_encoders_first_block_returns() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    start_as_analysis(codec)
    audio = music(2)[:, None, : 20 * HOP]
    with torch.no_grad():
        block = codec.encoder.block[0](codec.encoder.conv1(audio))
    assert torch.allclose(front(codec, audio), block, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in codec.encoder.block[0].parameters())


def test_the_head_is_fitted_to_the_latents_and_leaves_the_noise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    audio = music(8, 4.0)
    np.save(tmp_path / "00000.npy", (32767 * audio.clamp(-1, 1)).numpy().astype(np.int16))
    cuts = Cuts([tmp_path / "00000.npy"], fit_analysis(audio))
    codec = build_codec()
    start_as_analysis(codec)
    drawn, wanted = cuts.draw(8, np.random.default_rng(0))

    def latents() -> torch.Tensor:
        with torch.no_grad():
            return codec.encoder(drawn[:, None])[:, :LATENT]

    before = latents()
    fit_head(codec, cuts, 5)
    after = latents()
    assert torch.allclose(after[:, LATENT - NOISE :], before[:, LATENT - NOISE :], atol=1e-4)
    error = (after[:, : LATENT - NOISE] - wanted)[..., 5:-5].square().mean()
    assert error < 0.6 * wanted[..., 5:-5].var()


def test_the_training_snake_is_diffusers_own() -> None:
    snake = Snake1d(5)
    with torch.no_grad():
        snake.alpha.normal_()
        snake.beta.normal_()
    x, weight = torch.randn(2, 5, 50, requires_grad=True), torch.randn(2, 5, 50)
    inputs = [x, snake.alpha, snake.beta]
    expected = torch.autograd.grad((snake(x) * weight).sum(), inputs)
    for got, want in zip(torch.autograd.grad((TrainingSnake(snake)(x) * weight).sum(), inputs), expected, strict=True):
        assert torch.allclose(got, want, atol=1e-4)


def test_training_computes_what_inference_does() -> None:
    torch.manual_seed(0)
    codec = build_codec()
    names = list(codec.decoder.state_dict())
    latents = torch.randn(2, LATENT, 7)
    with torch.no_grad():
        expected = codec.decoder(latents)
        use_training_snake(codec.decoder)
        use_channels_last(codec.decoder)
        assert torch.allclose(codec.decoder(latents), expected, atol=1e-4)
    assert list(codec.decoder.state_dict()) == names


def test_the_energy_distance_prefers_noise_to_its_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    reference, one, two = (0.1 * torch.randn(4, 24_000, generator=generator) for _ in range(3))
    fresh, _ = energy_distance(one, two, reference)
    stuck, _ = energy_distance(one, one, reference)
    quiet, _ = energy_distance(0.5 * one, 0.5 * two, reference)
    assert fresh < stuck and fresh < quiet


def test_muon_steps_in_all_directions_of_a_kernel_alike() -> None:
    torch.manual_seed(0)
    for shape in ((48, 16, 7), (16, 48, 1)):
        matrix = torch.randn(shape).flatten(1) @ torch.diag(torch.logspace(0, -2, shape[1] * shape[2]))
        values = torch.linalg.svdvals(orthogonal(matrix))
        assert values.max() < 1.3 and values.median() > 0.6
        kernel = torch.nn.Parameter(torch.zeros(shape))
        kernel.grad = torch.randn(shape)
        ConvolutionMuon([kernel], lr=0.1).step()
        assert kernel.detach().square().mean().sqrt().item() == pytest.approx(0.02, rel=0.3)
        assert (kernel * kernel.grad).sum() < 0
