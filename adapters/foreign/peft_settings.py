"""PEFT's `adapter_config.json` of an adapter made elsewhere: its scaling, and whether its kind is supported."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from adapters.adapter_file import InvalidAdapter
from adapters.foreign.names import without_wrappers
from adapters.foreign.scaling import Scaling

_MAX_ALPHA = 1e9
_LAYER_NAME = re.compile(r"[\w.-]{1,300}")
_MAX_PATTERNS = 20_000
_MAX_TERMS = 100

# Initialisations (`init_lora_weights`) that leave the model's own weights unchanged.
_SUPPORTED_INITS = {"default", "eva", "false", "gaussian", "kaiming", "lycoris", "mica", "orthogonal", "true"}
# Initialisations that subtract the adapter's start from the model's own weights, and those that PEFT can undo.
_BASE_CHANGING_INITS = ("pissa", "olora", "corda", "lora_ga", "loftq")
_CONVERTIBLE_INITS = ("pissa", "olora", "corda", "lora_ga")
# Variants of LoRA that compute something else from the same tensors.
_UNSUPPORTED_VARIANTS = {
    "alora_invocation_tokens",
    "arrow_config",
    "coft",
    "kasa_config",
    "layer_replication",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
}
# Settings that are read here, or need not be: they matter for training only, or say which layers there are.
# fmt: off
_KNOWN_SETTINGS = {
    "alora_invocation_tokens", "alpha", "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias",
    "block_share", "corda_config", "d", "decompose_both", "decompose_factor", "dropout", "ensure_weight_tying", "eps",
    "eva_config", "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights", "init_weights",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_alpha", "lora_bias", "lora_dropout",
    "lora_ga_config", "megatron_config", "megatron_core", "module_dropout", "modules_to_save",
    "num_cayley_neumann_terms", "oft_block_size", "peft_type", "peft_version", "qalora_group_size", "r", "rank",
    "rank_dropout", "rank_dropout_scale", "rank_pattern", "revision", "runtime_config", "target_modules", "task_type",
    "use_cayley_neumann", "use_dora", "use_effective_conv", "use_rslora", "velora_config",
}
# fmt: on


def _check_texts(config: object) -> None:
    """Refuse lone surrogates: parts of the settings are quoted in answers, which are sent as UTF-8."""
    try:
        json.dumps(config, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidAdapter("its adapter_config.json has a text that is not Unicode") from error


def read_scaling(config: bytes | None, metadata: Mapping[str, str]) -> Scaling:
    """Read PEFT's settings.

    Args:
        config: the `adapter_config.json`, if there is one.
        metadata: the safetensors metadata, where diffusers writes the settings.

    Raises:
        InvalidAdapter: these are no valid settings, or those of an unsupported adapter.
    """
    text = config or metadata.get("lora_adapter_metadata") or "{}"
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidAdapter("its adapter_config.json is not valid JSON") from error
    _check_texts(found)
    if not isinstance(found, dict):
        raise InvalidAdapter("its adapter_config.json is not an object")
    # Diffusers writes `transformer.lora_alpha`, beside the settings of text encoders.
    found = {name.removeprefix("transformer."): value for name, value in found.items()}
    _check_kind(found)
    scaling = Scaling(
        alpha=_number("lora_alpha", found.get("lora_alpha", found.get("alpha"))),
        rank=_number("r", found.get("r")),
        use_rslora=bool(found.get("use_rslora")),
        use_dora=bool(found.get("use_dora")),
        from_peft="peft_type" in found,
        alpha_pattern=_by_layer("alpha_pattern", found.get("alpha_pattern")),
        rank_pattern=_by_layer("rank_pattern", found.get("rank_pattern")),
        cayley_terms=_cayley_terms(found),
    )
    scaling.notes += _notes(found)
    return scaling


def _check_kind(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type") or "LORA"
    if str(kind).upper() not in ("LORA", "LOHA", "LOKR", "OFT"):
        raise InvalidAdapter(f"it is of the kind {str(kind)[:40]}; LORA, LOHA, LOKR and OFT can be used")
    if config.get("modules_to_save"):
        raise InvalidAdapter(
            "it comes with full layers of its own (modules_to_save), which cannot be used; train it without"
        )
    if (config.get("bias") or "none") != "none" or config.get("lora_bias"):
        raise InvalidAdapter(
            "it changes biases as well, which cannot be used; train it with bias='none', lora_bias=False"
        )
    variant = next((name for name in sorted(_UNSUPPORTED_VARIANTS) if config.get(name)), None)
    if variant:
        raise InvalidAdapter(
            f"its {variant} computes something else from the same matrices, which cannot be used; train it without"
        )
    for name in ("init_lora_weights", "init_weights"):
        _check_init(name, config.get(name))


def _check_init(name: str, value: Any) -> None:
    """Refuse initialisations that changed the model's own weights, of which the file holds nothing."""
    if value is None or isinstance(value, bool):
        return
    kind = value.lower() if isinstance(value, str) else ""
    if kind in _SUPPORTED_INITS:
        return
    if not kind.startswith(_BASE_CHANGING_INITS):
        raise InvalidAdapter(f"its {name} is {str(value)[:40]!r}, which is not known here; train it with {name}=True")
    advice = f"train it with {name}=True"
    if kind.startswith(_CONVERTIBLE_INITS):
        advice = (
            "save it with PEFT's save_pretrained(folder, path_initial_model_for_weight_conversion=…), which makes a "
            f"plain LoRA of it, or {advice}"
        )
    raise InvalidAdapter(
        f"its {name} is {value[:40]!r}: its training began by changing the model's own weights, so that its matrices "
        f"alone are not what it learnt; {advice}"
    )


