/*
 * The common path of the page allocator in plain C: what bench_alloc.py measures the compiled Python against.
 *
 * It works on the simulator's own record, whose layout machine.h declares (written from the dtype by c_layout.py), and
 * leaves the same bytes behind. What the churn never needs is not here: stealing from other migratetypes, blocks too
 * large for the CPU's lists, and the slow path. Where the simulator would go there, `not_here` is called and the churn
 * fails.
 */
#include "machine.h"

static int lost;

static int64_t not_here(void)
{
	lost = 1;
	return NO_PAGE;
}

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* lists */

static void list_add(struct memory *mem, int64_t pfn, int64_t head)
{
	struct page *page = mem->page;
	int32_t first = page[head].next;

	page[first].prev = pfn;
	page[pfn].next = first;
	page[pfn].prev = head;
	page[head].next = pfn;
}

static void list_add_tail(struct memory *mem, int64_t pfn, int64_t head)
{
	struct page *page = mem->page;
	int32_t last = page[head].prev;

	page[last].next = pfn;
	page[pfn].prev = last;
	page[pfn].next = head;
	page[head].prev = pfn;
}

static void list_del(struct memory *mem, int64_t pfn)
{
	struct page *page = mem->page;
	int32_t before = page[pfn].prev;
	int32_t after = page[pfn].next;

	page[before].next = after;
	page[after].prev = before;
	page[pfn].next = pfn;
	page[pfn].prev = pfn;
}

/* buddy lists */

static int64_t pageblock_type(struct memory *mem, int64_t pfn)
{
	return mem->pageblock[pfn >> mem->kernel.pageblock_order].migratetype;
}

static void account_freepages(struct zones *zone, int64_t nr_pages, int64_t type)
{
	if (type == MIGRATE_ISOLATE)
		return;
	zone->vm_stat[STAT_FREE_PAGES] += nr_pages;
	if (type == MIGRATE_CMA)
		zone->vm_stat[STAT_FREE_CMA] += nr_pages;
	else if (type == MIGRATE_HIGHATOMIC)
		zone->nr_free_highatomic += nr_pages;
}

static void add_to_free_list(struct memory *mem, struct zones *zone, int64_t pfn, int64_t order, int64_t type, int tail)
{
	struct free_area *area = &zone->free_area[order];
	struct page *page = &mem->page[pfn];

	page->flag = PG_BUDDY;
	page->order = order;
	if (tail)
		list_add_tail(mem, pfn, area->free_list[type]);
	else
		list_add(mem, pfn, area->free_list[type]);
	area->nr_free++;
}

static void take_off_free_list(struct memory *mem, struct zones *zone, int64_t pfn, int64_t order)
{
	list_del(mem, pfn);
	mem->page[pfn].flag &= ~PG_BUDDY;
	zone->free_area[order].nr_free--;
}

static int is_free_buddy(struct memory *mem, struct zones *zone, int64_t pfn, int64_t order)
{
	if (pfn < zone->start_pfn || pfn + (1ll << order) > zone->end_pfn)
		return 0;
	return (mem->page[pfn].flag & PG_BUDDY) && mem->page[pfn].order == order;
}

static int is_mergeable(int64_t type)
{
	return type < MIGRATE_HIGHATOMIC;
}

static void change_pageblock_range(struct memory *mem, int64_t pfn, int64_t order, int64_t type)
{
	int64_t end = pfn + (1ll << order);

	for (; pfn < end; pfn += 1ll << mem->kernel.pageblock_order)
		mem->pageblock[pfn >> mem->kernel.pageblock_order].migratetype = type;
}

static void free_one_page(struct memory *mem, struct zones *zone, int64_t pfn, int64_t order, int64_t type)
{
	int tail = 0;

	account_freepages(zone, 1ll << order, type);
	while (order < NR_PAGE_ORDERS - 1) {
		int64_t buddy = pfn ^ (1ll << order);
		int64_t buddy_type = type;

		if (!is_free_buddy(mem, zone, buddy, order))
			break;
		if (order >= mem->kernel.pageblock_order) {
			buddy_type = pageblock_type(mem, buddy);
			if (buddy_type != type && !(is_mergeable(type) && is_mergeable(buddy_type)))
				break;
		}
		take_off_free_list(mem, zone, buddy, order);
		if (buddy_type != type) {
			account_freepages(zone, -(1ll << order), buddy_type);
			account_freepages(zone, 1ll << order, type);
			change_pageblock_range(mem, buddy, order, type);
		}
		pfn &= buddy;
		order++;
	}
	if (order < NR_PAGE_ORDERS - 2)
		tail = is_free_buddy(mem, zone, (pfn & ~(1ll << order)) ^ (1ll << (order + 1)), order + 1);
	add_to_free_list(mem, zone, pfn, order, type, tail);
}

