#ifndef DEML_ALLOCATION_COUNTER_H
#define DEML_ALLOCATION_COUNTER_H

/// Calls of malloc, calloc, realloc and posix_memalign by this thread so far; -1 where they cannot be counted.
long deml_thread_allocations(void);

#endif
