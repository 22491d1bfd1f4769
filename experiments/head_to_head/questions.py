"""The questions of the discussion of May 2016, each as pairs of systems that differ in what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Contrast:
    """Two systems, and what it means if one of them serves more whole-area demands."""

    ours: str
    theirs: str
    ahead: str
    """The answer if `ours` is ahead: a noun phrase."""
    behind: str
    """The answer if `theirs` is."""

    @property
    def name(self) -> str:
        """What figures and tables call it."""
        return f"{self.ours} - {self.theirs}"


@dataclass(frozen=True)
class Question:
    """One question of the discussion, with the contrasts that answer it."""

    name: str
    """Short name, for columns."""
    text: str
    contrasts: tuple[Contrast, ...]
    families: tuple[str, ...] = ()
    """Families of workloads it is about; none: all."""
    background: str = ""
    """Who said what."""


QUESTIONS = (
    Question(
        "kind",
        "Page cache or anonymous pages in CMA?",
        (
            Contrast("page_cache_only", "anonymous_only", "page cache", "anonymous pages"),
            Contrast("page_cache_only", "page_cache_and_anonymous", "page cache alone", "both"),
            Contrast("anonymous_only", "page_cache_and_anonymous", "anonymous pages alone", "both"),
            Contrast("gfp_page_cache", "gfp_cma", "Intel's GFP_PAGE_CACHE", "HiSilicon's GFP_CMA"),
        ),
        background="Feng Tang (Intel) lent to page cache only; Joonsoo Kim (LG) held that anonymous pages are easier "
        "to migrate, and HiSilicon shipped that.",
    ),
    Question(
        "block device",
        "Block-device cache in or out?",
        (
            Contrast("page_cache_only", "page_cache_and_bdev", "out", "in"),
            Contrast("gfp_page_cache", "gfp_page_cache_bdev", "out, also in the window", "in, in the window"),
        ),
        background="Both sides of the discussion wanted it out; nobody had shown what that is worth.",
    ),
    Question(
        "zone",
        "A zone of its own, or a migratetype?",
        (
            Contrast("zone_cma", "cma_first", "the zone", "the migratetype, lent to everyone first"),
            Contrast("zone_cma", "page_cache_and_anonymous", "the zone", "the migratetype, lent to the same kinds"),
            Contrast("zone_cma", "half_and_half", "the zone", "mainline's migratetype (5.8+)"),
            Contrast("zone_cma", "mainline_fallback", "the zone", "mainline's migratetype (4.1 to 5.7)"),
        ),
        background="Joonsoo Kim's ZONE_CMA against MIGRATE_CMA. Block-device cache never gets into the zone; the first "
        "pair differs in that, too, and the second one does not.",
    ),
    Question(
        "when",
        "Lend early or late?",
        (
            Contrast("gfp_page_cache", "page_cache_only", "late (page cache)", "early (page cache)"),
            Contrast("mainline_fallback", "half_and_half", "late (everyone)", "half and half (everyone)"),
            Contrast("half_and_half", "cma_first", "half and half (everyone)", "always (everyone)"),
            Contrast("mainline_fallback", "cma_first", "late (everyone)", "always (everyone)"),
        ),
        background="Page cache: only when ordinary memory is short, or always. Everyone: when ordinary free lists are "
        "empty (4.1 to 5.7), while more than half of free memory is CMA (5.8+), or always (vendors).",
    ),
    Question(
        "busy",
        "Stop lending while a request for the area runs, or not?",
        (
            Contrast("page_cache_stops", "page_cache_only", "stop (page cache)", "go on (page cache)"),
            Contrast("gfp_cma_stops", "gfp_cma", "stop (GFP_CMA)", "go on (GFP_CMA)"),
            Contrast("cma_first_stops", "cma_first", "stop (everyone)", "go on (everyone)"),
            Contrast("qualcomm_gfp_cma", "gfp_cma", "stop, as Qualcomm", "go on, as HiSilicon"),
            Contrast("cma_aggressive", "cma_first", "stop and shrink first, as CMA_AGGRESSIVE", "go on (everyone)"),
        ),
        background="Qualcomm's and CMA_AGGRESSIVE's kernels lend nothing while cma_alloc() runs. The first three pairs "
        "differ in that alone (`experiments/head_to_head/variants.py`), the last two are the systems themselves.",
    ),
    Question(
        "pcp",
        "A per-CPU list of its own for CMA pages, the movable one, or none?",
        (
            Contrast(
                "page_cache_shared_list", "page_cache_only", "the movable list (page cache)", "no list (page cache)"
            ),
            Contrast(
                "page_cache_own_list", "page_cache_only", "a list of its own (page cache)", "no list (page cache)"
            ),
            Contrast("anonymous_shared_list", "anonymous_only", "the movable list (anonymous)", "no list (anonymous)"),
            Contrast("anonymous_own_list", "anonymous_only", "a list of its own (anonymous)", "no list (anonymous)"),
        ),
        background="Chen Feng (HiSilicon) wanted freed CMA pages off the per-CPU lists; Joonsoo Kim held that draining "
        "them is enough. On the movable list a freed CMA page goes to whoever asks next for a movable page, whatever "
        "the rule says. The variants are those of `experiments/head_to_head/variants.py`.",
    ),
)


def contrasts() -> Iterator[tuple[Question, Contrast]]:
    """Every contrast with its question."""
    return ((question, contrast) for question in QUESTIONS for contrast in question.contrasts)
