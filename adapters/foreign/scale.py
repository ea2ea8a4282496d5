"""How strong a file says that its layers are: PEFT's configuration, or a number a layer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from adapters.adapter_file import InvalidAdapter
from adapters.foreign.names import stripped

# What no strength is as large as.
_MAX_NUMBER = 1e9
_LAYER = re.compile(r"[\w.-]{1,300}")
_MAX_PATTERNS = 20_000

# Initialisations after which the model's own weights are as they were.
_PLAIN_STARTS = frozenset({"gaussian", "eva", "orthogonal", "mica", "lycoris", "true", "false", "kaiming", "default"})
# Those that take the adapter's beginning out of the model's own weights, and of them those that PEFT can convert.
_MOVED_STARTS = ("pissa", "olora", "corda", "lora_ga", "loftq")
_CONVERTIBLE = ("pissa", "olora", "corda", "lora_ga")
# Variants of LoRA that compute something else of the same tensors.
_VARIANTS = frozenset({"use_qalora", "use_bdlora", "alora_invocation_tokens", "monteclora_config", "kasa_config"})
_VARIANTS |= {"arrow_config", "layer_replication", "target_parameters", "trainable_token_indices"}
# What has to do with training, or with which layers there are, which the tensors' names say.
# fmt: off
_NEUTRAL = {
    "alora_invocation_tokens", "alpha", "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias",
    "corda_config", "d", "decompose_both", "decompose_factor", "dropout", "ensure_weight_tying", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "init_weights", "layers_pattern",
    "layers_to_transform", "loftq_config", "lora_alpha", "lora_bias", "lora_dropout", "lora_ga_config",
    "megatron_config", "megatron_core", "module_dropout", "modules_to_save", "peft_type", "peft_version",
    "qalora_group_size", "r", "rank", "rank_dropout", "rank_dropout_scale", "rank_pattern", "revision",
    "runtime_config", "target_modules", "task_type", "use_dora", "use_effective_conv", "use_rslora", "velora_config",
}
# fmt: on


@dataclass
class Scale:
    """alpha / rank, layer by layer.

    Attributes:
        alpha, rank: PEFT's, for layers of which nothing else is said.
        alphas: what tensors say, by the layer's name as the file spells it.
        notes: what had to be taken for granted, or is worth knowing.
    """

    alpha: float | None = None
    rank: float | None = None
    rank_stabilised: bool = False
    dora: bool = False
    by_peft: bool = False
    alpha_pattern: Mapping[str, float] = field(default_factory=dict)
    rank_pattern: Mapping[str, float] = field(default_factory=dict)
    alphas: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def of(self, module: str, rank: int | None) -> float:
        """The factor of a layer of this rank; `None`: it is a product of whole matrices, which have no rank."""
        if module in self.alphas:
            return self.alphas[module] / rank if rank else 1.0
        alpha = _of_layer(self.alpha_pattern, module, self.alpha)
        if rank is None:
            # PEFT divides by the rank that was asked for, LyCORIS by none.
            rank_asked = _of_layer(self.rank_pattern, module, self.rank) if self.by_peft else None
            if alpha is None or not rank_asked:
                return 1.0
            return alpha / rank_asked
        if alpha is None:
            note = "no alpha is given in the file, so it was taken to equal the rank"
            self.notes += [] if note in self.notes else [note]
            return 1.0
        return alpha / (sqrt(rank) if self.rank_stabilised else rank)


def _check_texts(config: object) -> None:
    """What is told of it is told as JSON, which cannot hold half a surrogate pair."""
    try:
        json.dumps(config, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidAdapter("its adapter_config.json has a text that is not Unicode") from error


def read_scale(config: bytes | None, metadata: Mapping[str, str]) -> Scale:
    """From PEFT's configuration: its own file, or the header, where diffusers puts it.

    Raises:
        InvalidAdapter: it is no such configuration, or of an adapter that cannot be used.
    """
    text = config or metadata.get("lora_adapter_metadata") or "{}"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidAdapter("its adapter_config.json is not valid JSON") from error
    _check_texts(found)
    if not isinstance(found, dict):
        raise InvalidAdapter("its adapter_config.json is not an object")
    # Diffusers writes `transformer.lora_alpha`, and beside it what belongs to text encoders.
    found = {name.removeprefix("transformer."): value for name, value in found.items()}
    _check_kind(found)
    scale = Scale(
        alpha=_number("lora_alpha", found.get("lora_alpha", found.get("alpha"))),
        rank=_number("r", found.get("r")),
        rank_stabilised=bool(found.get("use_rslora")),
        dora=bool(found.get("use_dora")),
        by_peft="peft_type" in found,
        alpha_pattern=_by_layer("alpha_pattern", found.get("alpha_pattern")),
        rank_pattern=_by_layer("rank_pattern", found.get("rank_pattern")),
    )
    scale.notes += _notes(found)
    return scale


def _check_kind(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type") or "LORA"
    if str(kind).upper() not in ("LORA", "LOHA", "LOKR"):
        raise InvalidAdapter(f"it is of the kind {str(kind)[:40]}; LORA, LOHA and LOKR can be used")
    if config.get("modules_to_save"):
        raise InvalidAdapter(
            "it comes with whole layers of its own (modules_to_save), which cannot be used; train it without"
        )
    if (config.get("bias") or "none") != "none" or config.get("lora_bias"):
        raise InvalidAdapter(
            "it changes biases as well, which cannot be used; train it with bias='none', lora_bias=False"
        )
    variant = next((name for name in sorted(_VARIANTS) if config.get(name)), None)
    if variant:
        raise InvalidAdapter(
            f"its {variant} makes another thing of the same matrices, which cannot be used; train without"
        )
    for name in ("init_lora_weights", "init_weights"):
        _check_start(name, config.get(name))


def _check_start(name: str, start: Any) -> None:
    """Some initialisations change the model's own weights, and the file alone is not what was learnt."""
    if start is None or isinstance(start, bool):
        return
    kind = start.lower() if isinstance(start, str) else ""
    if kind in _PLAIN_STARTS:
        return
    if not kind.startswith(_MOVED_STARTS):
        raise InvalidAdapter(f"its {name} is {str(start)[:40]!r}, which is not known here; train it with {name}=True")
    mend = f"train it with {name}=True"
    if kind.startswith(_CONVERTIBLE):
        mend = (
            "save it with PEFT's save_pretrained(folder, path_initial_model_for_weight_conversion=…), which makes a "
            f"plain LoRA of it, or {mend}"
        )
    raise InvalidAdapter(
        f"its {name} is {start[:40]!r}: its training began by changing the model's own weights, so that its matrices "
        f"alone are not what it learnt; {mend}"
    )


