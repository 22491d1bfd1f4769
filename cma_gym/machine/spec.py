"""What a machine is: its memory, and the configuration of its kernel."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

PAGES_PER_MB = 256


class MachineSpec(BaseModel):
    """Sizes of the simulated machine. JSON-plain, so that it can stand in a configuration or in an env's kwargs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ram_mb: int = Field(default=512, ge=16, le=65536)
    """All memory, the CMA area included [MB]."""
    cma_mb: int = Field(default=128, ge=4)
    """The CMA area, one range of pageblocks [MB]."""
    zram_percent: int = Field(default=50, ge=0, le=100)
    """Size of the zram swap device, of `ram_mb` [%]."""
    kernel_percent: int = Field(default=4, ge=1, le=40)
    """Memory the kernel takes at boot and never gives back [% of ram_mb]."""
    nr_cpus: int = Field(default=2, ge=1, le=8)
    pageblock_order: int = Field(default=9, ge=4, le=10)
    """9 with huge pages, else 10; smaller values are for scaled-down twins of larger machines."""
    highmem_mb: int = Field(default=0, ge=0)
    """Memory that the kernel has no permanent mapping of, ZONE_HIGHMEM [MB]; 0 on 64-bit machines. With it, low memory
    is ZONE_NORMAL, at most some 760 MB on 32-bit ARM and 890 MB on x86."""
    dma32_mb: int = Field(default=4096, ge=1)
    """Where ZONE_DMA32 ends and ZONE_NORMAL begins [MB]; 4096 on real 64-bit machines, less for scaled-down twins."""
    movable_mb: int = Field(default=0, ge=0)
    """ZONE_MOVABLE at the end of memory (kernelcore=, movablecore=) [MB]."""
    cma_zone: Literal["auto", "dma32", "normal", "highmem"] = "auto"
    """Zone at whose end the area lies. auto: HIGHMEM if there is one that holds it, else memory below 4 GB, where
    dma_contiguous_reserve() puts it on arm64."""
    profile: Literal["v4_6", "v6_12"] = "v6_12"
    """Whose rules the kernel follows where they changed."""

    @model_validator(mode="after")
    def _area_fits(self) -> MachineSpec:
        if self.cma_mb * 2 > self.ram_mb:
            raise ValueError(f"cma_mb={self.cma_mb} is more than half of ram_mb={self.ram_mb}; make the area smaller")
        for name in ("ram_mb", "cma_mb", "highmem_mb", "dma32_mb", "movable_mb"):
            size = getattr(self, name)
            if (size * PAGES_PER_MB) % (1 << self.pageblock_order):
                raise ValueError(f"{name}={size} is not a whole number of pageblocks of order {self.pageblock_order}")
        if self.highmem_mb + self.movable_mb + self.cma_mb >= self.ram_mb:
            sizes = f"highmem_mb={self.highmem_mb} and movable_mb={self.movable_mb}"
            raise ValueError(f"{sizes} leave no low memory; make them smaller")
        start, end = self.zone_span(self.area_zone())
        if end - start < self.cma_pages:
            size = (end - start) // PAGES_PER_MB
            raise ValueError(f"zone {self.area_zone()!r} has {size} MB for cma_mb={self.cma_mb}; set another cma_zone")
        return self

    def zone_span(self, zone: Literal["dma32", "normal", "highmem", "movable"]) -> tuple[int, int]:
        """First page frame of a zone and of the one behind it, a CMA area of its own included."""
        low_end = (self.ram_mb - self.movable_mb - self.highmem_mb) * PAGES_PER_MB
        high_end = (self.ram_mb - self.movable_mb) * PAGES_PER_MB
        dma32_end = 0 if self.highmem_mb > 0 else min(low_end, self.dma32_mb * PAGES_PER_MB)
        spans = {
            "dma32": (0, dma32_end),
            "normal": (dma32_end, low_end),
            "highmem": (low_end, high_end),
            "movable": (high_end, self.nr_pages),
        }
        return spans[zone]

    def area_zone(self) -> Literal["dma32", "normal", "highmem"]:
        """Zone that the CMA area lies in. Linux: cma_declare_contiguous_nid()."""
        if self.cma_zone != "auto":
            return self.cma_zone
        if self.highmem_mb >= self.cma_mb:
            return "highmem"
        return "normal" if self.highmem_mb > 0 else "dma32"

    @property
    def nr_pages(self) -> int:
        """Page frames of the machine."""
        return self.ram_mb * PAGES_PER_MB

    @property
    def cma_pages(self) -> int:
        """Page frames of the CMA area."""
        return self.cma_mb * PAGES_PER_MB
