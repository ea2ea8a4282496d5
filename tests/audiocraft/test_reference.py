"""MusicGen compared to audiocraft with the same small weights: `make test-audiocraft`, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

audiocraft = pytest.importorskip("audiocraft.models.lm", reason="make test-audiocraft has it")
from audiocraft.models.encodec import EncodecModel  # noqa: E402
from audiocraft.modules import SEANetDecoder, SEANetEncoder  # noqa: E402
from audiocraft.modules.codebooks_patterns import DelayedPatternProvider  # noqa: E402
from audiocraft.modules.conditioners import (  # noqa: E402
    ConditionFuser,
    ConditioningAttributes,
    ConditioningProvider,
    TextConditioner,
)
from audiocraft.quantization import ResidualVectorQuantizer  # noqa: E402
from transformers import AutoTokenizer, T5EncoderModel  # noqa: E402

from contract import SamplingOptions  # noqa: E402
from core.settings import ROOT  # noqa: E402
from models.base import Row, Text, run_to_end  # noqa: E402
from models.checkpoints import Checkpoint  # noqa: E402
from models.musicgen import MusicGen  # noqa: E402
from models.musicgen import codec as coding  # noqa: E402
from models.musicgen.tokens import Batch, Run  # noqa: E402
from models.tiny import musicgen as tiny  # noqa: E402

CODEBOOKS, CODES, WIDTH, HEADS = 4, 512, 128, 4
SEANET: dict[str, Any] = {
    "channels": 1,
    "dimension": 32,
    "n_filters": 4,
    "n_residual_layers": 1,
    "ratios": [8, 5, 4, 4],
    "norm": "weight_norm",
    "kernel_size": 7,
    "residual_kernel_size": 3,
    "last_kernel_size": 7,
    "dilation_base": 2,
    "pad_mode": "constant",
    "true_skip": True,
    "compress": 2,
    "lstm": 2,
    "causal": False,
}
PROMPTS = ["808 trap beat, dark synth", "warm keys"]


class Conditioner(TextConditioner):  # type: ignore[misc]
    """audiocraft's T5 conditioner with a local T5."""

    def __init__(self, folder: Path) -> None:
        encoder = T5EncoderModel.from_pretrained(folder).eval()
        super().__init__(encoder.config.d_model, WIDTH)
        self.__dict__["encoder"] = encoder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokenize(self, texts: list[str | None]) -> Any:
        inputs = self.tokenizer([text or "" for text in texts], return_tensors="pt", padding=True)
        inputs["attention_mask"][[index for index, text in enumerate(texts) if not text]] = 0
        return inputs

    def forward(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        mask = inputs["attention_mask"]
        states = self.encoder(input_ids=inputs["input_ids"], attention_mask=mask).last_hidden_state
        return self.output_proj(states) * mask.unsqueeze(-1), mask


@pytest.fixture(scope="module")
def text_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint's T5 in a folder of its own."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny.build(folder / "whole")
    whole = MusicGen.load(Checkpoint("tiny", folder / "whole", "0"), torch.device("cpu"), torch.float32)
    whole.model.text_encoder.save_pretrained(folder / "t5")
    whole.tokenizer.save_pretrained(folder / "t5")
    return folder / "t5"


@pytest.fixture(scope="module")
def original(text_encoder: Path) -> Any:
    torch.manual_seed(1)
    fuser = ConditionFuser({"cross": ["description"], "prepend": [], "sum": [], "input_interpolate": []})
    model = audiocraft.LMModel(
        DelayedPatternProvider(n_q=CODEBOOKS),
        ConditioningProvider({"description": Conditioner(text_encoder)}),
        fuser,
        n_q=CODEBOOKS,
        card=CODES,
        dim=WIDTH,
        num_heads=HEADS,
        hidden_scale=2,
        num_layers=3,
        custom=True,
        norm_first=True,
        bias_ff=False,
        bias_attn=False,
        bias_proj=False,
        activation="gelu",
        cross_attention=True,
        causal=True,
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.normal_(std=0.5 if name.startswith("emb") else 2 * weight.shape[1] ** -0.5)
    return model.eval()


@pytest.fixture(scope="module")
def codec() -> Any:
    torch.manual_seed(2)
    quantizer = ResidualVectorQuantizer(dimension=SEANET["dimension"], bins=CODES, n_q=CODEBOOKS)
    model = EncodecModel(SEANetEncoder(**SEANET), SEANetDecoder(**SEANET), quantizer, 50, 32_000, 1)
    for layer in quantizer.vq.layers:
        layer._codebook.embed.normal_()
        layer._codebook.inited.fill_(1)
    return model.eval()


@pytest.fixture(scope="module")
def imported(original: Any, codec: Any, text_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> MusicGen:
    """The command line imports files that audiocraft exported."""
    folder = tmp_path_factory.mktemp("exported")
    lm = {
        "transformer_lm": {"num_heads": HEADS, "activation": "gelu"},
        "conditioners": {"description": {"model": "t5", "t5": {"name": str(text_encoder)}}},
    }
    compression = {
        "seanet": SEANET | {"decoder": {"trim_right_ratio": 1.0}},
        "rvq": {"bins": CODES, "n_q": CODEBOOKS},
        "encodec": {"sample_rate": 32_000, "channels": 1, "renormalize": False},
    }
    for file, model, settings in (("state_dict", original, lm), ("compression_state_dict", codec, compression)):
        package = {"xp.cfg": yaml.safe_dump(settings), "best_state": model.state_dict(), "exported": True}
        torch.save(package, folder / f"{file}.bin")
    command = [sys.executable, "cli.py", "--task", "import", "--paths", str(folder), "--out", str(folder / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return MusicGen.load(Checkpoint("imported", folder / "out", "0"), torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_greedy_tokens_are_audiocrafts(original: Any, imported: MusicGen, guidance: float) -> None:
    runs = []
    for prompt in PROMPTS:
        row = Row(Text(prompt), 0.8, SamplingOptions(seed=1, guidance=guidance, temperature=0.0))
        runs.append(Run(imported.model, imported.token_row(row)))
    batch = Batch(imported.model, runs)
    while runs[0].steps_left:
        run_to_end(batch.step())
    for prompt, run in zip(PROMPTS, runs, strict=True):
        conditions = [ConditioningAttributes(text={"description": prompt})]
        with torch.no_grad():
            theirs = original.generate(conditions=conditions, max_gen_len=40, use_sampling=False, cfg_coef=guidance)
        assert torch.equal(run.codes, theirs[0])
    assert not torch.equal(runs[0].codes, runs[1].codes)


def test_audio_is_audiocrafts(codec: Any, imported: MusicGen) -> None:
    codes = torch.randint(CODES, (CODEBOOKS, 50), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        theirs = codec.decode(codes[None])[0].numpy()
        encoded = codec.encode(torch.from_numpy(theirs)[None])[0][0]
    ours = coding.decode(imported.codec, codes, 1)
    assert np.abs(ours - theirs).max() <= 1e-5 * theirs.std()
    assert torch.equal(coding.encode(imported.codec, theirs), encoded)
