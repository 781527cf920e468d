// Warp collectives: shuffles, votes, matches, reductions. https://docs.nvidia.com/cuda: "Warp Shuffle Functions" etc.
#pragma once

constexpr unsigned simulator_all_lanes = 0xffffffffu;

inline void __syncwarp(unsigned mask = simulator_all_lanes, SIMULATOR_SITE) {
  simulator::exchange(mask, "", 1, SIMULATOR_HERE("__syncwarp"));
}

namespace simulator {

template <class T>
SIMULATOR_UNCHECKED T value_of(const Slots& slots, unsigned lane) {
  T value;
  __builtin_memcpy(&value, slots[lane], sizeof(T));
  return value;
}

template <class T>
inline const Slots& hand_in(unsigned mask, const T& value, Site site) {
  static_assert(sizeof(T) <= slot_bytes && std::is_trivially_copyable_v<T>, "a lane hands over at most 32 bytes");
  return exchange(mask, &value, sizeof(T), site);
}

// `source` maps a lane and its segment of `width` lanes to the lane that it reads.
template <class T, class Source>
inline T shuffle(unsigned mask, T value, int width, Site site, Source source) {
  if (width <= 0 || width > 32 || (width & (width - 1)))
    fail("%s at %s:%d: width %d is not a power of two up to 32", site.what, site.file, site.line, width);
  int me = static_cast<int>(lane()), first = me & ~(width - 1), from = source(me, first);
  const Slots& slots = hand_in(mask, value, site);
  check_source(mask, static_cast<unsigned>(from), site);
  return value_of<T>(slots, static_cast<unsigned>(from));
}

template <class T, class Combine>
inline T reduce(unsigned mask, T value, Site site, Combine combine) {
  const Slots& slots = hand_in(mask, value, site);
  unsigned lanes = taking_part(mask);
  T all = value_of<T>(slots, static_cast<unsigned>(__builtin_ctz(lanes)));
  for (lanes &= lanes - 1; lanes; lanes &= lanes - 1)
    all = combine(all, value_of<T>(slots, static_cast<unsigned>(__builtin_ctz(lanes))));
  return all;
}

template <class T>
SIMULATOR_UNCHECKED unsigned lanes_with(unsigned mask, const Slots& slots, const T& value) {
  unsigned same = 0;
  for (unsigned i = 0; i < 32; i++)
    if (taking_part(mask) >> i & 1 && !__builtin_memcmp(slots[i], &value, sizeof(T))) same |= 1u << i;
  return same;
}

}  // namespace simulator

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32, SIMULATOR_SITE) {
  return simulator::shuffle(mask, value, width, SIMULATOR_HERE("__shfl_sync"),
                            [=](int, int first) { return first + (source & (width - 1)); });
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMULATOR_SITE) {
  return simulator::shuffle(mask, value, width, SIMULATOR_HERE("__shfl_up_sync"), [=](int me, int first) {
    return me - static_cast<int>(delta) < first ? me : me - static_cast<int>(delta);
  });
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, SIMULATOR_SITE) {
  return simulator::shuffle(mask, value, width, SIMULATOR_HERE("__shfl_down_sync"), [=](int me, int first) {
    return me + static_cast<int>(delta) >= first + width ? me : me + static_cast<int>(delta);
  });
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, SIMULATOR_SITE) {
  return simulator::shuffle(mask, value, width, SIMULATOR_HERE("__shfl_xor_sync"),
                            [=](int me, int first) { return (me ^ lanes) >= first + width ? me : me ^ lanes; });
}

inline unsigned __ballot_sync(unsigned mask, int p, SIMULATOR_SITE) {
  bool yes = p;
  return simulator::lanes_with(mask, simulator::hand_in(mask, yes, SIMULATOR_HERE("__ballot_sync")), true);
}
inline int __any_sync(unsigned mask, int p, SIMULATOR_SITE) {
  bool yes = p;
  return simulator::lanes_with(mask, simulator::hand_in(mask, yes, SIMULATOR_HERE("__any_sync")), true) != 0;
}
inline int __all_sync(unsigned mask, int p, SIMULATOR_SITE) {
  bool yes = p;
  return simulator::lanes_with(mask, simulator::hand_in(mask, yes, SIMULATOR_HERE("__all_sync")), false) == 0;
}
inline unsigned __activemask() { return simulator::taking_part(simulator_all_lanes); }

template <class T>
inline unsigned __match_any_sync(unsigned mask, T value, SIMULATOR_SITE) {
  return simulator::lanes_with(mask, simulator::hand_in(mask, value, SIMULATOR_HERE("__match_any_sync")), value);
}
template <class T>
inline unsigned __match_all_sync(unsigned mask, T value, int* all, SIMULATOR_SITE) {
  unsigned lanes = simulator::taking_part(mask);
  *all =
      simulator::lanes_with(mask, simulator::hand_in(mask, value, SIMULATOR_HERE("__match_all_sync")), value) == lanes;
  return *all ? lanes : 0;
}

#define SIMULATOR_REDUCTION(name, expression)                                                      \
  template <class T>                                                                               \
  inline T name(unsigned mask, T value, SIMULATOR_SITE) {                                          \
    static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, #name " takes integers"); \
    return simulator::reduce(mask, value, SIMULATOR_HERE(#name), [](T a, T b) { return expression; }); \
  }
SIMULATOR_REDUCTION(__reduce_add_sync, static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
SIMULATOR_REDUCTION(__reduce_min_sync, b < a ? b : a)
SIMULATOR_REDUCTION(__reduce_max_sync, a < b ? b : a)
SIMULATOR_REDUCTION(__reduce_and_sync, a& b)
SIMULATOR_REDUCTION(__reduce_or_sync, a | b)
SIMULATOR_REDUCTION(__reduce_xor_sync, a ^ b)
#undef SIMULATOR_REDUCTION
