"""Small models of transformers by name: their configurations, and two sets of inputs for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn

WORDS = 99
Inputs = dict[str, Tensor]

_TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": WORDS,
}
_PAIR = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "vocab_size": WORDS,
    "pad_token_id": 0,
}
_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
_SHARED = {"num_key_value_heads": 2}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_RESIDUAL = {"embedding_size": 8, **_STAGES}
_SOUND = {
    **{k: v for k, v in _TEXT.items() if k != "vocab_size"},
    "conv_dim": (16, 16),
    "conv_stride": (5, 2),
    "conv_kernel": (10, 3),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def tokens(batch: int, length: int) -> Tensor:
    return torch.randint(1, WORDS, (batch, length))


def words(size: int) -> Inputs:
    return {"input_ids": tokens(*((2, 12), (3, 20))[size])}


def same_words(size: int) -> Inputs:
    """For models whose length torch.compile unrolls."""
    return {"input_ids": tokens(2 + size, 6)}


def pairs(size: int) -> Inputs:
    return {**words(size), "decoder_input_ids": tokens(*((2, 7), (3, 9))[size])}


def pictures(side: int) -> Callable[[int], Inputs]:
    return lambda size: {"pixel_values": torch.randn((1, 3)[size], 3, side, side)}


def captioned(size: int) -> Inputs:
    batch = (2, 3)[size]
    return {"input_ids": tokens(batch, 12), "pixel_values": torch.randn(batch, 3, 32, 32)}


def waves(size: int) -> Inputs:
    return {"input_values": torch.randn(*((1, 800), (2, 1000))[size])}


def spectrograms(size: int) -> Inputs:
    return {"input_values": torch.randn((1, 2)[size], 32, 16)}


def heard(size: int) -> Inputs:
    features = torch.randn((1, 2)[size], 16, 60)
    return {"input_features": features, "decoder_input_ids": tokens(*((1, 7), (2, 9))[size])}


def voices(size: int) -> Inputs:
    return {"spectrogram": torch.randn(*((1, 12, 10), (2, 20, 10))[size])}


def series(size: int) -> Inputs:
    return {"past_values": torch.randn((2, 3)[size], 32, 2)}


@dataclass(frozen=True)
class Model:
    """`config` and `kind` are classes of transformers, `options` the configuration's arguments."""

    config: str
    kind: str
    inputs: Callable[[int], Inputs]
    options: Mapping[str, Any]


def _text(config: str, kind: str, *without: str, **more: Any) -> Model:
    kept = {name: value for name, value in _TEXT.items() if name not in without}
    return Model(f"{config}Config", kind, words, {**kept, **more})


def _causal(name: str, **more: Any) -> Model:
    return _text(name, f"{name}ForCausalLM", **more)


def _classes(name: str, *without: str, **more: Any) -> Model:
    return _text(name, f"{name}ForSequenceClassification", *without, **more)


def _image(name: str, side: int = 32, **options: Any) -> Model:
    return Model(f"{name}Config", f"{name}ForImageClassification", pictures(side), options)


def _decoder(name: str, inputs: Callable[[int], Inputs] = words, **options: Any) -> Model:
    return Model(f"{name}Config", f"{name}ForCausalLM", inputs, {"vocab_size": WORDS, **options})


_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4}
_MAMBA = {"hidden_size": 32, "num_hidden_layers": 1, "state_size": 8}

