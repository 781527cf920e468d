// In which order the tiles of a product are computed.
#pragma once

// Bands of eight rows of tiles, and within a band column by column: blocks that run at once read the same parts.
__device__ __forceinline__ void tile_of(int index, int tiles_m, int tiles_n, int& m, int& n) {
  const int band = index / (8 * tiles_n), in_band = index % (8 * tiles_n), rows = min(8, tiles_m - band * 8);
  m = band * 8 + in_band % rows, n = in_band / rows;
}
