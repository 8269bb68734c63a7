// The thread pool: fixed division of outputs, helpers that spin briefly between calls and then park. A part whose
// helper has not begun when the caller is done with its own is done by the caller: with more threads than processors,
// or under a CPU quota, a call costs what it costs on the threads that run.
#define _GNU_SOURCE  // CPU_COUNT
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

enum {
    SPINS = 2000,         // some tens of microseconds: longer than the gaps between kernels of a training step
    YIELDS = 20,          // then let others run before sleeping
};
/// Work too small to be worth waking another thread, in operations of which a processor does some 8 a nanosecond:
/// 3 µs.
static const double operations_per_thread = 25e3;

/// A call whose scratch every thread has.
typedef struct { deml_body *body; long key[DEML_CALL_KEY]; } known_call;
enum { KNOWN_CALLS = 64 };

typedef struct {
    struct deml_pool *pool;
    pthread_t thread;
    long index;
    deml_worker worker;
    _Alignas(64) atomic_uint_fast64_t claimed;  // the last call of which this thread's part was begun, by whomever
} pool_thread;

struct deml_pool {
    const deml_kernels *kernels;
    long threads;
    long spins;
    pool_thread *members;  // 0 is the caller
    deml_arena shared;     // what one body hands to the next
    known_call known[KNOWN_CALLS];  // by a hash of the key; only the caller's

    // The call in progress. Written before `ticket`, stable until `pending` is 0.
    deml_call call;
    long parts;

    /// Number of the call, shifted, and how many threads take part: a thread that does not take part must not look at
    /// the call, which may be over by then.
    _Alignas(64) atomic_uint_fast64_t ticket;
    _Alignas(64) atomic_long pending;  // parts that are not done yet, without the caller's
    atomic_bool sleeping;              // a helper is parked, or about to be, since the last wake-up
    atomic_bool waiting;               // the caller is parked or about to be
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t work, done;
};

static inline void spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/// Part `index` of `parts` of a call: an equal share of the units.
typedef struct { long begin, end; } range;
static range part_of(const deml_call *call, long parts, long index) {
    const long units = deml_ceil_div(call->count, call->unit), share = units / parts, more = units % parts;
    const long first = share * index + more * index / parts, last = share * (index + 1) + more * (index + 1) / parts;
    return (range){deml_min(deml_times(first, call->unit), call->count),
                   deml_min(deml_times(last, call->unit), call->count)};
}

static void run_part(deml_pool *pool, long index) {
    const range part = part_of(&pool->call, pool->parts, index);
    deml_worker *worker = &pool->members[index].worker;
    deml_arena_release(&worker->scratch, 0);
    if (part.begin < part.end) pool->call.body(pool->call.arguments, part.begin, part.end, worker);
}

/// Whether part `index` of the call is the caller of this function's to do.
static bool claim(deml_pool *pool, long index, uint_fast64_t ticket) {
    uint_fast64_t before = atomic_load(&pool->members[index].claimed);
    return before < ticket && atomic_compare_exchange_strong(&pool->members[index].claimed, &before, ticket);
}

