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
void* dynamic_shared(const char* name, size_t align, size_t item);
void* map_shared(const void* address, unsigned rank);
bool is_shared(const void* address);
unsigned cluster_rank();
unsigned cluster_size();

void access(const void* address, size_t bytes, Access kind, const void* pc);
void changed();  // an atomic operation has changed memory: a thread that spins on it may go on
void pause(Site);

// Mbarriers, the copy engine, wgmma: see runtime/mbarriers.h, engine.h, wgmma.h.
void mbarrier_init(void* barrier, unsigned count, Site);
void mbarrier_arrive(void* barrier, Site);
void mbarrier_arrive_expect_tx(void* barrier, unsigned bytes, Site);
bool mbarrier_try_wait(void* barrier, unsigned parity, Site);
void mbarrier_wait(void* barrier, unsigned parity, Site);
void fence_barrier_init();
void fence_proxy_async();

struct alignas(64) TensorMap {  // common/tensor_map.py writes it
  char* base;
  unsigned size[5], rank;        // numbers along each axis, the innermost first
  unsigned long long stride[5];  // bytes
  unsigned box[5];               // the tile's size
  unsigned item, swizzle;        // bytes of a number; of the span, or 0
};
static_assert(sizeof(TensorMap) == 128, "as long as NVIDIA's");

void bulk_load(void* to, const void* from, unsigned bytes, void* barrier, Site);
void bulk_store(void* to, const void* from, unsigned bytes, bool add, Site);
void tma_load(void* tile, const TensorMap* map, void* barrier, const int* at, unsigned count, unsigned ranks, Site);
void tma_store(const TensorMap* map, const void* tile, const int* at, unsigned count, Site);
void bulk_commit();
void bulk_wait(unsigned newest_may_be_open, bool only_reads);

unsigned long long wgmma_descriptor(const void* tile, unsigned leading, unsigned stride, unsigned swizzle, Site);
void wgmma(float* d, unsigned N, const unsigned* fragment, unsigned long long a, unsigned long long b, bool a_mn,
           bool b_mn, bool accumulate, Site);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(unsigned newest_may_be_open, Site);
void setmaxnreg(unsigned count, bool more, Site);

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
  const unsigned* items;  // of what it points to, or what a table's pointers do; 0 where it is a value
  const char* kinds;      // of each: 'v' a value, 'm' a TensorMap, 'p' a pointer, 'c' a pointer to const, 't' a table
                          // of pointers in memory that is not written, 'u' one of pointers to const
  unsigned cluster;       // blocks in a cluster
};

}  // namespace simulator

// The index variables are ordinary globals: the scheduler sets them whenever it lets another thread run.
extern simulator::Index simulator_thread, simulator_block, simulator_block_size, simulator_grid_size;
