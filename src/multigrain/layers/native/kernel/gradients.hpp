// The gradients of a layer's parameters, summed by each thread for itself.
#pragma once
#include <vector>

#include "layer.hpp"

// A matrix of gradients whose rows are filled up to whole vectors; `is_transposed` where it is summed as (in, out).
struct Sum {
    float* values;
    int rows, columns, stride;
    bool is_transposed;
};

class Gradients {
  public:
    enum Name {
        TARGET_NORM_SCALE, TARGET_NORM_SHIFT, SOURCE_NORM_SCALE, SOURCE_NORM_SHIFT,
        QUERY, KEY_VALUE, QUERY_BIAS, KEY_VALUE_BIAS, OUTPUT, OUTPUT_BIAS,
        SCALE_EMBEDDING, SCALE_IN, SCALE_IN_BIAS, SCALE_OUT, SCALE_OUT_BIAS,
        FEED_FORWARD_NORM_SCALE, FEED_FORWARD_NORM_SHIFT, EXPAND, EXPAND_BIAS, CONTRACT, CONTRACT_BIAS,
        COUNT
    };

    void reset(const Layer& layer) {
        const int dim = layer.dim, scales = layer.scales, aggregating = layer.aggregation == ATTENTION;
        const struct { int rows, columns; } shapes[COUNT] = {
            {1, dim}, {1, dim}, {layer.is_normed_source, dim}, {layer.is_normed_source, dim},
            {scales * dim, dim}, {scales * 2 * dim, dim}, {scales, dim}, {scales * 2, dim}, {scales * dim, dim}, {scales, dim},
            {aggregating * scales, dim}, {aggregating * 3 * dim, dim}, {aggregating, 3 * dim}, {aggregating * dim, dim}, {aggregating, dim},
            {1, dim}, {1, dim}, {layer.hidden, dim}, {1, layer.hidden}, {dim, layer.hidden}, {1, dim},
        };
        size_t size = 0;
        for (int name = 0; name < COUNT; name++) {
            const bool is_transposed = name == CONTRACT;
            const int rows = is_transposed ? shapes[name].columns : shapes[name].rows, columns = is_transposed ? shapes[name].rows : shapes[name].columns;
            sums[name] = {nullptr, rows, columns, padded(columns), is_transposed};
            size += size_t(sums[name].rows) * sums[name].stride;
        }
        memory.assign(size + LANES, 0.0f);
        float* at = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 4 * LANES - 1) / (4 * LANES) * (4 * LANES));
        for (Sum& sum : sums) sum.values = at, at += size_t(sum.rows) * sum.stride;
    }
    const Sum& operator[](Name name) const { return sums[name]; }
    // The matrix of one scale, of `dim` rows.
    float* matrix(Name name, int scale, int dim) { return sums[name].values + long(scale) * dim * sums[name].stride; }
    // A row: a vector of gradients, of one scale where there are several.
    float* row(Name name, int scale = 0) { return sums[name].values + long(scale) * sums[name].stride; }

    // Adds everything to (or, first, puts it into) one flat array, and is empty after that.
    void give(float* flat, bool is_first) {
        for (const Sum& sum : sums) {
            for (int row = 0; row < sum.rows; row++)
                for (int column = 0; column < sum.columns; column++) {
                    float& place = sum.is_transposed ? flat[column * sum.rows + row] : flat[row * sum.columns + column];
                    const float value = sum.values[long(row) * sum.stride + column];
                    place = is_first ? value : place + value;
                }
            flat += sum.rows * sum.columns;
        }
        std::vector<float>().swap(memory);
    }

  private:
    Sum sums[COUNT];
    std::vector<float> memory;
};
