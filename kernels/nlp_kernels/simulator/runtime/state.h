// Threads, warps, blocks, clusters, and the launch they belong to.
#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <unordered_map>
#include <vector>

#include "../interface.h"
#include "context.h"

namespace simulator {

constexpr size_t stack_bytes = 512 << 10;   // a thread's local memory: as much as CUDA allows; pages come when touched
constexpr size_t stack_slack = 1 << 20;     // below, for those that use more, until it is noticed
constexpr size_t arena_bytes = 512 << 10;   // one block's shared memory, with room between its variables
constexpr size_t shared_limit = 227 << 10;  // of the largest GPU
constexpr size_t static_limit = 48 << 10;
constexpr uint64_t stack_canary = 0x5AFE57ACC5AFE57A;

struct Block;
struct Warp;
using Known = std::shared_ptr<const std::vector<uint32_t>>;  // a clock value of every thread: see races.h

struct Copy {
  void* to;
  const void* from;
  unsigned bytes, filled;
  Site site;
};

struct Fiber {  // a CUDA thread
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  unsigned lane = 0, id = 0;  // id: among the resident threads
  Index thread{};
  bool finished = false;
  Site waits_at{};
  Known known;         // what this thread has synchronised with
  uint32_t clock = 1;  // how often it has
  const void* recent[2] = {};  // the last addresses it used, and how often in turn
  unsigned repeats = 0;
  std::vector<Copy> open_copies;
  std::deque<std::vector<Copy>> copy_groups;
};

struct Group {  // the lanes of one mask, meeting at a warp collective
  unsigned mask = 0, arrived = 0, generation = 0;
  Site site{};
  Slots slots[2];  // one is read while lanes that are ahead fill the other
};

struct Warp {
  Block* block = nullptr;
  Fiber* fibers = nullptr;
  unsigned exists = 0, finished = 0, ready = 0;  // bits of lanes
  int64_t priority = 0;
  std::deque<Group> groups;
};

struct Barrier {
  unsigned arrived = 0, expected = 0, generation = 0;
  Site site{};
  Vote collected{0, 1, 0}, result[2];
  std::vector<Fiber*> waiting;
  Known released;  // by those that arrive and do not wait
};

struct Cluster {
  std::vector<Block*> blocks;
  Barrier barrier;
};

struct Cell {  // who touched an element last: see races.h
  uint32_t writer = 0, write_clock = 0, reader = 0, read_clock = 0;
  const void* write_pc = nullptr;
  const void* read_pc = nullptr;
  std::vector<std::pair<uint32_t, uint32_t>>* readers = nullptr;  // further threads, unordered with each other
};

enum class Byte : unsigned char { unwritten, written, arriving };  // arriving: an unfinished asynchronous copy

struct Block {
  Index index{};
  unsigned rank = 0, finished = 0;
  Cluster* cluster = nullptr;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Barrier barriers[16];
  char* arena = nullptr;
  std::vector<Byte> bytes;
  std::vector<std::vector<Cell>> cells;  // of each shared variable
};

struct Variable {  // of shared memory, at the same place in every block
  const void* key;
  const char* name;
  size_t offset, bytes, item;
};

struct Array {  // of global memory; the first four fields come from Python, module.py has the same
  char* host;
  size_t bytes, item;
  const char* name;
  char* placed;
  char* slot;  // the address range in which an access is taken to mean this array
  size_t slot_bytes;
  Cell* cells;
  size_t cell_bytes;
};

struct Request {  // from Python: module.py has the same fields
  unsigned entry, grid[3], block[3], cluster, cooperative;
  size_t shared;
  int order;  // 0 forward, 1 reverse, 2 random
  uint64_t seed;
  void** arguments;
  int* array_of_argument;  // -1: it is no array
  Array* arrays;
  unsigned array_count;
  char* message;
  size_t message_bytes;
};

struct Launch {
  Request* request = nullptr;
  const Entry* entry = nullptr;
  std::vector<Block*> resident;
  std::vector<Warp*> warps;    // of the resident blocks, those that go first in front
  std::vector<Fiber*> fibers;  // of the resident blocks, by id
  std::vector<Variable> variables;
  size_t shared_top = 0, static_bytes = 0;
  unsigned live = 0;
  Barrier grid;
  std::mt19937_64 random;
  unsigned accesses = 0, until_preempted = 0;  // since this thread was resumed; until it is interrupted
  uint64_t progress = 0, spun_at = 0, spins = 0, steps = 0;
  std::unordered_map<const void*, Known> released;  // by atomic operations on an address
  std::deque<std::vector<std::pair<uint32_t, uint32_t>>> reader_lists;  // of cells
  std::deque<Site> places;  // see report.h
  bool failed = false;
};

inline Launch launch;
inline Fiber* current = nullptr;
inline void* scheduler_stack_pointer = nullptr;
inline char* arenas = nullptr;  // of the resident blocks, one after the other
inline size_t arena_count = 0;

inline uint32_t bit(const Fiber* f) { return 1u << f->lane; }

inline char* map_memory(size_t bytes, int protection) {
  void* p = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<char*>(p);
}

}  // namespace simulator
