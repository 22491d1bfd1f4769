"""A kernel build on a server, the load of the published tables."""

from cma_gym.workloads.parts.kernel_make import KernelMake
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.requests import Requests
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("kernel_build")
class KernelBuild(Scenario):
    """make -jN of a kernel on a machine that does nothing else; buffers are asked for at regular times, or never."""

    camera: Requests = Requests()
    system: System = System(heap_percent=3, locked_percent=0, file_percent=2)
    kernel_memory: KernelMemory = KernelMemory(peak_percent=2)
    make: KernelMake = KernelMake()
