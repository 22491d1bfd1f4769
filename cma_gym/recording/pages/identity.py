"""Follow every page from its allocation to its free, through migrations, by page frame number.

What the recorded kernel did on its own account is taken out here: frees by kswapd and direct reclaim become evictions,
targets of contiguous allocations inherit the page that moves into them, kernel memory that reclaim allocates for itself
is dropped. What remains is a log of actions (`Code`) on lives and file pages; frame numbers end here.

Migration, as alloc_contig_range() and the move before a long-term pin do it, shows as a batch of allocations followed
by a batch of frees in the same order, by one task: the first target belongs to the first source, and so on. A page that
fails to move leaves its target to be freed by its own number. Compaction's targets have no event at all: a file page is
found again when it is removed from the page cache by name, an anonymous page is taken to be one of those that its task
frees at a frame nobody allocated (assumption).
"""

from __future__ import annotations

import numpy as np

from cma_gym.recording.leaf import leaf
from cma_gym.recording.pages.books import Books, Count, has_room, log, with_room
from cma_gym.recording.pages.cache import cache_add, cache_delete
from cma_gym.recording.pages.lives import (
    is_moved_stranger,
    lose,
    move,
    new_life,
    old_life,
    pop_target,
    push_target,
    reclaims,
    task_at,
    thread_at,
)
from cma_gym.recording.text.format import Gfp, TraceEvent
from cma_gym.recording.text.kinds import (
    EMPTY,
    KERNEL_TASK,
    NOBODY_TASK,
    Code,
    Kind,
    Mark,
    classify,
    is_nowait,
    kalloc_arg,
)

# NumPy integers, not enums or literals: the compiler makes a version of a function for each distinct type it is given.
_ZERO = np.int64(0)
_ONE = np.int64(1)
_KERNEL = np.int64(KERNEL_TASK)
_BUFFER = np.int64(Kind.BUFFER)
_MOVABLE = np.int64(Mark.MOVABLE)
_ANON = np.int64(Kind.ANON)


@leaf
def _find_owner(books, thread, life, tgid):
    """Who frees an anonymous page that was there at the start shows whose it was."""
    if life.mark & Mark.PLACED and life.task == NOBODY_TASK and tgid != 0:
        life.task = task_at(books, tgid, thread.born)
        books.state[0].counts[Count.OWNED_PLACES] += 1


@leaf
def _free_user(books, thread, ident, tgid):
    """A frame with an anonymous page or page cache is freed: by its owner, by reclaim, or because it moved."""
    life = books.life[ident]
    counts = books.state[0].counts
    anon = life.kind <= Kind.COPY
    if not anon and life.mark & Mark.UNCACHED:
        return
    if reclaims(thread):
        counts[Count.EVICTED] += anon
        if anon:
            log(books, Code.EVICT, ident)
            return
    else:
        target = pop_target(books, thread)
        if target >= 0:
            counts[Count.BDEV_PASSED] += life.kind == Kind.BDEV and thread.cma != 0
            move(books, ident, target)
            return
        if thread.compaction or thread.cma:
            counts[Count.LOST_MOVES] += 1
            life.pfn = -1
            if anon:
                lose(books, ident)
            return
    if anon:
        if not life.mark & Mark.WRITTEN:
            _find_owner(books, thread, life, tgid)
        log(books, Code.EVICT if life.mark & Mark.WRITTEN else Code.FREE, ident)
        return
    counts[Count.CACHE_FREED] += 1
    if life.fpage >= 0 and books.fpage[life.fpage].life == ident + 1:
        books.fpage[life.fpage].life = 0


