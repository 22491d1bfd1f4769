"""A kernel build on a server, the load of the published tables."""

from cma_gym.workloads.parts.compiler import ParallelBuild
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.requests import Requests
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("kernel_build")
class KernelBuild(Scenario):
    """make -jN of a kernel on a machine that does nothing else; buffers are asked for at regular times, or never."""

    camera: Requests = Requests()
    system: System = System(heap_percent=4, locked_percent=0, file_percent=3)
    kernel_memory: KernelMemory = KernelMemory(peak_percent=3)
    compilers: ParallelBuild = ParallelBuild(
        jobs=16,
        job_s=(0.3, 1.1),
        idle_s=(0.001, 0.005),
        heap_percent=(1.5, 4.5),
        make_percent=0.5,
        program_percent=1.2,
        headers_percent=2,
        sources_percent=25,
        source_percent=(0.005, 0.03),
        objects_percent=40,
        object_percent=(0.01, 0.06),
        link_every=150,
        link_percent=6,
    )
