"""A phone whose user goes from app to app while drivers ask for buffers in the background.

A launch takes its memory over 4 to 6 s (Acclaim, FACTS D2: a burst of 5 s); pauses of a user in a hurry, an assumption.
"""

from cma_gym.workloads.families.phone import DATABASES
from cma_gym.workloads.parts.apps import Apps
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.media import Playback
from cma_gym.workloads.parts.requests import Requests
from cma_gym.workloads.parts.small_files import SmallFiles
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("app_launches")
class AppLaunches(Scenario):
    """Apps launched and switched; buffers are asked for at regular times, or never."""

    camera: Requests = Requests()
    apps: Apps = Apps(launch_s=(4, 6), switch_s=(0.3, 1), action_gap_s=(0.5, 2))
    system: System = System()
    kernel_memory: KernelMemory = KernelMemory()
    playback: Playback | None = Playback(speed_percent_per_s=1, pause_s=(5, 15))
    small_files: SmallFiles | None = DATABASES