static uint_fast64_t wait_for_ticket(deml_pool *pool, uint_fast64_t last) {
    for (long i = 0; i < pool->spins + YIELDS; i++) {
        const uint_fast64_t ticket = atomic_load_explicit(&pool->ticket, memory_order_acquire);
        if (ticket != last) return ticket;
        if (i < pool->spins) spin_pause();
        else sched_yield();
    }
    pthread_mutex_lock(&pool->mutex);
    uint_fast64_t ticket;
    for (;;) {
        atomic_store(&pool->sleeping, true);
        if ((ticket = atomic_load(&pool->ticket)) != last) break;
        pthread_cond_wait(&pool->work, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return ticket;
}

static void *helper(void *argument) {
    pool_thread *self = argument;
    deml_pool *pool = self->pool;
    uint_fast64_t ticket = 0;
    for (;;) {
        ticket = wait_for_ticket(pool, ticket);
        if (atomic_load(&pool->stop)) return NULL;
        if (self->index >= (long)(ticket & 0xffff) || !claim(pool, self->index, ticket)) continue;
        run_part(pool, self->index);
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->waiting)) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static uint_fast64_t publish(deml_pool *pool, long parts) {
    const uint_fast64_t next = (atomic_load(&pool->ticket) >> 16) + 1, ticket = next << 16 | (uint_fast64_t)parts;
    atomic_store(&pool->ticket, ticket);
    if (atomic_load(&pool->sleeping) && atomic_exchange(&pool->sleeping, false)) {
        pthread_mutex_lock(&pool->mutex);
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->mutex);
    }
    return ticket;
}

static void wait_until_done(deml_pool *pool) {
    for (long i = 0; i < pool->spins + YIELDS; i++) {
        if (atomic_load_explicit(&pool->pending, memory_order_acquire) == 0) return;
        if (i < pool->spins) spin_pause();
        else sched_yield();
    }
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->waiting, true);
    while (atomic_load(&pool->pending) != 0) pthread_cond_wait(&pool->done, &pool->mutex);
    atomic_store(&pool->waiting, false);
    pthread_mutex_unlock(&pool->mutex);
}

/// Into how many parts a call is divided between at most `threads`.
static long part_count(const deml_call *call, long threads) {
    const long parts = deml_min(threads, deml_ceil_div(call->count, call->unit));
    const double worth = (double)call->count * call->operations / operations_per_thread;
    return worth >= (double)parts ? parts : deml_max(deml_min(parts, 1), (long)worth);
}

long deml_call_scratch(const deml_kernels *kernels, long threads, const deml_call *call) {
    if (!call->uses_scratch || call->count <= 0) return 0;
    // Of the parts before the last there are two sizes, in units.
    const long parts = part_count(call, threads), units = deml_ceil_div(call->count, call->unit);
    const long less = units / parts, more = deml_ceil_div(units, parts);
    const range last = part_of(call, parts, parts - 1);
    const range measured[] = {last, {0, deml_min(deml_times(less, call->unit), call->count)},
                              {0, deml_min(deml_times(more, call->unit), call->count)}};
    deml_worker worker = {kernels, {.measuring = true}};
    for (int i = 0; i < (parts > 1 ? 3 : 1); i++) {
        worker.scratch.used = 0;
        call->body(call->arguments, measured[i].begin, measured[i].end, &worker);
    }
    return worker.scratch.peak;
}

/// Callers who ask for the memory first (deml_pool_reserve) never come here without it.
static void reserve_or_end(deml_arena *arena, long bytes) {
    if (deml_arena_reserve(arena, bytes)) return;
    fprintf(stderr, "CKernels: no memory for %ld bytes of scratch\n", bytes);
    abort();
}

/// The place of a call among those that are known.
static known_call *place_of(deml_pool *pool, const deml_call *call) {
    uint64_t hash = (uint64_t)(uintptr_t)call->body;
    for (int i = 0; i < DEML_CALL_KEY; i++) hash = (hash ^ (uint64_t)call->key[i]) * 0x9e3779b97f4a7c15;
    return &pool->known[hash >> 58];
}

/// Gives the threads that do a call the scratch that it needs. Arenas never shrink: what was enough once is enough.
static void reserve_for(deml_pool *pool, const deml_call *call) {
    known_call *known = call->key[0] ? place_of(pool, call) : NULL;
    if (known && known->body == call->body && memcmp(known->key, call->key, sizeof known->key) == 0) return;
    const long bytes = deml_call_scratch(pool->kernels, pool->threads, call);
    const long parts = part_count(call, pool->threads);
    for (long i = 0; i < parts; i++) reserve_or_end(&pool->members[i].worker.scratch, bytes);
    if (!known) return;
    known->body = call->body;
    memcpy(known->key, call->key, sizeof known->key);
}