def _notes(config: Mapping[str, Any]) -> list[str]:
    notes = []
    init = config.get("init_lora_weights")
    if isinstance(init, str) and init.lower() == "eva":
        notes.append(
            "it was initialised by EVA, which leaves the model's own weights unchanged: its matrices are complete"
        )
    unknown = sorted(n for n, value in config.items() if value and n not in _KNOWN_SETTINGS and "." not in n)
    if unknown:
        listed = ", ".join(name[:40] for name in unknown[:5])
        notes.append(f"its adapter_config.json has {listed}, which is not known here and was not used")
    return notes


def _by_layer(name: str, given: Any) -> dict[str, float]:
    """A setting for single layers (`rank_pattern`, `alpha_pattern`) by layer name.

    Only names are supported. PEFT allows regular expressions, but one from an untrusted file may take forever to match.
    """
    if not given:
        return {}
    if not isinstance(given, dict) or len(given) > _MAX_PATTERNS:
        raise InvalidAdapter(f"its {name} is not an object of at most {_MAX_PATTERNS} layers")
    found: dict[str, float] = {}
    for pattern, value in given.items():
        layer = pattern.removeprefix("^").removesuffix("$").removeprefix(".*").replace("\\.", ".").removeprefix(".")
        if not _LAYER_NAME.fullmatch(layer):
            raise InvalidAdapter(
                f"its {name} has {pattern[:100]!r}; only names of layers can be used there: write each layer's name"
            )
        number = _number(name, value)
        if number is None:
            raise InvalidAdapter(f"its {name} has no number for {layer[:100]}")
        found.setdefault(without_wrappers(layer), number)
    return found


def _cayley_terms(config: Mapping[str, Any]) -> int:
    """The terms of PEFT's series for OFT's rotations; 0 if they are computed exactly."""
    if config.get("use_cayley_neumann") is False:
        return 0
    terms = config.get("num_cayley_neumann_terms", Scaling.cayley_terms)
    if type(terms) is not int or not 0 < terms <= _MAX_TERMS:
        raise InvalidAdapter(f"its num_cayley_neumann_terms is not a number from 1 to {_MAX_TERMS}")
    return terms


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_ALPHA:
        raise InvalidAdapter(f"its {name} is not a number that can be used")
    return float(value)
