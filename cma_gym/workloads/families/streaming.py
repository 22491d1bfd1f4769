"""Large files on top of apps."""

from cma_gym.workloads.parts.apps import Apps
from cma_gym.workloads.parts.camera import Camera
from cma_gym.workloads.parts.kernel_memory import KernelMemory, System
from cma_gym.workloads.parts.media import Clips, Playback
from cma_gym.workloads.registry import family
from cma_gym.workloads.scenario import Scenario


@family("streaming")
class Streaming(Scenario):
    """File streaming: media read from end to end, clips recorded with dirty pages, apps at 70 % of their size."""

    camera: Camera = Camera()
    apps: Apps = Apps(size_percent=70)
    system: System = System()
    kernel_memory: KernelMemory = KernelMemory(peak_percent=2)
    playback: Playback = Playback()
    clips: Clips = Clips()
