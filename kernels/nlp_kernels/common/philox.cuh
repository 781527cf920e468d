// Philox4x32-10: words of the stream of a seed by their positions. philox.py has the explanation.
#pragma once

struct Philox {
  unsigned long long seed, block = ~0ull;  // the block whose words these are: none yet
  unsigned word[4];

  __device__ __forceinline__ unsigned at(unsigned long long position) {
    if (position / 4 != block) draw(position / 4);
    const unsigned i = position % 4;  // no array index: the words stay in registers
    return i == 0 ? word[0] : i == 1 ? word[1] : i == 2 ? word[2] : word[3];
  }

  __device__ __forceinline__ void draw(unsigned long long counter) {
    constexpr unsigned M0 = 0xD2511F53u, M1 = 0xCD9E8D57u, W0 = 0x9E3779B9u, W1 = 0xBB67AE85u;
    unsigned c0 = static_cast<unsigned>(counter), c1 = static_cast<unsigned>(counter >> 32), c2 = 0, c3 = 0;
    unsigned k0 = static_cast<unsigned>(seed), k1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++) {
      const unsigned high0 = __umulhi(M0, c0), low0 = M0 * c0, high1 = __umulhi(M1, c2), low1 = M1 * c2;
      c0 = high1 ^ c1 ^ k0, c1 = low1, c2 = high0 ^ c3 ^ k1, c3 = low0;
      k0 += W0, k1 += W1;
    }
    block = counter;
    word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
  }
};
