"""A board that compiles."""

from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.compiler import ParallelBuild
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("build")
class Build(Scenario):
    """A parallel build (make -jN) on a board whose camera wants the area, whole or in 9 pieces."""

    camera: Camera = Camera()
    system: System = System(heap_percent=12, locked_percent=0)
    kernel_memory: KernelMemory = KernelMemory()
    compilers: ParallelBuild = ParallelBuild()
