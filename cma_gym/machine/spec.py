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
    """Part of ordinary memory that lies in ZONE_HIGHMEM [MB]; 0 on 64-bit machines."""
    profile: Literal["v4_6", "v6_12"] = "v6_12"
    """Whose rules the kernel follows where they changed."""

    @model_validator(mode="after")
    def _area_fits(self) -> MachineSpec:
        if self.cma_mb * 2 > self.ram_mb:
            raise ValueError(f"cma_mb={self.cma_mb} is more than half of ram_mb={self.ram_mb}; make the area smaller")
        for name in ("ram_mb", "cma_mb", "highmem_mb"):
            size = getattr(self, name)
            if (size * PAGES_PER_MB) % (1 << self.pageblock_order):
                raise ValueError(f"{name}={size} is not a whole number of pageblocks of order {self.pageblock_order}")
        if self.highmem_mb + self.cma_mb >= self.ram_mb:
            raise ValueError(f"highmem_mb={self.highmem_mb} leaves no low memory; make it smaller")
        return self

    @property
    def nr_pages(self) -> int:
        """Page frames of the machine."""
        return self.ram_mb * PAGES_PER_MB

    @property
    def cma_pages(self) -> int:
        """Page frames of the CMA area."""
        return self.cma_mb * PAGES_PER_MB
