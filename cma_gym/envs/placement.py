"""`cma_gym/Placement-v0`: one placement decision a step."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from cma_gym.envs.batch import Batch
from cma_gym.envs.observation import OBS_SIZE, observation_table
from cma_gym.envs.setup import DEFAULT_POOL, EnvError, make_setup
from cma_gym.mm.mmzone import NR_ACTIONS

RENDER_MODES = ["ansi", "rgb_array"]
RENDER_FPS = 10


def observation_space() -> spaces.Box:
    """Of one machine."""
    return spaces.Box(0.0, 1.0, shape=(OBS_SIZE,), dtype=np.float32)


def action_space() -> spaces.Discrete:
    """Of one machine."""
    return spaces.Discrete(NR_ACTIONS)


def check_render_mode(render_mode: str | None) -> str | None:
    """This render mode, if it exists.

    Raises:
        EnvError: it does not.
    """
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise EnvError(f"render_mode: there is no mode {render_mode!r}; known are {', '.join(RENDER_MODES)} and None")
    return render_mode


def render_machine(batch: Batch, i: int, render_mode: str) -> Any:
    """One picture of machine i: a text (`ansi`) or uint8[height, width, 3] (`rgb_array`).

    Raises:
        ResetNeeded: it has not been started yet.
    """
    if batch.unseeded[i]:
        raise ResetNeeded("there is nothing to see yet: call reset() before render()")
    from cma_gym.envs.buddyinfo import machine_text
    from cma_gym.envs.pagemap import page_map

    return machine_text(batch.mems[i]) if render_mode == "ansi" else page_map(batch.mems[i])


class PlacementEnv(gym.Env[np.ndarray, np.int64]):
    """Which pages may borrow the memory reserved for the Contiguous Memory Allocator, and when?

    A machine runs a workload of tasks, files and devices through a model of Linux's page allocator, reclaim and CMA.
    Wherever a movable request may use either ordinary memory or the CMA area, the machine stops and asks; one step is
    one answer. Later a device demands its buffer: the whole area in one piece, or many pieces. What cannot be moved out
    of the way by then makes the demand slow, or makes it fail.

    ## Actions

    `Discrete(3)`:

    | action | name | meaning |
    |--------|------|---------|
    | 0 | NORMAL_ONLY  | ordinary memory only; reclaim rather than borrow |
    | 1 | NORMAL_FIRST | borrow from the area only when the ordinary free lists are empty |
    | 2 | CMA_FIRST    | borrow as long as the area has free pages |

    `info["action_mask"]` (int8[3]) and `action_masks()` (bool[3], for MaskablePPO) are 0 where an action cannot matter:
    1 and 2 if the kernel never lends the area (`kernel={"lend": False}`), 2 while the area has no free page. A masked
    action is not an error: the machine does what is left of it.

    ## Observation

    `Box(0, 1, (OBS_SIZE,), float32)`, made of what a kernel can read in O(1) at that place. v is the value of the view
    feature; everything is clipped to [0, 1].

    {observations}

    ## Reward

    Minus the user-visible cost since the previous decision, in milliseconds: the sum of `info["reward_terms"]`, none of
    which is above 0, each an amount times its weight (`weights`, see `RewardWeights` for units and assumptions):
    `demand_failed`, `pieces_failed` (demands given up), `demand_latency` (time that devices waited), `stall` (direct
    reclaim and compaction), `swap` (swap-in), `refault` (re-reading evicted file pages), `kill`, `atomic_fail`.

    The reward is for learning. Policies are compared by `info["metrics"]`, which no weight touches.

    ## Start

    The machine boots the same way every time; a seed only chooses the workload. `reset(seed=s)` plays episode
    `s % pool` of the split's seeds; each `reset()` after it draws the next one from that seed. `options={"episode": e}`
    plays episode e. `info["workload_seed"]` says which workload runs (-1: a recording).

    ## End

    Terminated when the workload is over; truncated after `max_decisions` decisions, if given. Then `info["metrics"]`
    holds the machine's metrics (demand success, latencies, stall, swap and refault time, kills, idle share of the area;
    nan where nothing was tried).

    ## Arguments

    All are plain values, so that a run's environment can be rebuilt from its JSON.

    * `machine`: fields of `MachineSpec`, such as `{"ram_mb": 64, "cma_mb": 16}` (the default).
    * `kernel`: switches of `KernelConfig` that differ from the machine's profile, such as `{"lend": False}`.
    * `scenario`: a dict with a workload `family` and its parameters, default `{"family": "phone"}`; or a list of them,
      played in turn.
    * `workload`: a workload file (.npz) to play instead, such as an imported trace; without `machine`, on the machine
      that the file names.
    * `weights`: of the reward terms.
    * `split`: range of workload seeds: `train`, `select` or `test`.
    * `pool`: number of episodes; each is generated when it is first played, then kept.
    * `max_decisions`: truncate episodes there; None: never.
    * `render_mode`: `ansi` (buddyinfo and pagetypeinfo of the machine) or `rgb_array` (its page frames coloured by what
      they hold, the CMA area outlined).

    ## Version history

    * v0: first version.
    """

    metadata: dict[str, Any] = {"render_modes": RENDER_MODES, "render_fps": RENDER_FPS}

    def __init__(
        self,
        machine: Mapping[str, Any] | None = None,
        kernel: Mapping[str, Any] | None = None,
        scenario: Mapping[str, Any] | list[Mapping[str, Any]] | None = None,
        workload: str | None = None,
        weights: Mapping[str, Any] | None = None,
        split: str = "train",
        pool: int = DEFAULT_POOL,
        max_decisions: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        """See the class for the arguments.

        Raises:
            EnvError, WorkloadError: one sentence about the first argument that cannot be used.
        """
        self.render_mode = check_render_mode(render_mode)
        setup = make_setup(
            machine=machine,
            kernel=kernel,
            scenario=scenario,
            workload=workload,
            weights=weights,
            split=split,
            pool=pool,
            max_decisions=max_decisions,
        )
        self.batch = Batch(setup, 1)
        self.observation_space = observation_space()
        self.action_space = action_space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode.

        Args:
            seed: starts a new sequence of episodes; None goes on with the present one.
            options: `{"episode": e}` plays episode e of the pool.

        Returns:
            Observation and info (`action_mask`, `workload_seed`).
        """
        super().reset(seed=seed)
        if seed is None and self.batch.unseeded[0]:
            seed = int(self.np_random.integers(1 << 31))
        episode = (options or {}).get("episode")
        self.batch.reset(seeds=[seed], episodes=None if episode is None else [episode])
        info = {"action_mask": self.batch.masks[0].copy(), "workload_seed": self.batch.workload_seed(0)}
        return self.batch.obs[0].copy(), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Answer the pending question and run to the next one.

        Returns:
            Observation, reward [ms], terminated, truncated, info (`action_mask`, `reward_terms`; at the end `metrics`).

        Raises:
            ResetNeeded: no episode runs.
            EnvError: there is no such action; nothing has happened then.
        """
        batch = self.batch
        if not batch.rows["alive"][0]:
            raise ResetNeeded("no episode runs: call reset() first, and again when one has ended")
        batch.step(np.array([_whole_number(action)], dtype=np.int64))
        info: dict[str, Any] = {"action_mask": batch.masks[0].copy(), "reward_terms": batch.reward_terms(0)}
        terminated, truncated = bool(batch.terminated[0]), bool(batch.truncated[0])
        if terminated or truncated:
            info["metrics"] = batch.metrics(0)
        return batch.obs[0].copy(), float(batch.rewards[0]), terminated, truncated, info

    def action_masks(self) -> np.ndarray:
        """bool[3]: the actions that can matter for the pending question."""
        mask: np.ndarray = self.batch.masks[0].astype(np.bool_)
        return mask

    def render(self) -> Any:
        """A picture of the machine in the chosen render mode."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render_mode shows nothing; make the environment with one, as 'ansi'")
            return None
        return render_machine(self.batch, 0, self.render_mode)


def _whole_number(action: Any) -> int:
    try:
        return operator.index(action)
    except TypeError:
        raise EnvError(f"an action is a whole number, 0, 1 or 2, not {action!r}") from None


if PlacementEnv.__doc__:  # stripped under -OO
    PlacementEnv.__doc__ = PlacementEnv.__doc__.replace("{observations}", observation_table().replace("\n", "\n    "))
