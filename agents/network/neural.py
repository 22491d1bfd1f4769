"""A trained network as plain arrays: greedy answers for a batch of observations, without the training libraries."""

from __future__ import annotations

import io
import os
import re
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

_LAYER = re.compile(r"mlp_extractor\.policy_net\.(\d+)\.weight")


class ModelError(ValueError):
    """A model file that cannot be used; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class NeuralPolicy:
    """Fully connected layers with tanh between them; the outputs are one logit per action."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    """(weights float32 [outputs, inputs], bias float32 [outputs]) from the observation to the logits."""

    @property
    def obs_size(self) -> int:
        """Entries of an observation."""
        return int(self.layers[0][0].shape[1])

    def logits(self, obs: np.ndarray) -> np.ndarray:
        """Logits of all actions, float32 [n, actions], for observations float32 [n, obs_size]."""
        hidden: np.ndarray = obs
        for weights, bias in self.layers[:-1]:
            hidden = np.tanh(hidden @ weights.T + bias)
        weights, bias = self.layers[-1]
        return np.asarray(hidden @ weights.T + bias)

    def log_probabilities(self, obs: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """Log-probability of each action, float64 [n, actions]; -inf where a mask (bool [n, actions]) forbids it."""
        logits = self.logits(obs).astype(np.float64)
        if masks is not None:
            logits = np.where(masks, logits, -np.inf)
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

    def predict(self, obs: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        """The most probable allowed action of each row, int64 [n]."""
        logits = self.logits(obs)
        if masks is not None:
            logits = np.where(masks, logits, -np.inf)
        return np.asarray(logits.argmax(axis=1), np.int64)


def from_state_dict(state: dict[str, Any]) -> NeuralPolicy:
    """The actor of an SB3 actor-critic policy, from its state dict of tensors."""
    numbers = sorted(int(match[1]) for match in map(_LAYER.fullmatch, state) if match)
    names = [f"mlp_extractor.policy_net.{number}" for number in numbers] + ["action_net"]
    return NeuralPolicy(tuple((_array(state[f"{name}.weight"]), _array(state[f"{name}.bias"])) for name in names))


def load_policy(path: str | os.PathLike[str]) -> NeuralPolicy:
    """Read the network of a model saved by `agents.ppo` (SB3's zip form); runs no code from the file.

    Raises:
        ModelError: no such file, or not such a model.
    """
    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read("policy.pth")
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return from_state_dict(state)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model; train one first, or name the model.zip of a run folder") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise ModelError(f"{path}: not a model written by train ({type(error).__name__}); train it again") from None


def _array(tensor: Any) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), dtype=np.float32)
