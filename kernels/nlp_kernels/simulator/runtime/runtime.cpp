// A launch, from Python's request to its end; and the functions that the compiler's instrumentation calls.
#include "barriers.h"
#include "copies.h"
#include "matrices.h"

simulator::Index simulator_thread, simulator_block, simulator_block_size, simulator_grid_size;

namespace simulator {

static std::vector<char*> stacks;

static void thread_body() {
  launch.entry->call(launch.request->arguments);
  check_copies();
  leave_warp();
  leave_barriers();
  current->finished = true;
  launch.live--;
  launch.progress++;
  leave_to_scheduler();
}

static void start_fiber(Fiber& f, unsigned id, const Known& nothing) {
  while (stacks.size() <= id)
    stacks.push_back(map_memory(stack_slack + stack_bytes, PROT_READ | PROT_WRITE) + stack_slack);
  f.id = id;
  f.stack = stacks[id];
  *reinterpret_cast<uint64_t*>(f.stack) = stack_canary;
  f.stack_pointer = new_context(f.stack + stack_bytes - 64, thread_body);
  f.known = nothing;
}

static void start_block(Block& block, unsigned first_id, const Known& nothing) {
  const unsigned* size = launch.request->block;
  unsigned threads = size[0] * size[1] * size[2];
  block.fibers.resize(threads);
  block.warps.resize((threads + 31) / 32);
  block.bytes.assign(arena_bytes, Byte::unwritten);
  for (unsigned i = 0; i < threads; i++) {
    Fiber& f = block.fibers[i];
    start_fiber(f, first_id + i, nothing);
    f.block = &block;
    f.warp = &block.warps[i / 32];
    f.lane = i % 32;
    f.thread = {i % size[0], i / size[0] % size[1], i / size[0] / size[1]};
    f.warp->block = &block;
    f.warp->exists |= bit(&f);
    f.warp->ready |= bit(&f);
    if (!f.lane) f.warp->fibers = &f;
    launch.fibers.push_back(&f);
  }
  for (Warp& w : block.warps) launch.warps.push_back(&w);
}

// Clusters `first` to `last` of the order, resident at the same time.
static void run_together(const std::vector<unsigned>& order, size_t first, size_t last) {
  const Request& r = *launch.request;
  unsigned threads = r.block[0] * r.block[1] * r.block[2], size = r.cluster;
  size_t count = (last - first) * size;
  if (arena_count < count) {
    if (arenas) munmap(arenas, arena_count * arena_bytes);
    arenas = map_memory(count * arena_bytes, PROT_READ | PROT_WRITE), arena_count = count;
  }
  memset(arenas, 0xFF, count * arena_bytes);  // NaN, should a kernel get at it
  std::vector<Block> blocks(count);
  std::vector<Cluster> clusters(last - first);
  auto nothing = std::make_shared<std::vector<uint32_t>>(count * threads);
  launch.resident.clear(), launch.warps.clear(), launch.fibers.clear(), launch.released.clear();
  launch.reader_lists.clear();
  launch.live = static_cast<unsigned>(count * threads);
  for (size_t i = 0; i < count; i++) {
    unsigned index = order[first + i / size] * size + i % size;
    blocks[i].index = {index % r.grid[0], index / r.grid[0] % r.grid[1], index / r.grid[0] / r.grid[1]};
    blocks[i].cluster = &clusters[i / size];
    blocks[i].rank = i % size;
    blocks[i].arena = arenas + i * arena_bytes;
    clusters[i / size].blocks.push_back(&blocks[i]);
    launch.resident.push_back(&blocks[i]);
    start_block(blocks[i], static_cast<unsigned>(i * threads), nothing);
  }
  run_resident();
  for (unsigned i = 0; i < r.array_count; i++)  // what the next blocks do is not ordered with this, but ids are reused
    forget(r.arrays[i]);
}

static void run(Request& r) {
  unsigned clusters = r.grid[0] * r.grid[1] * r.grid[2] / r.cluster;
  std::vector<unsigned> order(clusters);
  for (unsigned i = 0; i < clusters; i++) order[i] = r.order == 1 ? clusters - 1 - i : i;
  if (random_order()) std::shuffle(order.begin(), order.end(), launch.random);
  size_t together = r.cooperative ? clusters : random_order() ? 2 : 1;  // two blocks may meet, more need not
  for (size_t i = 0; i < clusters && !launch.failed; i += together)
    run_together(order, i, std::min<size_t>(i + together, clusters));
}

static int start(Request* request, const Entry* entries) {
  launch = Launch{};
  launch.request = request;
  launch.entry = &entries[request->entry];
  launch.random.seed(request->seed);
  simulator_block_size = {request->block[0], request->block[1], request->block[2]};
  simulator_grid_size = {request->grid[0], request->grid[1], request->grid[2]};
  launch.variables.push_back({nullptr, "dynamic shared memory", 0, request->shared, 1});
  launch.shared_top = request->shared + gap;
  bool placed = true;
  for (unsigned i = 0; i < request->array_count; i++) placed &= place(request->arrays[i]);
  if (!placed) set_message("the arrays of the launch do not fit into memory");
  if (request->shared > shared_limit)
    set_message(format("%zu bytes of dynamic shared memory, a block may have 232448", request->shared));
  for (unsigned i = 0; placed && i < launch.entry->count; i++) {
    if (request->array_of_argument[i] < 0) continue;
    const Array& a = request->arrays[request->array_of_argument[i]];
    auto pointer = static_cast<char**>(request->arguments[i]);  // the host's: the kernel gets the copy's
    *pointer = a.placed + (*pointer - a.host);
  }
  if (!launch.failed) run(*request);
  for (unsigned i = 0; i < request->array_count; i++) take_back(request->arrays[i]);
  return launch.failed;
}

}  // namespace simulator

