// Philox4x32-10, as philox.py has it: four random words of a block, a pure function of the block's number and the seed.
#pragma once

struct Words {
  unsigned w[4];
};

// Block `counter` of stream 0.
__device__ __forceinline__ Words philox(unsigned long long counter, unsigned long long seed) {
  unsigned c0 = static_cast<unsigned>(counter), c1 = static_cast<unsigned>(counter >> 32), c2 = 0, c3 = 0;
  unsigned k0 = static_cast<unsigned>(seed), k1 = static_cast<unsigned>(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; round++) {
    const unsigned long long p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = static_cast<unsigned>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<unsigned>(p1);
    c2 = static_cast<unsigned>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<unsigned>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Word after word of a seed's stream, by position; neighbours share a block.
struct Stream {
  unsigned long long seed, block = ~0ull;  // the block whose words these are: none yet
  Words words;

  __device__ __forceinline__ unsigned at(unsigned long long position) {
    if (position / 4 != block) {
      block = position / 4;
      words = philox(block, seed);
    }
    const unsigned i = position % 4;  // no array index: the words stay in registers
    return i == 0 ? words.w[0] : i == 1 ? words.w[1] : i == 2 ? words.w[2] : words.w[3];
  }
};
