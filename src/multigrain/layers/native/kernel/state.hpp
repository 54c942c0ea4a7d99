// What a layer gives or is given, of one utterance: (feature, step), so that the next layer takes it as it is.
#pragma once
#include "arena.hpp"
#include "layout.hpp"

struct State {
    const float* values;  // (dim, stride), zeros from `time` on
    int time, stride;     // steps that are there, and padded(time)

    // Some of the steps, or with no `numbers` the first so many; those that are not there are zero.
    const float* picked(const int* numbers, int count, int stride_of_picked, int dim, Arena& arena) const {
        SPENT_ON(LAYOUT);
        float* to = arena.take(size_t(dim) * stride_of_picked);
        for (int row = 0; row < dim; row++)
            for (int index = 0; index < stride_of_picked; index++) {
                const int step = numbers && index < count ? numbers[index] : index;
                to[long(row) * stride_of_picked + index] = index < count && step < time ? values[long(row) * stride + step] : 0.0f;
            }
        return to;
    }
};

// Steps as Python has them, (step, dim), as a state.
INLINE State turned_state(const float* steps, int time, int dim, Arena& arena) {
    const int stride = padded(time);
    const size_t size = size_t(dim) * stride;
    float* values = stride - time >= LANES ? arena.zeros(size) : arena.take(size);  // filled up further than to a whole vector
    read_steps(time, dim, Steps<const float*>{steps, dim}, values, stride);
    return {values, time, stride};
}