using simulator::Access;

extern const simulator::Entry simulator_entries[];

extern "C" {
__attribute__((visibility("default"))) int simulator_launch(simulator::Request* request) {
  return simulator::start(request, simulator_entries);
}

__attribute__((visibility("default"))) const simulator::Entry* simulator_entry(unsigned i) {
  return &simulator_entries[i];
}

// -fsanitize=thread makes the compiler call these before each access of memory.
#define INSTRUMENTED(name, size)                                      \
  void __tsan_##name##read##size(void* p) {                           \
    simulator::access(p, size, Access::load, __builtin_return_address(0));  \
  }                                                                   \
  void __tsan_##name##write##size(void* p) {                          \
    simulator::access(p, size, Access::store, __builtin_return_address(0)); \
  }
INSTRUMENTED(, 1)
INSTRUMENTED(, 2)
INSTRUMENTED(, 4)
INSTRUMENTED(, 8)
INSTRUMENTED(, 16)
INSTRUMENTED(unaligned_, 2)
INSTRUMENTED(unaligned_, 4)
INSTRUMENTED(unaligned_, 8)
INSTRUMENTED(unaligned_, 16)
void __tsan_read_range(void* p, size_t n) { simulator::access(p, n, Access::load, __builtin_return_address(0)); }
void __tsan_write_range(void* p, size_t n) { simulator::access(p, n, Access::store, __builtin_return_address(0)); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}

// -fsanitize=alignment makes it call this where an address is not a multiple of the type's alignment.
struct UbsanMismatch {
  const char* file;
  unsigned line, column;
  const struct { unsigned short kind, info; char name[1]; }* type;
  unsigned char log_alignment, kind;
};
void __ubsan_handle_type_mismatch_v1_abort(UbsanMismatch* m, void* address) {
  if (!simulator::current) return;
  simulator::fail("misaligned: %s uses %s as %s at %s:%u, which needs a multiple of %u bytes",
                  simulator::describe(simulator::current).c_str(), simulator::name_address(address).c_str(),
                  m->type->name, m->file, m->line, 1u << m->log_alignment);
}
}