@leaf
def _free_unknown(books, thread, record, old):
    """A frame is freed that nobody was seen to allocate: compaction's target or, if `old`, older than the recording."""
    counts = books.state[0].counts
    if thread.compaction:
        counts[Count.RETURNED_FREES] += 1
        return
    if reclaims(thread):
        return
    target = pop_target(books, thread)
    if target >= 0:
        # It moves on and stays unknown, under the life of the frame that it moves to.
        books.life[target].kind = Kind.TARGET
        counts[Count.MOVED_UNKNOWN] += 1
        return
    at = books.pid[record.tgid].task
    if at != 0 and books.task[at].lost_head >= 0:
        task = books.task[at]
        ident = np.int64(task.lost_head)
        task.lost_head = books.life[ident].link
        counts[Count.FOUND_FREES] += 1
        log(books, Code.FREE, ident)
    elif old and record.order == 0 and record.tgid != 0 and not thread.born and not thread.cma:
        log(books, Code.FREE, old_life(books, task_at(books, record.tgid, _ZERO), _ANON, _MOVABLE))


@leaf
def _free_known(books, thread, ident, record):
    """The frame of a known life is freed; the frame no longer names it."""
    life = books.life[ident]
    kind = life.kind
    cached = Kind.FILE <= kind <= Kind.SHMEM
    if kind == Kind.KERNEL or kind == Kind.CANDIDATE or (cached and not life.mark & Mark.MOVABLE):
        life.left -= 1
        life.mark &= ~np.uint16(Mark.QUEUED)
        if life.left == 0 and not life.mark & Mark.QUIET:
            log(books, Code.FREE, ident)
    elif kind == Kind.TARGET:
        if life.mark & Mark.QUEUED:
            books.state[0].counts[Count.UNDONE_MOVES] += 1
            life.mark &= ~np.uint16(Mark.QUEUED)
        else:
            _free_unknown(books, thread, record, True)
    elif kind == Kind.BUFFER:
        books.state[0].counts[Count.BUFFER_FREES] += 1
    elif kind <= Kind.SHMEM:
        _free_user(books, thread, ident, np.int64(record.tgid))


@leaf
def _page_free(books, record, thread):
    for pfn in range(record.pfn, record.pfn + (np.int64(1) << record.order)):
        entry = books.frame[pfn]
        books.frame[pfn] = EMPTY
        if pfn == record.pfn and (entry <= EMPTY or not entry & 1):
            books.state[0].counts[Count.UNKNOWN_FREES] += 1
        if entry > EMPTY:
            _free_known(books, thread, np.int64(entry >> 1) - 1, record)
        else:
            _free_unknown(books, thread, record, entry == 0)


@leaf
def _vacate(books, pfn):
    """Something else turns out to be in this frame: what was believed there is elsewhere, or gone."""
    entry = books.frame[pfn]
    if entry <= EMPTY:
        return False
    books.frame[pfn] = EMPTY
    ident = np.int64(entry >> 1) - 1
    life = books.life[ident]
    if life.kind == Kind.BUFFER:
        return False
    if life.kind == Kind.ANON or life.kind == Kind.COPY:
        lose(books, ident)
    elif life.kind == Kind.KERNEL or life.kind == Kind.CANDIDATE or not life.mark & Mark.MOVABLE:
        life.left -= 1
        if life.left == 0 and not life.mark & Mark.QUIET:
            log(books, Code.FREE, ident)
    else:
        life.pfn = -1
    return True


@leaf
def _void(books, pfn):
    """A frame is allocated that the page map shows in use, before anything else happened to it: the map is younger."""
    entry = books.frame[pfn]
    if entry <= EMPTY or entry & 1:
        return
    life = books.life[(entry >> 1) - 1]
    if life.mark & Mark.PLACED and life.fpage < 0 and not life.mark & Mark.UNCACHED:
        life.mark = np.uint16(Mark.PLACED)
        books.frame[pfn] = EMPTY
        books.state[0].counts[Count.VOID_PLACES] += 1


@leaf
def _close_windows(books, thread):
    """A thread that faults in user memory is in no reclaim or contiguous allocation any more."""
    if thread.reclaim or thread.cma or thread.kswapd or thread.compaction:
        books.state[0].counts[Count.UNCLOSED] += 1
        thread.reclaim = 0
        thread.cma = 0
        thread.kswapd = 0
        thread.compaction = 0
    thread.queue_head = -1


