"""Every model by name, at its real size or a small one, with inputs to call it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from examples.models.mamba import Mamba
from examples.models.resnet50 import ResNet
from examples.models.unet import UNet

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """`make(small)` gives the model in eval mode and the arguments of its forward."""

    name: str
    make: Callable[[bool], tuple[nn.Module, Inputs]]


class Classify(nn.Module):
    """A transformers model for classification, its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> Tensor:
        return self.model(**inputs).logits


class NextToken(nn.Module):
    """GPT-2's logits for one more token behind `keys` and `values`, and the cache grown by it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, token: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        from transformers import DynamicCache

        cache = DynamicCache(list(zip(keys.unbind(), values.unbind(), strict=True)))
        out = self.model(input_ids=token, past_key_values=cache, use_cache=True)
        layers = out.past_key_values.layers
        grown = [torch.stack([getattr(layer, name) for layer in layers]) for name in CACHED]
        return (out.logits, *grown)


CACHED = ("keys", "values")


def _resnet(small: bool) -> tuple[nn.Module, Inputs]:
    model = ResNet((1, 1, 1, 1), width=8, classes=10) if small else ResNet()
    side = 64 if small else 224
    return _with_statistics(model), {"x": torch.randn(1 if small else 8, 3, side, side)}


def _unet(small: bool) -> tuple[nn.Module, Inputs]:
    model = UNet(width=4, depth=2) if small else UNet()
    side = 32 if small else 256
    return _with_statistics(model), {"x": torch.randn(1, 3, side, side)}


def _mamba(small: bool) -> tuple[nn.Module, Inputs]:
    model = Mamba(vocabulary=64, width=32, layers=1) if small else Mamba()
    vocabulary, length = (64, 6) if small else (50280, 64)
    return model, {"tokens": torch.randint(0, vocabulary, (2, length))}


def _bert(small: bool) -> tuple[nn.Module, Inputs]:
    from transformers import BertConfig, BertForSequenceClassification

    size = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 100,
    }
    config = BertConfig(num_labels=3, **(size if small else {}))
    tokens = torch.randint(0, config.vocab_size, (2, 12 if small else 128))
    mask = torch.ones_like(tokens)
    mask[1, tokens.shape[1] // 2 :] = 0
    model = Classify(BertForSequenceClassification(config))
    return model, {"input_ids": tokens, "attention_mask": mask}


def _gpt2(small: bool) -> tuple[nn.Module, Inputs]:
    from transformers import GPT2Config, GPT2LMHeadModel

    size = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 100, "n_positions": 64}
    config = GPT2Config(**(size if small else {}))
    shape = (config.n_layer, 1, config.n_head, 10 if small else 512, config.n_embd // config.n_head)
    token = torch.randint(0, config.vocab_size, (1, 1))
    model = NextToken(GPT2LMHeadModel(config))
    return model, {"token": token, "keys": torch.randn(shape), "values": torch.randn(shape)}


def _vit(small: bool) -> tuple[nn.Module, Inputs]:
    from transformers import ViTConfig, ViTForImageClassification

    size = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": 32,
        "patch_size": 8,
    }
    config = ViTConfig(num_labels=10, **(size if small else {}))
    pixels = torch.randn(1, 3, config.image_size, config.image_size)
    return Classify(ViTForImageClassification(config)), {"pixel_values": pixels}


def _with_statistics(model: nn.Module) -> nn.Module:
    """Batch norms as after training, rather than the identity."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


EXAMPLES = tuple(
    Example(name, make)
    for name, make in {
        "resnet50": _resnet,
        "bert": _bert,
        "gpt2": _gpt2,
        "vit": _vit,
        "mamba": _mamba,
        "unet": _unet,
    }.items()
)
