"""The names that other tools give to a model's layers and to an adapter's matrices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from adapters.foreign.sizes import further_layer
from adapters.weights import linear_layers

if TYPE_CHECKING:
    from models.base import Model

# Components before a layer's name, in any order and number.
_PREFIXES = frozenset({"base_model", "model", "diffusion_model", "transformer", "decoder", "dit"})
# Components that torch.compile, DataParallel, FSDP and activation checkpointing add anywhere in a name.
_WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# Prefixes of kohya and LyCORIS, which write underscores for dots: `lora_unet_layers_0_self_attn_q_proj`.
_KOHYA_PREFIXES = ("lora_unet_", "lora_transformer_", "lora_decoder_", "lora_dit_", "lycoris_", "lora_")
_KOHYA_WRAPPERS = tuple(f"{name}_" for name in sorted(_WRAPPERS, key=len, reverse=True))
_KOHYA_INNER_PREFIXES = tuple(f"{name}_" for name in sorted(_PREFIXES, key=len, reverse=True))

# A tensor's name: the layer's, then which of its matrices it is. PEFT may put the adapter's name between.
_KEY = re.compile(
    r"(?P<module>.+?)(?:"
    r"\.lora_(?P<half>A|B|down|up|mid)(?:\.(?!bias$)[\w-]+)?(?:\.weight)?"
    r"|[._]lora(?:_linear_layer)?\.(?P<side>down|up|mid)(?:\.[\w-]+)?\.weight"
    r"|\.(?P<vector>lora_magnitude_vector|oft_R)(?:\.(?!bias$)[\w-]+){0,2}"
    r"|\.(?P<other>hada_w[12]_[ab]|hada_t[12]|lokr_w[12](?:_[ab])?|lokr_t2)(?:\.(?!bias$)[\w-]+)?"
    r"|\.(?P<number>alpha|scalar|dora_scale|oft_blocks|oft_input|oft_output|oft_rescale|rescale))"
)
_LORA_PARTS = {
    **dict.fromkeys(("A", "down"), "lora_A.weight"),
    **dict.fromkeys(("B", "up"), "lora_B.weight"),
    "mid": "lora_mid.weight",
}

# Known kinds that are not supported: what their tensors are called, and what the user can do.
_UNSUPPORTED = [
    (
        re.compile(r"\.lora_[AB](\.[\w-]+)?\.bias$|\.lora_(up|down)\.bias$"),
        "it changes biases as well (lora_bias), which cannot be used; train it without",
    ),
    (
        re.compile(r"\.(diff|diff_b|set_weight)$"),
        "it holds full weight differences, not an adapter's matrices; extract a LoRA from it "
        "(LyCORIS' extract_locon.py, ComfyUI's LoraSave)",
    ),
    (re.compile(r"\.(w_norm|b_norm)$"), "it changes norms as well, which cannot be used; train it without train_norm"),
    (
        re.compile(r"\.oft_(r|diag)\b|\.boft_"),
        "it is BOFT, or OFT of an early PEFT; LoRA, LoHa, LoKr and OFT can be used",
    ),
    (re.compile(r"\.(a1|a2|b1|b2|bm)\.weight$"), "it is GLoRA; LoRA, LoHa, LoKr and OFT can be used"),
    (re.compile(r"\.on_input$|\.ia3_l"), "it is IA3; LoRA, LoHa, LoKr and OFT can be used"),
    (re.compile(r"\.lora_E|\.ranknum$"), "it is AdaLoRA; LoRA, LoHa, LoKr and OFT can be used"),
    (re.compile(r"\.vera_lambda_|\.lambda_layer$"), "it is VeRA or T-LoRA; LoRA, LoHa, LoKr and OFT can be used"),
    (re.compile(r"\.lora_embedding_"), "it changes embeddings as well, which cannot be used; train it without"),
    (re.compile(r"\.reshape_weight$"), "it gives a layer another shape, which cannot be used"),
    (
        re.compile(r"scale_weight$|scale_input$|weight_scale$|comfy_quant$|absmax$|quant_map$|quant_state"),
        "its weights are quantised; save it in float32, float16 or bfloat16",
    ),
    (
        re.compile(r"^(base_model\.model\.)?(text_encoder|text_model|lora_te|te\d?\.|conditioner)"),
        "it changes the text encoder, which matches nothing that is adapted here; train it on the decoder alone",
    ),
]


class LayerNames:
    """Matches the names that other tools give to a model's Linear layers."""

    def __init__(self, model: Model) -> None:
        self._backend = model.backend
        self._known: dict[str, str] = {}
        for module in linear_layers(model.adapted):
            name = model.file_name(module)
            for spelling in (module, name):
                self._known[spelling] = name
                self._known[spelling.replace(".", "_")] = name

    def match(self, module: str) -> str | None:
        """The layer's name in our files, None if the model has no such layer."""
        return self._known.get(module) or self._match_dotted(module) or self._match_kohya(module)

    def _match_dotted(self, module: str) -> str | None:
        parts = [part for part in module.split(".") if part not in _WRAPPERS]
        while parts and parts[0] in _PREFIXES and ".".join(parts) not in self._known:
            parts = parts[1:]
        return self._known.get(".".join(parts)) or (self._match_kohya(parts[0]) if len(parts) == 1 else None)

    def _match_kohya(self, module: str) -> str | None:
        if not module.startswith(_KOHYA_PREFIXES):
            return None
        name = module.removeprefix(next(prefix for prefix in _KOHYA_PREFIXES if module.startswith(prefix)))
        for wrapper in _KOHYA_WRAPPERS:
            name = name.replace(f"_{wrapper}", "_").removeprefix(wrapper)
        while name not in self._known:
            prefix = next((each for each in (*_KOHYA_INNER_PREFIXES, *_KOHYA_WRAPPERS) if name.startswith(each)), None)
            if prefix is None:
                return None
            name = name.removeprefix(prefix)
        return self._known[name]

    def explain_unmatched(self, keys: list[str]) -> str:
        """Why tensors of these names, at least one, cannot be used."""
        for pattern, reason in _UNSUPPORTED:
            found = next((key for key in keys if pattern.search(key)), None)
            if found:
                return f"{found[:120]}: {reason}"
        larger = further_layer(keys, self._known.values())
        if larger:
            return larger
        first, more = keys[0][:120], f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        if all(split_key(key) is None for key in keys) and any(key.endswith(".weight") for key in keys):
            return (
                f"{first}{more} matches nothing in {self._backend}: it is a full weight, as in a checkpoint or a "
                "merged model; send the adapter alone"
            )
        return (
            f"{first}{more} matches nothing in {self._backend}; it was trained on another model, or on layers that "
            "are not adapted here: train it on the Linear layers of the model that is served"
        )


def split_key(key: str) -> tuple[str, str] | None:
    """Split a tensor's name into the layer's name and the part, in PEFT's spelling; None if the part is not known."""
    found = _KEY.fullmatch(key)
    if not found:
        return None
    half = found["half"] or found["side"]
    part = _LORA_PARTS[half] if half else found["vector"] or found["other"] or found["number"]
    return found["module"], part


def without_wrappers(module: str) -> str:
    """A layer's name without the components that torch.compile and other wrappers add to it."""
    return ".".join(part for part in module.split(".") if part not in _WRAPPERS)
