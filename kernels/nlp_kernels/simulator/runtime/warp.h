// Warp collectives: every lane of a mask hands in a value, and when all have, each may read all of them.
#pragma once
#include "races.h"
#include "scheduler.h"

namespace simulator {

unsigned lane() { return current->lane; }

unsigned taking_part(unsigned mask) { return mask & current->warp->exists; }

inline Group& group_of(unsigned mask) {
  for (Group& g : current->warp->groups)
    if (g.mask == mask) return g;
  current->warp->groups.emplace_back();
  current->warp->groups.back().mask = mask;
  return current->warp->groups.back();
}

inline bool same_place(const Site& a, const Site& b) { return strcmp(a.what, b.what) == 0; }

inline void check_collective(unsigned mask, const Site& site) {
  Warp* warp = current->warp;
  const auto me = [] { return describe(current); };  // in words only where they are needed: this is called often
  const auto here = [&] { return describe(site); };
  if (!(mask & bit(current)))
    fail("%s: the mask %08x does not name lane %u, which calls it (%s)", here().c_str(), mask, current->lane, me().c_str());
  if (unsigned gone = mask & warp->finished)
    fail("%s: the mask %08x names lane %d, which has returned (%s calls)", here().c_str(), mask, __builtin_ctz(gone),
         me().c_str());
  for (Group& g : warp->groups) {
    if (!g.arrived || (g.mask == mask && same_place(g.site, site)) || !(g.mask & bit(current))) continue;
    if (!(g.arrived & mask)) continue;  // none of those that wait there is waited for here
    std::string other = describe(g.site);
    fail("divergent warp: %s reaches %s (mask %08x), but lane %d of its warp waits for it in %s (mask %08x)",
         me().c_str(), here().c_str(), mask, __builtin_ctz(g.arrived), other.c_str(), g.mask);
  }
}

// `orders`: what the lanes wrote before is there for all of them afterwards.
const Slots& exchange(unsigned mask, const void* value, unsigned bytes, Site site, bool orders) {
  check_collective(mask, site);
  Group& g = group_of(mask);
  Slots& slots = g.slots[g.generation & 1];
  memcpy(slots[current->lane], value, bytes);
  if (!g.arrived) g.site = site;
  g.arrived |= bit(current);
  if (g.arrived != taking_part(mask)) {
    wait(site);
    return slots;
  }
  Fiber* members[32];
  unsigned count = 0;
  for (unsigned lanes = g.arrived; lanes; lanes &= lanes - 1) {
    members[count++] = &current->warp->fibers[__builtin_ctz(lanes)];
    wake(members[count - 1]);
  }
  if (orders) synchronise(members, count);
  g.arrived = 0;
  g.generation++;
  launch.progress++;
  return slots;
}

void check_source(unsigned mask, unsigned lane, Site site) {
  if (!(taking_part(mask) >> lane & 1))
    fail("%s: %s reads the value of lane %u, which takes no part (mask %08x, %d lanes in the warp)",
         describe(site).c_str(), describe(current).c_str(), lane, mask, __builtin_popcount(current->warp->exists));
}

// A thread returns: the lanes that wait for it wait in vain.
inline void leave_warp() {
  Warp* warp = current->warp;
  warp->finished |= bit(current);
  warp->ready &= ~bit(current);
  for (Group& g : warp->groups)
    if (g.arrived && (g.mask & bit(current)))
      fail("divergent warp: %s returns, but lane %d of its warp waits for it in %s (mask %08x)",
           describe(current).c_str(), __builtin_ctz(g.arrived), describe(g.site).c_str(), g.mask);
}

}  // namespace simulator
