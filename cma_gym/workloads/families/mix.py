"""Everything at once."""

from cma_gym.workloads.parts.apps import Apps
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.compiler import ParallelBuild
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.media import Clips, Playback
from cma_gym.workloads.parts.pins import DirectIo, DriverPages, DriverPins, RegisteredBuffers, SlowPipes
from cma_gym.workloads.parts.small_files import SmallFiles
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("mix")
class Mix(Scenario):
    """All at once: apps at 60 % of their size, media, clips, small files, pins, and a small build."""

    camera: Camera = Camera()
    apps: Apps = Apps(size_percent=60)
    system: System = System()
    kernel_memory: KernelMemory = KernelMemory()
    playback: Playback | None = Playback()
    clips: Clips | None = Clips(slots=3)
    small_files: SmallFiles | None = SmallFiles()
    pipes: SlowPipes | None = SlowPipes()
    direct_io: DirectIo | None = DirectIo()
    registered: RegisteredBuffers | None = RegisteredBuffers()
    driver_pins: DriverPins | None = DriverPins()
    driver_pages: DriverPages | None = DriverPages()
    compilers: ParallelBuild | None = ParallelBuild(jobs=2, heap_percent=(1, 5), sources_percent=10, objects_percent=5)