MODELS: dict[str, Model] = {
    "llama": _causal("Llama", **_SHARED),
    "mistral": _causal("Mistral", sliding_window=8, **_SHARED),
    "qwen2": _causal("Qwen2", **_SHARED),
    "qwen3": _causal("Qwen3", head_dim=8, **_SHARED),
    "qwen2-moe": _causal(
        "Qwen2Moe",
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        shared_expert_intermediate_size=32,
        **_SHARED,
    ),
    "mixtral": _causal("Mixtral", num_local_experts=4, **_SHARED),
    "gemma": _causal("Gemma", num_key_value_heads=1, head_dim=8),
    "gemma2": _causal("Gemma2", head_dim=8, sliding_window=8, query_pre_attn_scalar=8, **_SHARED),
    "gemma3": _text(
        "Gemma3Text",
        "Gemma3ForCausalLM",
        head_dim=8,
        sliding_window=8,
        query_pre_attn_scalar=8,
        **_SHARED,
    ),
    "phi": _causal("Phi"),
    "phi3": _causal("Phi3", pad_token_id=0, **_SHARED),
    "olmo2": _causal("Olmo2", **_SHARED),
    "falcon": _causal("Falcon"),
    "falcon-alibi": _causal("Falcon", alibi=True),
    "bloom": _causal("Bloom"),
    "gpt-neox": _causal("GPTNeoX"),
    "gpt-j": _decoder("GPTJ", rotary_dim=4, **_GPT),
    "gpt-neo": _decoder(
        "GPTNeo",
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    ),
    "opt": _text("OPT", "OPTForCausalLM", "intermediate_size", ffn_dim=64, word_embed_proj_dim=32),
    "mpt": _decoder("Mpt", d_model=32, n_heads=4, n_layers=2),
    "stablelm": _causal("StableLm", **_SHARED),
    "starcoder2": _causal("Starcoder2", **_SHARED),
    "cohere": _causal("Cohere", **_SHARED),
    "granite": _causal("Granite", **_SHARED),
    "deepseek-v3": _causal(
        "DeepseekV3",
        num_key_value_heads=4,
        moe_intermediate_size=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        kv_lora_rank=8,
        q_lora_rank=8,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        first_k_dense_replace=1,
    ),
    "mamba": _decoder("Mamba", same_words, **_MAMBA),
    "mamba2": _decoder("Mamba2", num_heads=8, head_dim=8, n_groups=1, chunk_size=8, **_MAMBA),
    "roberta": _classes("Roberta"),
    "distilbert": Model(
        "DistilBertConfig",
        "DistilBertForSequenceClassification",
        words,
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": WORDS},
    ),
    "albert": _classes("Albert", embedding_size=16),
    "electra": _classes("Electra", embedding_size=16),
    "deberta": _classes("DebertaV2", relative_attention=True, pos_att_type=["c2p", "p2c"]),
    "mpnet": _classes("MPNet"),
    "modernbert": _classes(
        "ModernBert",
        **{f"{name}_token_id": i for i, name in enumerate(("pad", "bos", "eos", "cls", "sep"))},
    ),
    "fnet": _classes("FNet", "num_attention_heads"),
    "longformer": _classes("Longformer", attention_window=4),
    "bigbird": _classes("BigBird", attention_type="original_full"),
    "squeezebert": _classes(
        "SqueezeBert",
        embedding_size=32,
        q_groups=2,
        k_groups=2,
        v_groups=2,
        post_attention_groups=1,
        intermediate_groups=2,
        output_groups=2,
    ),
    "t5": Model(
        "T5Config",
        "T5ForConditionalGeneration",
        pairs,
        {
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 64,
            "num_layers": 2,
            "num_heads": 4,
            "vocab_size": WORDS,
            "decoder_start_token_id": 0,
        },
    ),
    "bart": Model("BartConfig", "BartForConditionalGeneration", pairs, _PAIR),
    "whisper": Model(
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        heard,
        {
            **_PAIR,
            "num_mel_bins": 16,
            "max_source_positions": 30,
            "decoder_start_token_id": 1,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "vit": _image("ViT", **_VIT),
    "deit": _image("DeiT", **_VIT),
    "beit": _image("Beit", **_VIT),
    "dinov2": _image("Dinov2", **{k: v for k, v in _VIT.items() if k != "intermediate_size"}),
    **{
        name: _image(
            kind,
            image_size=32,
            patch_size=2,
            embed_dim=16,
            depths=[1, 1],
            num_heads=[2, 4],
            window_size=4,
        )
        for name, kind in (("swin", "Swin"), ("swinv2", "Swinv2"))
    },
    "convnext": _image("ConvNext", **_STAGES),
    "convnextv2": _image("ConvNextV2", **_STAGES),
    "resnet": _image("ResNet", **_RESIDUAL),
    "regnet": _image("RegNet", groups_width=8, **_RESIDUAL),
    "mobilenet-v1": _image("MobileNetV1", 64, image_size=64, depth_multiplier=0.25),
    "mobilenet-v2": _image("MobileNetV2", 64, image_size=64, depth_multiplier=0.35),
    "mobilevit": _image(
        "MobileViT",
        64,
        image_size=64,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 64],
        num_attention_heads=2,
    ),
    "poolformer": _image("PoolFormer", 64, **_STAGES),
    "levit": _image(
        "Levit",
        64,
        image_size=64,
        hidden_sizes=[16, 32, 48],
        num_attention_heads=[2, 2, 2],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
    ),
    "segformer": Model(
        "SegformerConfig",
        "SegformerForSemanticSegmentation",
        pictures(64),
        {
            "hidden_sizes": [8, 16, 16, 32],
            "depths": [1, 1, 1, 1],
            "num_attention_heads": [1, 2, 2, 4],
            "decoder_hidden_size": 16,
        },
    ),
    "clip": Model(
        "CLIPConfig",
        "CLIPModel",
        captioned,
        {
            "text_config": {**_TEXT, "eos_token_id": 98, "bos_token_id": 97, "pad_token_id": 0},
            "vision_config": _VIT,
            "projection_dim": 16,
        },
    ),
    "siglip": Model(
        "SiglipConfig",
        "SiglipModel",
        captioned,
        {"text_config": {**_TEXT, "projection_size": 32}, "vision_config": _VIT},
    ),
    "wav2vec2": Model("Wav2Vec2Config", "Wav2Vec2ForCTC", waves, {**_SOUND, "vocab_size": 30}),
    "hubert": Model("HubertConfig", "HubertModel", waves, _SOUND),
    "audio-spectrogram": Model(
        "ASTConfig",
        "ASTForAudioClassification",
        spectrograms,
        {
            **{k: v for k, v in _VIT.items() if k != "image_size"},
            "max_length": 32,
            "num_mel_bins": 16,
            "frequency_stride": 4,
            "time_stride": 4,
        },
    ),
    "hifi-gan": Model(
        "SpeechT5HifiGanConfig",
        "SpeechT5HifiGan",
        voices,
        {
            "model_in_dim": 10,
            "upsample_initial_channel": 16,
            "upsample_rates": [2, 2],
            "upsample_kernel_sizes": [4, 4],
            "resblock_kernel_sizes": [3],
            "resblock_dilation_sizes": [[1, 3]],
        },
    ),
    "patch-tst": Model(
        "PatchTSTConfig",
        "PatchTSTForPrediction",
        series,
        {
            "num_input_channels": 2,
            "context_length": 32,
            "prediction_length": 8,
            "patch_length": 8,
            "patch_stride": 8,
            "d_model": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
    ),
}


def make(name: str) -> tuple[nn.Module, list[Inputs]]:
    """A model with random weights, and inputs of two sizes."""
    model = MODELS[name]
    config = getattr(transformers, model.config)(**model.options)
    return getattr(transformers, model.kind)(config), [model.inputs(size) for size in (0, 1)]
