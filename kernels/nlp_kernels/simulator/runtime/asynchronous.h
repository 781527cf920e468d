// What mbarriers, the copy engine and the tensor cores keep: their part of the launch's state.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "../interface.h"

namespace simulator {

struct Block;
struct Fiber;
struct Warp;
using Known = std::shared_ptr<const std::vector<uint32_t>>;  // a clock value of every thread: see races.h

struct Mbarrier {  // see mbarriers.h
  Block* block;
  size_t offset;
  unsigned count;                           // of arrivals that a phase needs
  unsigned pending = 0, phase = 0;          // still to come in this phase; phases that are complete
  long bytes = 0;                           // expected, and not yet there
  const Fiber* by = nullptr;                // who initialised it
  uint32_t clock = 0, agent = 0;            // when; the copies that arrive at it
  bool fenced = false;                      // whether the copy engine and other blocks see the initialisation
  unsigned copies = 0, waited = 0;          // phases up to the last with a copy, and up to the last waited for
  const void* last_copy = nullptr;          // its place
  Known arriving, released;                 // what those that have arrived in this phase, and in earlier ones, know
  std::vector<Fiber*> waiting;
};

struct Registers {  // of a thread, while a wgmma may read or write them: see wgmma.h
  char* address;
  unsigned bytes;
  bool results;
  unsigned group;            // the last one that uses them
  std::vector<float> value;  // of results, as far as they are computed
  Site site;
};

struct Store {  // from shared to global memory by the copy engine, begun by a thread: see engine.h
  struct Piece {
    char* to;
    const char* from;
    unsigned bytes;
  };
  std::vector<Piece> pieces;
  std::vector<char> data;  // from when it was read
  bool add;
  Site site;
};

struct Stores {  // of a thread, in groups
  uint32_t reads = 0, writes = 0;  // agents
  std::vector<Store> open;
  std::deque<std::vector<Store>> groups;  // those that are not written
  unsigned committed = 0, read = 0;       // groups
};

struct Load {  // from global to one block's shared memory, by the copy engine: see engine.h
  Block* block;
  const void* place;
  std::function<void()> deliver;
  size_t offset, bytes;
};

struct Wgmma {  // a product of a warpgroup: see wgmma.h
  uint64_t a, b;  // descriptors
  unsigned N;
  bool a_in_registers, a_mn, b_mn, accumulate;
  unsigned group;
  Site site;
  unsigned issued = 0, checked = 0;  // by so many threads; bits of warps
  float* results[128];
  uint32_t fragments[128][4];  // A, where it is in registers
};

struct Warpgroup {
  uint32_t agent = 0;
  unsigned computed = 0;  // products that are; the others are kept
  std::deque<Wgmma> open;
  std::vector<Fiber*> waiting;
};

}  // namespace simulator
