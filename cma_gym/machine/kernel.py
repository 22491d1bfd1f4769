"""The kernel's configuration: every switch that a known system needs beyond its placement rule."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cma_gym.machine.costs import COST_TABLES, CostProfile
from cma_gym.machine.spec import MachineSpec
from cma_gym.mm.mmzone import Cost, PcpCma

Profile = Literal["v4_6", "v6_12"]


class KernelConfig(BaseModel):
    """Switches and rates of the simulated kernel. The defaults are mainline 6.12's; see `for_profile`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lend: bool = True
    """Off: a carve-out; the area belongs to its device alone (S0)."""
    zone_cma: bool = False
    """The area is a zone of its own, highest in the zonelist (ZONE_CMA, S14)."""
    cma_ratio: int = Field(default=0, ge=0)
    """n > 0: each page of a movable request is taken from CMA while free CMA > free pages / n (mainline 5.8+: 2)."""
    cma_pcp: Literal["shared", "own", "none"] = "shared"
    """Per-CPU list of CMA pages: on the movable list, on one of their own, or none."""
    compact_into_cma: bool = True
    """Compaction's free scanner may use CMA pageblocks as targets."""
    migrate_into_cma: bool = True
    """Migration targets of contiguous allocations may lie in CMA."""
    lending_stops_while_busy: bool = False
    """Nobody borrows while cma_alloc() runs (CMA_AGGRESSIVE, Qualcomm)."""
    shrink_before_cma_alloc: bool = False
    """Reclaim room for the migrated pages first (CMA_AGGRESSIVE)."""
    lru_cache_disable: bool = True
    """Drain LRU batches and keep them off during a contiguous allocation (5.12+)."""
    lru_per_zone: bool = False
    new_anon_active: bool = False
    """Fresh anonymous pages start on the active list (up to 5.8)."""
    scan_by_rotation: bool = False
    """Reclaim is shared between anonymous and file pages by how many of each were in use (up to 5.7), not by cost."""
    fair_zone: bool = False
    """Round robin over the zones by size (up to 4.7)."""
    steal_largest_first: bool = False
    boost_factor: int = Field(default=15000, ge=0)
    """Watermark boost after an external fragmentation event [1/10000 of the high watermark]."""
    migrate_passes: int = Field(default=10, ge=1)
    lru_batch: int = Field(default=31, ge=1, le=31)
    """Pages a CPU collects before it adds them to the LRU lists."""
    swappiness: int = Field(default=60, ge=0, le=200)
    dirty_background_percent: int = Field(default=10, ge=1, le=100)
    dirty_percent: int = Field(default=20, ge=1, le=100)
    dirty_expire_ms: int = Field(default=30_000, ge=1)
    demand_tries: int = Field(default=3, ge=1)
    """Tries of one demand by its driver."""
    demand_tries_per_piece: bool = False
    """It tries so often for each piece, and goes on to the next one when a piece could not be had: the driver of the
    recordings. Off: a piece that cannot be had ends the try for all that are missing."""
    demand_retry_ms: int = Field(default=100, ge=0)
    lmk: bool = True
    """The low memory killer (FACTS C9)."""
    lmk_subtract_cma: bool = True
    """It does not count free CMA as free, as Android's lmkd (get_lowest_watermark()), HiSilicon and Qualcomm. Off: the
    staging driver of 3.x and 4.x, which an idle area keeps from killing while ordinary memory is short."""
    reclaim_skips_cma: bool = False
    """Direct reclaim passes over CMA pages if the request could not use them (mainline 2023-2024; FACTS A9.c, A3)."""
    lmk_minfree_permille: tuple[int, int, int, int] = (20, 35, 60, 0)
    """Tasks of an importance class may be killed when both free and file pages are below this share of RAM [1/1000], by
    Importance; SYSTEM never is. Source: vendor tables of 3 GB phones (FACTS C9: 18432, 27648 and 55296 pages)."""
    lmk_available_permille: int = Field(default=0, ge=0, le=1000)
    """n > 0: a killer in user space instead, which ends the task used longest ago when MemAvailable is below this share
    of RAM [1/1000], as the recorded guest's (60), or when swap is nearly full."""
    lmk_swap_free_permille: int = Field(default=0, ge=0, le=1000)
    """Free swap below which that killer acts, too [1/1000 of the swap device]."""
    zram_content: Literal["mixed", "half"] = "mixed"
    """What is swapped: compresses 2.9 times in the mean; or, as the recorded guest's heaps, half of it not at all and
    the rest eightfold."""
    cost_profile: CostProfile = "phone"
    """Kind of machine whose cost table holds (machine/costs.py)."""
    swap_backend: Literal["zram", "disk"] = "zram"
    """Where anonymous pages go: compressed into memory, or to a disk (servers and virtual machines)."""
    cma_round_robin: bool = False
    """Each pageblock's worth of movable pages is shared out between ordinary memory and CMA (May 2014, S6)."""
    catch_up_ms: int | None = Field(default=None, ge=0)
    """What the tasks of a saturated job can make up for after a wait [ms]; none: arrivals do not wait for the machine.
    A workload that measures elapsed time sets it."""
    cpu_contention_percent: int = Field(default=0, ge=0)
    """How much longer a driver's work in cma_alloc() takes because the tasks of a saturated job share its CPU [%]."""
    costs_ns: dict[str, int] = Field(default_factory=dict)
    """Entries that differ from that table, by lower-case name [ns]."""
    isolate_max_order: bool = False
    """A contiguous allocation isolates whole blocks of the largest order, not pageblocks (up to 5.18)."""
    cma_alloc_retries: int = Field(default=0, ge=0)
    """Searches that cma_alloc() begins again after it found every place busy (Goldsworthy 2020; vendor modules: 10)."""
    cma_alloc_retry_ms: int = Field(default=100, ge=0)
    """It sleeps this long before each of them [ms]."""
    cma_alloc_bulk: bool = False
    """Demands of several pieces that fit a pageblock drain once, try each place in one round that waits for nothing,
    and leave a busy pageblock for the next one (Minchan Kim and Hyesoo Yu's cma_alloc_bulk, 2020)."""
    old_allocator: bool = False
    """4.6's rules where no other switch says so: per-CPU lists for single pages only, freed in turn; a HIGHATOMIC
    reserve that is never below a pageblock; HIGHMEM protected like NORMAL; compaction comes before reclaim."""
    pcp_scale_max: int = Field(default=5, ge=0, le=6)
    """Per-CPU lists tune their size, and their batches grow up to 2 ** n times (6.7+, CONFIG_PCP_BATCH_SCALE_MAX); 0:
    both stay as they are at boot."""
    kcompactd: bool = True
    """Background compaction (4.6+)."""
    compaction_proactiveness: int = Field(default=20, ge=0, le=100)
    """Compact in the background when the fragmentation score is high (5.9+); 0: never."""
    gcma: bool = False
    """Clean file pages that reclaim evicts are kept in the area until it is asked for (GCMA, FACTS A9.h, A9.i); needs
    `lend=False`, since nothing else may lie there."""
    cma_balance: bool = False
    """kswapd moves movable pages from ordinary memory into free CMA while ordinary memory is short (FACTS A9.k)."""
    cma_first_limit: int = Field(default=-1, ge=-1, le=100)
    """A movable page comes from CMA first when free CMA is more than this share of the zone's free pages [%]: 0 always,
    100 never, 50 is the half rule; -1: there is no such limit (FACTS A9.k)."""

    gcma_frontswap: bool = False
    """The area also keeps copies of pages that are swapped out, until they come back (GCMA of 2015); needs `gcma`."""
    lend_below_watermark: bool = False
    """The area is lent only once ordinary free memory has reached the low watermark, and for good then; from boot on
    where it is above 30 % of memory, or memory below 1 GB (Amlogic, S17). Assumption: machines below 256 MB stand for
    larger ones."""
    lend_below_available_permille: int = Field(default=0, ge=0, le=1000)
    """n > 0: the area is lent only once MemAvailable without the area's free pages has been below this share of RAM
    [1/1000], or `lend_after_s` have passed since boot, and for good then (Motorola, S19)."""
    lend_after_s: int = Field(default=100, ge=0)
    """When such a kernel lends in any case [s]."""
    cma_helpers: bool = False
    """A demand of half a pageblock and more is served by boosted threads, one on each CPU but one (Amlogic).
    Assumption: the work is shared out evenly, and tasks do not feel what the threads take from them."""
    migrate_mapped_file: bool = False
    """A contiguous allocation moves clean file pages that many tasks map, and does not drop them (Amlogic)."""
    wake_kswapd_on_busy: bool = False
    """cma_alloc() wakes kswapd whenever a place was busy (Amlogic)."""
    sync_on_busy: bool = False
    """When a page of the block device's cache made a place busy, cma_alloc() has that device synced (Realtek, S18)."""
    cma_by_table: bool = False
    """CMA is one of the types that a movable request falls back to, largest block first of all of them (up to 4.0)."""
    cma_sticky: bool = False
    """CMA pageblocks are movable pageblocks like others, but never change their type (Mel Gorman's idea, S15): a
    movable request takes the smallest block of either that fits, an ordinary one first if both are alike."""
    contiguitas: bool = False
    """What cannot be moved has a region of its own at the beginning of the zone, which grows by the pageblock next to
    it, emptied if need be, and shrinks by the same; CMA is as `cma_sticky` (S22)."""

    @model_validator(mode="after")
    def _gcma_lends_nothing_else(self) -> KernelConfig:
        if self.gcma and (self.lend or self.zone_cma):
            raise ValueError("gcma=True keeps only evicted file pages in the area; set lend=False and zone_cma=False")
        if self.gcma_frontswap and not self.gcma:
            raise ValueError("gcma_frontswap=True is a part of GCMA; set gcma=True")
        return self

    @classmethod
    def for_profile(cls, profile: Profile, **overrides: Any) -> KernelConfig:
        """The configuration of a kernel version, with some switches overridden."""
        return cls(**{**_PROFILES[profile], **overrides})

    def cost_table(self) -> list[int]:
        """Nanoseconds by `Cost`.

        Raises:
            ValueError: `costs_ns` names an unknown cost.
        """
        table = [COST_TABLES[self.cost_profile][cost] for cost in Cost]
        for name, value in self.costs_ns.items():
            if name.upper() not in Cost.__members__:
                known = ", ".join(cost.name.lower() for cost in Cost)
                raise ValueError(f"kernel.costs_ns: there is no cost {name!r}; known are {known}")
            table[Cost[name.upper()]] = value
        return table

    def fill(self, record: Any, spec: MachineSpec) -> None:
        """Write this configuration into a machine's `kernel` record (mm/mm_types.py)."""
        direct = (
            "cma_ratio lend compact_into_cma migrate_into_cma lending_stops_while_busy shrink_before_cma_alloc "
            "lru_cache_disable lru_per_zone new_anon_active fair_zone steal_largest_first boost_factor "
            "migrate_passes swappiness dirty_background_percent dirty_percent demand_tries lmk lmk_subtract_cma "
            "reclaim_skips_cma cma_round_robin isolate_max_order cma_alloc_retries cma_alloc_bulk "
            "scan_by_rotation old_allocator pcp_scale_max kcompactd gcma cma_balance cma_first_limit "
            "demand_tries_per_piece gcma_frontswap cma_helpers migrate_mapped_file wake_kswapd_on_busy sync_on_busy "
            "cma_by_table cma_sticky contiguitas"
        )
        for name in direct.split():
            record[name] = getattr(self, name)
        record["lend_below_watermark"] = self.lend_below_watermark and not _lent_from_boot(spec)
        record["lend_below_available"] = self.lend_below_available_permille * spec.nr_pages // 1000
        record["lend_after_ns"] = self.lend_after_s * 1_000_000_000
        record["pageblock_order"] = spec.pageblock_order
        record["nr_cpus"] = spec.nr_cpus
        record["nr_lru_batch"] = self.lru_batch
        record["proactiveness"] = self.compaction_proactiveness
        record["cma_pcp"] = PcpCma[self.cma_pcp.upper()]
        record["dirty_expire_ns"] = self.dirty_expire_ms * 1_000_000
        record["swap_disk"] = self.swap_backend == "disk"
        record["cpu_contention"] = self.cpu_contention_percent
        record["catch_up_ns"] = -1 if self.catch_up_ms is None else self.catch_up_ms * 1_000_000
        record["demand_retry_ns"] = self.demand_retry_ms * 1_000_000
        record["cma_alloc_retry_ns"] = self.cma_alloc_retry_ms * 1_000_000
        record["lmk_minfree"] = [share * spec.nr_pages // 1000 for share in self.lmk_minfree_permille]
        nr_swap = spec.nr_pages * spec.zram_percent // 100
        record["lmk_available"] = self.lmk_available_permille * spec.nr_pages // 1000
        record["lmk_swap_free"] = self.lmk_swap_free_permille * nr_swap // 1000
        record["zs_half"] = self.zram_content == "half"
        table = self.cost_table()
        record["cost"][: len(table)] = table


def _lent_from_boot(spec: MachineSpec) -> bool:
    """Where Amlogic's kernels wait for no watermark: a large area, or little memory."""
    return spec.cma_pages * 10 > 3 * spec.nr_pages or 1 << 16 <= spec.nr_pages < 1 << 18


_PROFILES: dict[str, dict[str, Any]] = {
    "v6_12": {},
    "v4_6": {
        "lru_cache_disable": False,
        "lru_per_zone": True,
        "new_anon_active": True,
        "scan_by_rotation": True,
        "fair_zone": True,
        "steal_largest_first": True,
        "boost_factor": 0,
        "lru_batch": 14,
        "isolate_max_order": True,
        "old_allocator": True,
        "pcp_scale_max": 0,
        "compaction_proactiveness": 0,
        "lmk_subtract_cma": False,
    },
}
