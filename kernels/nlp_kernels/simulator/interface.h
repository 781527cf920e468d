// What the two halves of the simulator know of each other: kernels are compiled with device/*.h, instrumented, and call
// these functions; runtime/*.h implements them, compiled once and not instrumented.
#pragma once
#include <cstddef>

namespace simulator {

struct Site {  // a place in the kernel's source, and what is called there
  const char* file;
  int line;
  const char* what;
};

struct Index {
  unsigned x, y, z;
};

struct Vote {  // what a barrier says of the predicates that its threads brought
  int any, all, count;
};

enum class Access { load, store, atomic };

constexpr unsigned slot_bytes = 32;  // the largest value that a lane hands to the others
using Slots = unsigned char[32][slot_bytes];

Vote barrier(int id, unsigned count, bool predicate, Site);  // count 0: all threads of the block
void barrier_arrive(int id, unsigned count, Site);
void cluster_barrier(Site);
void grid_barrier(Site);
const Slots& exchange(unsigned mask, const void* value, unsigned bytes, Site, bool orders = true);  // all lanes' values
unsigned taking_part(unsigned mask);                                            // the lanes of the mask that exist
void check_source(unsigned mask, unsigned lane, Site);

void* shared_variable(const void* key, const char* name, size_t bytes, size_t align, size_t item);
void* dynamic_shared(const char* name, size_t item);
void* map_shared(const void* address, unsigned rank);
bool is_shared(const void* address);
unsigned cluster_rank();
unsigned cluster_size();

void access(const void* address, size_t bytes, Access kind, const void* pc);
void changed();  // an atomic operation has changed memory: a thread that spins on it may go on
void pause(Site);

void copy_async(void* shared, const void* global, unsigned bytes, unsigned filled, Site);
void copy_commit();
void copy_wait(unsigned newest_may_be_open);

void load_matrices(unsigned* registers, unsigned count, bool transposed, const void* row, Site);
void store_matrices(void* row, const unsigned* registers, unsigned count, bool transposed, Site);
void multiply_bf16(float* d, const unsigned* a, const unsigned* b, Site);  // d (16, 8) += a (16, 16) b (16, 8)
void multiply_tf32(float* d, const unsigned* a, const unsigned* b, Site);  // d (16, 8) += a (16, 8) b (8, 8)

unsigned lane();
long long ticks();
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

struct Entry {  // a kernel instance, as the launcher sees it
  void (*call)(void** arguments);
  unsigned count;
  const unsigned* bytes;  // of each parameter
  const unsigned* items;  // of what it points to; 0 where it is a value
  const char* kinds;      // of each: 'v' a value, 'p' a pointer, 'c' a pointer to const
  unsigned cluster;       // blocks in a cluster
};

}  // namespace simulator

// The index variables are ordinary globals: the scheduler sets them whenever it lets another thread run.
extern simulator::Index simulator_thread, simulator_block, simulator_block_size, simulator_grid_size;