static int64_t rmqueue_smallest(struct memory *mem, struct zones *zone, int64_t order, int64_t type)
{
	for (int64_t current = order; current < NR_PAGE_ORDERS; current++) {
		int64_t head = zone->free_area[current].free_list[type];
		int64_t pfn = mem->page[head].next;

		if (pfn == head)
			continue;
		take_off_free_list(mem, zone, pfn, current);
		account_freepages(zone, -(1ll << order), type);
		while (current > order) {
			current--;
			add_to_free_list(mem, zone, pfn + (1ll << current), current, type, 0);
		}
		return pfn;
	}
	return NO_PAGE;
}

static int prefers_cma(struct memory *mem, struct zones *zone, int64_t alloc_flags)
{
	int64_t free_cma = zone->vm_stat[STAT_FREE_CMA];
	int64_t free_pages = zone->vm_stat[STAT_FREE_PAGES];

	if (alloc_flags & ALLOC_CMA_FIRST)
		return 1;
	if (mem->kernel.cma_round_robin)
		return not_here();
	if (mem->kernel.cma_first_limit >= 0)
		return free_cma * 100 > mem->kernel.cma_first_limit * free_pages;
	return mem->kernel.cma_ratio > 0 && free_cma * mem->kernel.cma_ratio > free_pages;
}

static int64_t rmqueue_buddy(struct memory *mem, struct zones *zone, int64_t order, int64_t type, int64_t alloc_flags)
{
	int cma = alloc_flags & ALLOC_CMA && zone->vm_stat[STAT_FREE_CMA] > 0;
	int64_t pfn;

	if (cma && prefers_cma(mem, zone, alloc_flags)) {
		pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA);
		if (pfn != NO_PAGE)
			return pfn;
	}
	pfn = rmqueue_smallest(mem, zone, order, type);
	if (pfn == NO_PAGE && cma)
		pfn = rmqueue_smallest(mem, zone, order, MIGRATE_CMA);
	return pfn == NO_PAGE ? not_here() : pfn;
}

/* watermarks */

static int watermark_ok(struct zones *zone, int64_t mark, int64_t highest_zoneidx, int64_t alloc_flags)
{
	int64_t free = zone->vm_stat[STAT_FREE_PAGES];

	if (!(alloc_flags & ALLOC_RESERVES))
		free -= zone->nr_free_highatomic;
	if (!(alloc_flags & ALLOC_CMA))
		free -= zone->vm_stat[STAT_FREE_CMA];
	if (alloc_flags & ALLOC_MIN_RESERVE) {
		mark -= mark / 2;
		if (alloc_flags & ALLOC_NON_BLOCK)
			mark -= mark / 4;
	}
	if (alloc_flags & ALLOC_OOM)
		mark -= mark / 2;
	return free > mark + zone->lowmem_reserve[highest_zoneidx];
}

static int zone_has_room(struct memory *mem, struct zones *zone, int64_t highest_zoneidx, int64_t alloc_flags)
{
	int64_t which = alloc_flags & ALLOC_WMARK_MASK;
	int64_t boost = zone->watermark_boost;

	if (mem->kernel.pcp_scale_max > 0 && !zone->below_high) {
		if (watermark_ok(zone, zone->watermark[WMARK_HIGH] + boost, highest_zoneidx, alloc_flags))
			return 1;
		zone->below_high = 1;
	}
	return watermark_ok(zone, zone->watermark[which] + boost, highest_zoneidx, alloc_flags);
}

/* per-CPU lists */