void deml_run(deml_pool *pool, deml_call call) {
    if (call.count <= 0) return;
    const long parts = part_count(&call, pool->threads);
    if (call.uses_scratch) reserve_for(pool, &call);
    pool->call = call, pool->parts = parts;
    if (parts == 1) return run_part(pool, 0);
    atomic_store(&pool->pending, parts - 1);
    const uint_fast64_t ticket = publish(pool, parts);
    run_part(pool, 0);
    for (long i = 1; i < parts; i++) {
        if (!claim(pool, i, ticket)) continue;
        run_part(pool, i);
        atomic_fetch_sub(&pool->pending, 1);
    }
    wait_until_done(pool);
}

float *deml_pool_shared(deml_pool *pool, long count) {
    reserve_or_end(&pool->shared, deml_shared_scratch(count));
    return deml_cut(&pool->shared, count);
}

long deml_shared_scratch(long count) {
    deml_arena arena = {.measuring = true};
    deml_cut(&arena, count);
    return arena.peak;
}

bool deml_pool_reserve(deml_pool *pool, deml_scratch need) {
    bool enough = deml_arena_reserve(&pool->shared, need.shared_bytes);
    for (long i = 0; enough && i < pool->threads; i++)
        enough = deml_arena_reserve(&pool->members[i].worker.scratch, need.thread_bytes);
    return enough;
}

deml_scratch deml_scratch_of_both(deml_scratch a, deml_scratch b) {
    return (deml_scratch){deml_max(a.thread_bytes, b.thread_bytes), deml_max(a.shared_bytes, b.shared_bytes)};
}

long deml_scratch_bytes(deml_scratch need, long threads) {
    return deml_plus(need.shared_bytes, deml_times(need.thread_bytes, threads));
}

/// Processors this process may use now.
static long usable_processors(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return sysconf(_SC_NPROCESSORS_ONLN);
}

deml_pool *deml_pool_create(long threads, deml_isa isa) {
    const deml_kernels *kernels = deml_isa_available(isa) ? deml_isa_kernels(isa) : NULL;
    if (!kernels || threads < 1 || threads > 4096) return NULL;
    deml_pool *pool = aligned_alloc(64, (sizeof *pool + 63) / 64 * 64);
    if (!pool) return NULL;
    memset(pool, 0, sizeof *pool);
    pool->members = aligned_alloc(64, (size_t)threads * sizeof *pool->members);
    if (pool->members) memset(pool->members, 0, (size_t)threads * sizeof *pool->members);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->kernels = kernels;
    // With fewer processors than threads a spinning thread only keeps the one it waits for from running.
    pool->spins = threads <= usable_processors() ? SPINS : 0;
    pool->threads = 1;
    for (long i = 0; pool->members && i < threads; i++) {
        pool_thread *member = &pool->members[i];
        member->pool = pool, member->index = i, member->worker.kernels = kernels;
        if (i > 0 && pthread_create(&member->thread, NULL, helper, member) != 0) break;
        pool->threads = i + 1;
    }
    if (pool->members && pool->threads == threads) return pool;
    deml_pool_destroy(pool);
    return NULL;
}

void deml_pool_destroy(deml_pool *pool) {
    if (!pool) return;
    atomic_store(&pool->stop, true);
    publish(pool, 0);
    for (long i = 1; i < pool->threads && pool->members; i++) pthread_join(pool->members[i].thread, NULL);
    for (long i = 0; i < pool->threads && pool->members; i++) deml_arena_free(&pool->members[i].worker.scratch);
    free(pool->members);
    deml_arena_free(&pool->shared);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    free(pool);
}

long deml_pool_threads(const deml_pool *pool) { return pool->threads; }
deml_isa deml_pool_isa(const deml_pool *pool) { return pool->kernels->isa; }
const deml_kernels *deml_pool_kernels(const deml_pool *pool) { return pool->kernels; }
long deml_pool_scratch_bytes(const deml_pool *pool) {
    long bytes = pool->shared.size;
    for (long i = 0; i < pool->threads; i++) bytes += pool->members[i].worker.scratch.size;
    return bytes;
}