def _notes(config: Mapping[str, Any]) -> list[str]:
    notes = []
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower() == "eva":
        notes.append(
            "it was initialised by EVA, which leaves the model's own weights as they are: its matrices are whole"
        )
    strange = sorted(name for name, value in config.items() if value and name not in _NEUTRAL and "." not in name)
    if strange:
        listed = ", ".join(name[:40] for name in strange[:5])
        notes.append(f"its adapter_config.json has {listed}, which is not known here and was not used")
    return notes


def _by_layer(name: str, given: Any) -> dict[str, float]:
    """What is said of some layers, by their names. PEFT takes regular expressions too, which a stranger may make such
    that they are searched for ever."""
    if not given:
        return {}
    if not isinstance(given, dict) or len(given) > _MAX_PATTERNS:
        raise InvalidAdapter(f"its {name} is not an object of at most {_MAX_PATTERNS} layers")
    found: dict[str, float] = {}
    for pattern, value in given.items():
        layer = pattern.removeprefix("^").removesuffix("$").removeprefix(".*").replace("\\.", ".").removeprefix(".")
        if not _LAYER.fullmatch(layer):
            raise InvalidAdapter(
                f"its {name} has {pattern[:100]!r}; only names of layers can be used there: write each layer's name"
            )
        number = _number(name, value)
        if number is None:
            raise InvalidAdapter(f"its {name} has no number for {layer[:100]}")
        found.setdefault(stripped(layer), number)
    return found


def _of_layer(pattern: Mapping[str, float], module: str, otherwise: float | None) -> float | None:
    """What the pattern says of the layer by its name or the end of it. As in PEFT, the first one counts."""
    if not pattern:
        return otherwise
    parts = stripped(module).split(".")
    ends = {".".join(parts[start:]) for start in range(len(parts))} & pattern.keys()
    if not ends:
        return otherwise
    return pattern[ends.pop()] if len(ends) == 1 else next(value for layer, value in pattern.items() if layer in ends)


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_NUMBER:
        raise InvalidAdapter(f"its {name} is not a number that can be used")
    return float(value)