static int64_t pcp_type(struct memory *mem, int64_t type)
{
	if (type < MIGRATE_HIGHATOMIC)
		return type;
	if (type == MIGRATE_HIGHATOMIC)
		return MIGRATE_MOVABLE;
	if (type == MIGRATE_ISOLATE || mem->kernel.cma_pcp == PCP_CMA_NONE || !mem->kernel.lend)
		return -1;
	return mem->kernel.cma_pcp == PCP_CMA_OWN ? NR_PCP_TYPES - 1 : MIGRATE_MOVABLE;
}

static int64_t pcp_high(struct pcp *pcp)
{
	pcp->high = min64(max64(pcp->high, pcp->high_min), pcp->high_max);
	return pcp->high;
}

static int64_t nr_pcp_alloc(struct memory *mem, struct zones *zone, struct pcp *pcp, int64_t order)
{
	int64_t base = pcp->batch;
	int64_t high, batch;

	if (mem->kernel.pcp_scale_max == 0)
		return max64(1, base >> order);
	high = pcp_high(pcp);
	if (high < base)
		return 1;
	batch = order > 0 ? base : base << pcp->alloc_factor;
	if (pcp->high_min != pcp->high_max && !zone->below_high) {
		high = min64(high + batch, pcp->high_max);
		pcp->high = high;
	}
	if (order == 0) {
		int64_t most = max64(high - pcp->nr - base, base);

		if (batch <= most && pcp->alloc_factor < mem->kernel.pcp_scale_max)
			pcp->alloc_factor++;
		batch = min64(batch, most);
	}
	return batch > 1 ? max64(batch >> order, 2) : batch;
}

static void rmqueue_bulk(struct memory *mem, struct zones *zone, struct pcp *pcp, int64_t order, int64_t type,
			 int64_t alloc_flags)
{
	int64_t head = pcp->lists[order * NR_PCP_TYPES + type];
	int64_t count;

	mem->refill++;
	for (count = nr_pcp_alloc(mem, zone, pcp, order); count > 0; count--) {
		int64_t pfn = rmqueue_buddy(mem, zone, order, type, alloc_flags);

		if (pfn == NO_PAGE)
			break;
		mem->page[pfn].flag |= PG_PCP;
		mem->page[pfn].order = order;
		list_add_tail(mem, pfn, head);
		pcp->nr += 1 << order;
	}
}

static int64_t rmqueue(struct memory *mem, struct zones *zone, int64_t cpu, int64_t order, int64_t type,
		       int64_t alloc_flags)
{
	struct pcp *pcp = &zone->pcp[cpu];
	int64_t head, pfn;

	if (order > (mem->kernel.old_allocator ? 0 : PAGE_ALLOC_COSTLY_ORDER))
		return not_here();
	pcp->free_count >>= 1;
	if (alloc_flags & ALLOC_CMA && mem->kernel.cma_pcp != PCP_CMA_SHARED && zone->cma_pages > 0)
		return not_here();
	head = pcp->lists[order * NR_PCP_TYPES + type];
	pfn = mem->page[head].next;
	if (pfn == head) {
		rmqueue_bulk(mem, zone, pcp, order, type, alloc_flags);
		pfn = mem->page[head].next;
		if (pfn == head)
			return not_here();
	}
	list_del(mem, pfn);
	mem->page[pfn].flag &= ~PG_PCP;
	pcp->nr -= 1 << order;
	return pfn;
}

static int64_t free_pcp_block(struct memory *mem, struct zones *zone, struct pcp *pcp, int64_t index)
{
	int64_t head = pcp->lists[index];
	int64_t pfn = mem->page[head].prev;
	int64_t order = index / NR_PCP_TYPES;

	if (pfn == head)
		return 0;
	list_del(mem, pfn);
	mem->page[pfn].flag &= ~PG_PCP;
	pcp->nr -= 1 << order;
	free_one_page(mem, zone, pfn, order, pageblock_type(mem, pfn));
	return 1ll << order;
}

static void free_pcppages_bulk(struct memory *mem, struct zones *zone, struct pcp *pcp, int64_t count, int64_t index)
{
	count = min64(count, pcp->nr);
	while (count > 0) {
		int64_t freed = free_pcp_block(mem, zone, pcp, index);

		count -= freed;
		if (mem->kernel.old_allocator || freed == 0)
			index = index + 1 < NR_PCP_LISTS ? index + 1 : 0;
	}
}