@leaf
def _page_alloc(books, record, thread):
    state = books.state[0]
    if record.pfn == 0:
        state.counts[Count.FAILED_ALLOCS] += 1
        return
    gfp = np.int64(record.gfp)
    kind = classify(gfp, record.order, thread.cma != 0 and thread.reclaim == 0)
    task = _KERNEL
    if kind == Kind.ANON or kind == Kind.COPY:
        _close_windows(books, thread)
        task = task_at(books, record.tgid, thread.born)
    mark = np.int64(Mark.SEEN)
    mark |= Mark.MOVABLE if gfp & Gfp.MOVABLE else 0
    mark |= Mark.HIGHMEM if gfp & Gfp.HIGHMEM else 0
    mark |= Mark.WRITE if gfp & Gfp.WRITE else 0
    mark |= Mark.NOWAIT if is_nowait(gfp) else 0
    busy = reclaims(thread) or thread.cma != 0 or thread.compaction != 0
    if busy and (kind == Kind.KERNEL or kind == Kind.CANDIDATE):
        kind = np.int64(Kind.KERNEL)
        mark |= Mark.QUIET
        state.counts[Count.QUIET_PAGES] += np.int64(1) << record.order
    pages = np.int64(1) << record.order
    state.low_pfn = min(state.low_pfn, record.pfn)
    state.high_pfn = max(state.high_pfn, record.pfn + pages - 1)
    if gfp & Gfp.MOVABLE:
        for pfn in range(record.pfn, record.pfn + pages):
            _give(books, thread, new_life(books, task, pfn, kind, mark, _ZERO, _ONE), pfn)
    else:
        ident = new_life(books, task, record.pfn, kind, mark, kalloc_arg(gfp, record.order), pages)
        for pfn in range(record.pfn, record.pfn + pages):
            _void(books, pfn)
            state.counts[Count.REUSED_FRAMES] += _vacate(books, pfn)
            books.frame[pfn] = np.int32((ident + 1) << 1 | 1)
        if kind == Kind.CANDIDATE:
            push_target(books, thread, ident)
        if not mark & Mark.QUIET:
            log(books, Code.APPEAR, ident)


@leaf
def _give(books, thread, ident, pfn):
    """A movable page gets its frame."""
    _void(books, pfn)
    books.state[0].counts[Count.REUSED_FRAMES] += _vacate(books, pfn)
    books.frame[pfn] = np.int32((ident + 1) << 1 | 1)
    kind = books.life[ident].kind
    if kind == Kind.TARGET or kind == Kind.CANDIDATE:
        push_target(books, thread, ident)
    if kind == Kind.ANON or kind == Kind.COPY or kind == Kind.CANDIDATE:
        log(books, Code.APPEAR, ident)


@leaf
def _cma_finish(books, record, thread):
    """A contiguous allocation is over; where it succeeded, nothing else can be in its range."""
    thread.cma = 0
    thread.queue_head = -1
    if record.failed or record.pfn <= 0:
        return
    last = min(record.pfn + record.count, len(books.frame))
    ident = new_life(books, _KERNEL, record.pfn, _BUFFER, _ZERO, _ZERO, last - record.pfn)
    for pfn in range(record.pfn, last):
        books.state[0].counts[Count.LEFT_IN_AREA] += _vacate(books, pfn)
        books.frame[pfn] = np.int32((ident + 1) << 1 | 1)


@leaf
def _cma_release(books, record):
    """A contiguous allocation ends. Kernels that do not trace its pages one by one leave them to this line."""
    for pfn in range(max(record.pfn, 0), min(record.pfn + record.count, len(books.frame))):
        entry = books.frame[pfn]
        if entry > EMPTY and books.life[(entry >> 1) - 1].kind == Kind.BUFFER:
            books.frame[pfn] = EMPTY


