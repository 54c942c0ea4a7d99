// Memory of one thread that is used anew for each utterance, so that nothing is allocated on the way.
#pragma once
#include <cstdlib>
#include <vector>

#include "vector.hpp"

class Arena {
  public:
    ~Arena() {
        for (const Chunk& chunk : chunks) std::free(chunk.memory);
    }
    // `count` floats at an address that is a multiple of a vector's size; not zeroed.
    float* take(size_t count) {
        count = (count + LANES - 1) / LANES * LANES;
        while (current < chunks.size() && used + count > chunks[current].size) current++, used = 0;
        if (current == chunks.size()) {
            const size_t size = count > LEAST ? count : LEAST;
            chunks.push_back({static_cast<float*>(std::aligned_alloc(64, (size * sizeof(float) + 63) / 64 * 64)), size});
            used = 0;
        }
        float* memory = chunks[current].memory + used;
        used += count;
        return memory;
    }
    float* zeros(size_t count) {
        float* memory = take(count);
        std::memset(memory, 0, count * sizeof(float));
        return memory;
    }
    // A place to go back to, which frees all that was taken since.
    struct Place {
        size_t chunk, used;
    };
    Place place() const { return {current, used}; }
    void back_to(Place place) { current = place.chunk, used = place.used; }

  private:
    struct Chunk {
        float* memory;
        size_t size;
    };
    static constexpr size_t LEAST = size_t(1) << 18;
    std::vector<Chunk> chunks;
    size_t current = 0, used = 0;
};
