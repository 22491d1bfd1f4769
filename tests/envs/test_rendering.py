"""Pictures of a machine."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import cma_gym  # noqa: F401  registers the environments
from cma_gym.envs.buddyinfo import blocks_by_type, free_blocks
from cma_gym.envs.pagemap import AREA_COLOUR, KIND_COLOURS
from cma_gym.mm.mmzone import PageKind, ZoneStat
from tests.envs.small_machine import CMA_PAGES

IDS = sorted(name for name in gym.registry if name.startswith("cma_gym/"))


def played(name: str, small: dict[str, Any], render_mode: str | None, steps: int = 150) -> Any:
    env = gym.make(name, render_mode=render_mode, **small)
    env.reset(seed=0)
    for _ in range(steps):
        env.step(2)
    return env


@pytest.mark.parametrize("name", IDS)
def test_ansi_has_the_look_of_buddyinfo_and_pagetypeinfo(name: str, small: dict[str, Any]) -> None:
    env = played(name, small, "ansi")
    text = env.render()
    assert re.search(r"^Node 0, zone +\w+( +\d+){11}$", text, re.MULTILINE)
    assert re.search(r"^Node 0, zone +\w+, type +Movable( +\d+){11}$", text, re.MULTILINE)
    assert "Number of blocks type" in text and "CMA area: pfn" in text
    assert f"{CMA_PAGES} pages" in text


@pytest.mark.parametrize("name", IDS)
def test_counts_agree_with_the_machine(name: str, small: dict[str, Any]) -> None:
    mem = played(name, small, None).unwrapped.batch.mems[0]
    blocks = free_blocks(mem)
    np.testing.assert_array_equal(blocks.sum(axis=1), mem["zones"]["free_area"]["nr_free"])
    assert blocks_by_type(mem).sum() == mem["nr_pages"] >> mem["kernel"]["pageblock_order"]
    pages = (blocks * (1 << np.arange(blocks.shape[2]))).sum()
    assert 0 < pages <= mem["zones"]["vm_stat"][:, ZoneStat.FREE_PAGES].sum()


@pytest.mark.parametrize("name", IDS)
def test_rgb_array_colours_pages_and_outlines_the_area(name: str, small: dict[str, Any]) -> None:
    env = played(name, small, "rgb_array")
    picture = env.render()
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert min(picture.shape[:2]) >= 256
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    shown = {tuple(colour): count for colour, count in zip(colours.tolist(), counts.tolist(), strict=True)}
    for kind in (PageKind.ANON, PageKind.FILE):
        assert tuple(KIND_COLOURS[kind].tolist()) in shown
    assert tuple(AREA_COLOUR.tolist()) in shown
    # Every page is one square of the same size.
    kinds = env.unwrapped.batch.mems[0]["page"]["kind"][:4096]
    anon = shown[tuple(KIND_COLOURS[PageKind.ANON].tolist())]
    assert anon % int((kinds == PageKind.ANON).sum()) == 0


@pytest.mark.parametrize("name", IDS)
def test_pictures_change_and_keep_their_size(name: str, small: dict[str, Any]) -> None:
    env = played(name, small, "rgb_array", steps=1)
    before = env.render()
    for _ in range(80):
        env.step(2)
    after = env.render()
    assert before.shape == after.shape
    assert not np.array_equal(before, after)


def test_all_kinds_have_colours_of_their_own() -> None:
    colours = {tuple(colour) for colour in [*KIND_COLOURS.tolist(), AREA_COLOUR.tolist()]}
    assert len(colours) == len(PageKind) + 1


@pytest.mark.parametrize("name", IDS)
def test_a_vector_shows_every_machine(name: str, small: dict[str, Any]) -> None:
    env = gym.make_vec(name, 2, render_mode="rgb_array", **small)
    env.reset(seed=0)
    frames = env.render()
    assert isinstance(frames, tuple) and len(frames) == 2


@pytest.mark.parametrize("name", IDS)
def test_before_the_first_reset_there_is_nothing_to_see(name: str, small: dict[str, Any]) -> None:
    env = gym.make(name, render_mode="ansi", disable_env_checker=True, **small).unwrapped
    with pytest.raises(ResetNeeded, match="call reset"):
        env.render()


@pytest.mark.parametrize("name", IDS)
def test_without_a_render_mode_there_is_a_warning(name: str, small: dict[str, Any]) -> None:
    env = gym.make(name, disable_env_checker=True, **small).unwrapped
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render_mode"):
        assert env.render() is None