@leaf
def _end_task(books, pid):
    at = books.pid[pid].task
    if at != 0:
        books.task[at].dead = 1
        books.pid[pid].task = 0
        log(books, Code.EXIT, np.int64(at))


@leaf
def _fork_or_exit(books, record, thread):
    pid = record.child if record.event == TraceEvent.FORK else record.pid
    _end_task(books, pid)
    other = books.thread[thread_at(books, pid)]
    other.reclaim, other.cma, other.compaction, other.kswapd, other.queue_head = 0, 0, 0, 0, -1
    other.born = 1 if record.event == TraceEvent.FORK else 0


@leaf
def _windows(books, record, thread):
    """Events that tell what a thread is in the middle of."""
    event = record.event
    if event == TraceEvent.RECLAIM_BEGIN:
        thread.reclaim = 1
    elif event == TraceEvent.RECLAIM_END:
        thread.reclaim = 0
    elif event == TraceEvent.KSWAPD:
        thread.kswapd = 1
    elif event == TraceEvent.SHRINK:
        # Scanning outside direct reclaim: kswapd, unless it has memory of its own (a task that pages itself out).
        if thread.reclaim == 0 and books.pid[record.tgid].task == 0:
            thread.kswapd = 1
    elif event == TraceEvent.COMPACTION_BEGIN:
        thread.compaction = 1
    elif event == TraceEvent.COMPACTION_END:
        thread.compaction = 0
    elif event == TraceEvent.MIGRATED:
        thread.queue_head = -1
    elif event == TraceEvent.CMA_START:
        thread.cma = 1
        thread.queue_head = -1
    elif event == TraceEvent.CMA_FINISH or event == TraceEvent.CMA_ALLOC:
        _cma_finish(books, record, thread)
    elif event == TraceEvent.CMA_RELEASE:
        _cma_release(books, record)
    elif event == TraceEvent.SWAP_OUT:
        entry = books.frame[record.pfn]
        if entry > EMPTY:
            books.life[(entry >> 1) - 1].mark |= Mark.WRITTEN
        if record.anon and (entry == 0 or is_moved_stranger(books, entry)):
            ident = old_life(books, np.int64(NOBODY_TASK), _ANON, _MOVABLE | Mark.WRITTEN)
            books.life[ident].pfn = record.pfn
            books.frame[record.pfn] = np.int32((ident + 1) << 1 | (entry & 1))


@leaf
def _follow(books, records, first, last):
    """Take records until a table has no room for another line; returns the first record not taken."""
    state = books.state[0]
    for i in range(first, last):
        if not has_room(books):
            return i
        record = records[i]
        if state.start < 0:
            state.start = record.time
        now = record.time - state.start
        if now < state.time:
            state.counts[Count.TIME_BACKWARDS] += 1
        else:
            state.time = now
        thread = books.thread[thread_at(books, record.pid)]
        event = record.event
        if event == TraceEvent.PAGE_FREE:
            _page_free(books, record, thread)
        elif event == TraceEvent.PAGE_ALLOC:
            _page_alloc(books, record, thread)
        elif event == TraceEvent.CACHE_ADD:
            cache_add(books, record, thread)
        elif event == TraceEvent.CACHE_DELETE:
            cache_delete(books, record, thread)
        elif event == TraceEvent.FORK or event == TraceEvent.EXIT:
            _fork_or_exit(books, record, thread)
        else:
            _windows(books, record, thread)
    return last


def follow(books: Books, records: np.ndarray) -> Books:
    """Take records of `ftrace_format.record_dtype` into the books; returns them, with larger tables where needed."""
    if not len(records):
        return books
    named = np.where(records["pfn"] < 0, 0, records["pfn"]) + (1 << records["order"].astype(np.int64))
    highest = int(named.max())
    taken = 0
    while taken < len(records):
        books = with_room(books, highest)
        taken = _follow(books, records, taken, len(records))
    return books
