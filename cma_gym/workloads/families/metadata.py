"""Many small files on top of apps."""

from cma_gym.workloads.parts.apps import Apps
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.small_files import SmallFiles
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("metadata")
class Metadata(Scenario):
    """Metadata-heavy block-device use: small files under a journal that holds pages, apps at 70 % of their size."""

    camera: Camera = Camera()
    apps: Apps = Apps(size_percent=70)
    system: System = System()
    kernel_memory: KernelMemory = KernelMemory(peak_percent=2)
    small_files: SmallFiles = SmallFiles()