static int64_t nr_pcp_high(struct memory *mem, struct zones *zone, struct pcp *pcp, int64_t batch, int free_high)
{
	int64_t high = pcp_high(pcp);
	int64_t freed = pcp->free_count;

	if (free_high) {
		pcp->high = max64(high - (batch << mem->kernel.pcp_scale_max), pcp->high_min);
		return 0;
	}
	if (mem->node.kswapd_awake && zone->index <= mem->node.kswapd_highest_zoneidx) {
		pcp->high = max64(high - max64(freed, batch), pcp->high_min);
		return min64(batch << 2, pcp->high);
	}
	if (pcp->high_min == pcp->high_max)
		return high;
	if (zone->below_high) {
		pcp->high = max64(high - max64(freed, batch), pcp->high_min);
		return max64(pcp->nr, pcp->high_min);
	}
	if (pcp->nr >= high && pcp->high < freed + batch)
		pcp->high = min64(max64(freed + batch, pcp->high_min), pcp->high_max);
	return high;
}

static int64_t nr_pcp_free(struct memory *mem, struct pcp *pcp, int64_t batch, int64_t high, int free_high)
{
	if (free_high)
		return min64(pcp->nr, batch << mem->kernel.pcp_scale_max);
	if (high < batch)
		return 1;
	return min64(max64(pcp->free_count, batch), max64(high - batch, batch));
}

static void pcp_overflow(struct memory *mem, struct zones *zone, struct pcp *pcp, int64_t order, int64_t index)
{
	int64_t batch = pcp->batch;
	int64_t high;
	int free_high;

	if (mem->kernel.pcp_scale_max == 0) {
		if (pcp->nr >= pcp->high)
			free_pcppages_bulk(mem, zone, pcp, batch, index);
		return;
	}
	pcp->alloc_factor >>= 1;
	free_high = order > 0 && pcp->freed_high_order && pcp->free_count >= batch && pcp->nr >= batch;
	pcp->freed_high_order = order > 0;
	if (pcp->free_count < batch << mem->kernel.pcp_scale_max)
		pcp->free_count += 1 << order;
	high = nr_pcp_high(mem, zone, pcp, batch, free_high);
	if (pcp->nr < high)
		return;
	free_pcppages_bulk(mem, zone, pcp, nr_pcp_free(mem, pcp, batch, high, free_high), index);
	if (zone->below_high && watermark_ok(zone, zone->watermark[WMARK_HIGH] + zone->watermark_boost, ZONE_MOVABLE, 0))
		zone->below_high = 0;
}

/* what a user of pages calls */

static void set_page_kind(struct memory *mem, int64_t pfn, int64_t kind)
{
	struct page *page = &mem->page[pfn];
	int64_t offset = pfn - mem->cma.base_pfn;

	if (offset >= 0 && offset < mem->cma.nr_pages) {
		mem->cma.occupancy[page->kind]--;
		mem->cma.occupancy[kind]++;
	}
	page->kind = kind;
}

static void prep_new_page(struct memory *mem, int64_t pfn, int64_t order, int64_t kind, int64_t index, int64_t task)
{
	for (int64_t sub = pfn; sub < pfn + (1ll << order); sub++) {
		struct page *page = &mem->page[sub];

		page->flag = 0;
		page->index = index;
		page->task = task;
		page->stamp = mem->clock >> TICK_SHIFT;
		page->mapcount = 0;
		page->pincount = 0;
		page->holder = 0;
		page->order = 0;
		page->next = sub;
		page->prev = sub;
		set_page_kind(mem, sub, kind);
	}
	mem->page[pfn].order = order;
	mem->vm_event[EVENT_PGALLOC] += 1ll << order;
}

