"""A phone in use."""

from cma_gym.workloads.parts.apps import Apps
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.media import Clips, Playback
from cma_gym.workloads.parts.small_files import SmallFiles
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario

DATABASES = SmallFiles(
    operations_per_s=8,
    files_percent=1,
    metadata_percent=0.1,
    commit_s=1,
    checkpoint_s=0.5,
    fsync_chance=0.3,
    raw_read_percent_per_s=0,
)
"""The apps' databases: few operations, synced often (assumption). Most long failures on phones are such (B4)."""


@family("phone")
class Phone(Scenario):
    """A phone in use: apps come and go, some media, some clips; the camera wants the area, whole or in 9 pieces."""

    camera: Camera = Camera()
    apps: Apps = Apps()
    system: System = System()
    kernel_memory: KernelMemory = KernelMemory()
    playback: Playback | None = Playback(speed_percent_per_s=1, pause_s=(5, 15))
    clips: Clips | None = Clips(slots=3, clip_percent=(1, 3), pause_s=(6, 20))
    small_files: SmallFiles | None = DATABASES
