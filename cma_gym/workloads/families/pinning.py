"""Pages that somebody holds on to, on top of apps."""

from cma_gym.workloads.parts.apps import Apps
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.pins import DirectIo, DriverPages, DriverPins, RegisteredBuffers, SlowPipes
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("pinning")
class Pinning(Scenario):
    """Pinning drivers: pipes, direct I/O, registered buffers and drivers hold pages, apps at 70 % of their size."""

    camera: Camera = Camera()
    apps: Apps = Apps(size_percent=70)
    system: System = System()
    kernel_memory: KernelMemory = KernelMemory(peak_percent=2)
    pipes: SlowPipes = SlowPipes()
    direct_io: DirectIo = DirectIo()
    registered: RegisteredBuffers = RegisteredBuffers()
    driver_pins: DriverPins = DriverPins()
    driver_pages: DriverPages | None = DriverPages()