static void free_pages(struct memory *mem, int64_t cpu, int64_t pfn, int64_t order)
{
	struct zones *zone = &mem->zones[mem->page[pfn].zone];
	struct pcp *pcp = &zone->pcp[cpu];
	int64_t type, kind, index;

	for (int64_t sub = pfn; sub < pfn + (1ll << order); sub++) {
		mem->page[sub].flag = 0;
		set_page_kind(mem, sub, KIND_FREE);
	}
	mem->vm_event[EVENT_PGFREE] += 1ll << order;
	type = pageblock_type(mem, pfn);
	kind = pcp_type(mem, type);
	if (order > (mem->kernel.old_allocator ? 0 : PAGE_ALLOC_COSTLY_ORDER) || kind < 0) {
		free_one_page(mem, zone, pfn, order, type);
		return;
	}
	mem->page[pfn].flag |= PG_PCP;
	mem->page[pfn].order = order;
	index = order * NR_PCP_TYPES + kind;
	list_add(mem, pfn, pcp->lists[index]);
	pcp->nr += 1 << order;
	pcp_overflow(mem, zone, pcp, order, index);
}

static int64_t try_zones(struct memory *mem, int64_t cpu, int64_t order, int64_t type, int64_t highest_zoneidx,
			 int64_t alloc_flags)
{
	for (int64_t step = 0; step <= highest_zoneidx; step++) {
		int64_t index = highest_zoneidx - step;
		struct zones *zone;
		int64_t pfn;

		if (highest_zoneidx == ZONE_CMA && !(alloc_flags & ALLOC_CMA_FIRST))
			index = index > 0 ? index - 1 : ZONE_CMA;
		if (!(mem->node.populated >> index & 1))
			continue;
		zone = &mem->zones[index];
		if (!(alloc_flags & ALLOC_NO_WATERMARKS) && !zone_has_room(mem, zone, highest_zoneidx, alloc_flags))
			continue;
		pfn = rmqueue(mem, zone, cpu, order, type, alloc_flags);
		if (pfn != NO_PAGE) {
			zone->nr_alloc_batch -= 1ll << order;
			return pfn;
		}
	}
	return NO_PAGE;
}

/* Whether NORMAL should keep its pageblocks whole because there is a lower zone to go to. */
static int prefers_normal(struct memory *mem, int64_t highest_zoneidx)
{
	int64_t allowed = mem->node.populated & ((2ll << highest_zoneidx) - 1);

	return allowed == (1 << ZONE_NORMAL | 1 << ZONE_DMA32) && !mem->kernel.old_allocator;
}

static int64_t alloc_pages(struct memory *mem, int64_t cpu, int64_t order, int64_t type, int64_t highest_zoneidx,
			   int64_t alloc_flags)
{
	int64_t pfn;

	if (mem->kernel.fair_zone || prefers_normal(mem, highest_zoneidx))
		return not_here();
	pfn = try_zones(mem, cpu, order, type, highest_zoneidx, (alloc_flags & ALLOC_PLACEMENT) | WMARK_LOW);
	if (mem->node.boosted)
		return not_here();
	return pfn == NO_PAGE ? not_here() : pfn;
}

/* The same operations as bench_alloc.churn; what failed, or -1 if it went where this file does not follow. */
int64_t churn(struct memory *mem, int64_t *held, int64_t nr_held, int64_t operations, int64_t stride)
{
	int64_t failed = 0;
	int64_t at = 0;
	int64_t burst = 1;

	lost = 0;
	for (int64_t slot = 0; slot < nr_held; slot++)
		held[slot] = NO_PAGE;
	for (; operations > 0; operations -= burst, burst = burst < nr_held / 2 ? burst << 1 : 1) {
		int64_t start = at;

		for (int64_t step = 0; step < burst; step++) {
			at = (at + stride) & (nr_held - 1);
			if (held[at] != NO_PAGE)
				free_pages(mem, 0, held[at], 0);
		}
		at = start;
		for (int64_t step = 0; step < burst; step++) {
			at = (at + stride) & (nr_held - 1);
			held[at] = alloc_pages(mem, 0, 0, MIGRATE_MOVABLE, ZONE_NORMAL, step & 1 ? ALLOC_PLACEMENT : 0);
			if (held[at] == NO_PAGE)
				failed++;
			else
				prep_new_page(mem, held[at], 0, KIND_ANON, 0, 0);
		}
	}
	for (int64_t slot = 0; slot < nr_held; slot++)
		if (held[slot] != NO_PAGE)
			free_pages(mem, 0, held[slot], 0);
	return lost ? -1 : failed;
}
