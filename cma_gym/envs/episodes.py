"""A pool of episodes: workloads generated when they are first played, kept in one array of events."""

from __future__ import annotations

from typing import Any

import numpy as np

from cma_gym.envs.seeds import SPLITS
from cma_gym.machine.events import event_dtype
from cma_gym.machine.spec import MachineSpec
from cma_gym.workloads.registry import generate
from cma_gym.workloads.workload import Workload, WorkloadError

HEADROOM = 1.25
"""Room for episodes that are larger than the first ones."""


class EpisodePool:
    """Episodes 0 .. size-1 of a range of seeds; episode e plays scenario e modulo their number.

    The machines that play them hold indices into `events`, so the array may move when an episode is added.
    """

    def __init__(
        self,
        spec: MachineSpec,
        scenarios: list[dict[str, Any]],
        split: str,
        size: int,
        recorded: Workload | None = None,
    ) -> None:
        """Prepare a pool; one episode of each scenario is made at once, for the sizes that machines must have.

        Args:
            spec: the machine that scenarios are generated for.
            scenarios: dicts with a `family` and its parameters; not used with `recorded`.
            split: range of seeds, a key of `seeds.SPLITS`.
            size: number of episodes.
            recorded: a workload that every episode plays instead.

        Raises:
            WorkloadError: a scenario is not one.
        """
        self._spec = spec
        self._scenarios = scenarios
        self._first_seed = SPLITS[split]
        self._recorded = recorded
        self._windows: dict[int, tuple[int, int]] = {}
        self._used = 0
        self.size = 1 if recorded is not None else size
        self.events = np.zeros(0, dtype=event_dtype).view(np.recarray)
        """recarray of event_dtype: the events of all episodes generated so far, one after the other."""
        probes = [self._make(episode) for episode in range(min(self.size, max(len(scenarios), 1)))]
        self.capacity = _capacity(probes, 1.0 if recorded is not None else HEADROOM)
        """Virtual pages, file pages and tasks that machines have room for."""
        for episode, workload in enumerate(probes):
            self._keep(episode, workload)

    def seed_of(self, episode: int) -> int:
        """The workload seed of an episode; -1 where it is a recording."""
        return -1 if self._recorded is not None else self._first_seed + episode

    def window(self, episode: int) -> tuple[int, int]:
        """The episode's range in `events`, first and one behind the last; generates it if need be.

        Raises:
            WorkloadError: it does not fit into machines that were sized for the first episodes.
        """
        if episode not in self._windows:
            workload = self._make(episode)
            self._check_fits(workload)
            self._keep(episode, workload)
        return self._windows[episode]

    def _make(self, episode: int) -> Workload:
        if self._recorded is not None:
            return self._recorded
        scenario = self._scenarios[episode % len(self._scenarios)]
        return generate(scenario, self._spec, self.seed_of(episode))

    def _check_fits(self, workload: Workload) -> None:
        needs = (workload.nr_vpages, workload.nr_fpages, workload.nr_tasks)
        if any(need > room for need, room in zip(needs, self.capacity, strict=True)):
            raise WorkloadError(
                f"workload {workload.name}: it needs {needs} virtual pages, file pages and tasks, but the machines "
                f"have {self.capacity}; give them more RAM, or use a scenario whose episodes are alike in size"
            )

    def _keep(self, episode: int, workload: Workload) -> None:
        first, last = self._used, self._used + len(workload.events)
        if last > len(self.events):
            room = np.zeros(max(last, 2 * len(self.events)), dtype=event_dtype).view(np.recarray)
            room[:first] = self.events[:first]
            self.events = room
        self.events[first:last] = workload.events
        self._windows[episode] = (first, last)
        self._used = last


def _capacity(probes: list[Workload], headroom: float) -> tuple[int, int, int]:
    needs = np.array([(probe.nr_vpages, probe.nr_fpages, probe.nr_tasks) for probe in probes]).max(axis=0)
    nr_vpages, nr_fpages, nr_tasks = np.ceil(needs * headroom).astype(int).tolist()
    return nr_vpages, nr_fpages, nr_tasks
