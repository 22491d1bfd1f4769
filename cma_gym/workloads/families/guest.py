"""The programs of the guest that the recordings and the measured ranking come from."""

from typing import ClassVar

from pydantic import Field

from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.guest_apps import GuestApps
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.media import Clips, Playback
from cma_gym.workloads.parts.pins import DirectIo, DriverPins, RegisteredBuffers, SlowPipes
from cma_gym.workloads.parts.small_files import SmallFiles
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


class Driver(Camera):
    """The guest's driver: one demand after the other, each some time after the last has ended.

    Here they come at a steady pace; a demand that takes longer than its gap runs into the next.
    """

    jitter: ClassVar[float] = 0.1


DEMANDS = Driver(warmup_s=6, count=8, gap_s=2.5, hold_s=0.3, app_percent=0, align_order=9)
"""The first demand after some 6 s of apps, then one 1.3 s after the end of the last (measured: column t_s); so a pace
that leaves 1.9 s for a demand and 0.3 s for holding it."""
INIT = System(heap_percent=0.85, locked_percent=0.81, file_percent=0.5, period_s=1)
"""The guest's init: 1063 locked pages (nr_mlock), and some 600 of its file."""


@family("guest")
class Guest(Scenario):
    """The guest of the recordings: apps under a killer in user space; the scenario files add its other programs."""

    camera: Driver = DEMANDS
    apps: GuestApps = GuestApps()
    system: System = INIT
    kernel_memory: KernelMemory = KernelMemory(peak_percent=0.5)
    playback: Playback | None = Field(default=None, description="Media files that are played [part]; none by default.")
    clips: Clips | None = Field(default=None, description="Clips that are recorded [part]; none by default.")
    small_files: SmallFiles | None = Field(
        default=None, description="Small files, and raw reads of the device [part]; none by default."
    )
    pipes: SlowPipes | None = Field(default=None, description="Pipes with slow readers [part]; none by default.")
    direct_io: DirectIo | None = Field(default=None, description="Direct I/O [part]; none by default.")
    registered: RegisteredBuffers | None = Field(
        default=None, description="Registered buffers [part]; none by default."
    )
    driver_pins: DriverPins | None = Field(
        default=None, description="A driver that holds pins [part]; none by default."
    )
