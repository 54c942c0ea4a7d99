// Softmax attention of one head with dropout, whose weights exist tile by tile only.
//
//     P = softmax(Q^T K),  O = (M * P) V,  M the dropout mask
//     dV = (M * P)^T dO;  dS = P * (M * (dO V^T) - rowsum(dO * O));  dQ = dS K;  dK = dS^T Q
//
// Lanes are target steps. Weights of a tile of sources and targets stay in the first-level cache between the products that make them and
// those that use them. Backward, they are computed again from the kept logarithm of each row's sum. Scores are in units of log2(e).
// After Dao et al. 2022, "FlashAttention".
#pragma once
#include "layout.hpp"
#include "products.hpp"
#include "random.hpp"

// Scores up to this need no maximum taken off before 2^x.
constexpr float SAFE_SCORE = 60.0f;

// The matrices of one head: rows are features of the head, columns steps; `sources` are real, whatever the stride.
struct Head {
    const float *query, *key, *value;
    int targets, sources, target_stride, source_stride;
};

// Weights of so many source steps and target steps stay in the first-level cache between the products that make and use them.
constexpr int SOURCES_OF_TILE = 32;
constexpr int TARGETS_OF_TILE = (REGISTERS >= 32 ? 4 : 6) * LANES;
constexpr int TILE = SOURCES_OF_TILE * TARGETS_OF_TILE;

// Some source and some target steps of a head; `steps` are the target steps filled up to whole vectors.
struct Tile {
    int source, sources, target, targets, steps;
};

// Runs `body(tile)` for all source steps of the target steps from `target` on, tile by tile.
template <class Body>
INLINE void for_sources(const Head& head, int target, Body body) {
    const int left = head.target_stride - target, steps = left < TARGETS_OF_TILE ? left : TARGETS_OF_TILE;
    const int real = head.targets - target, targets = real < 0 ? 0 : real < steps ? real : steps;
    for (int source = 0; source < head.sources; source += SOURCES_OF_TILE)
        body(Tile{source, head.sources - source < SOURCES_OF_TILE ? head.sources - source : SOURCES_OF_TILE, target, targets, steps});
}

// output (source, target) of a tile = keys or values (width, source), transposed, times queries or gradients (width, target).
INLINE void product_of_tile(int width, const Tile& tile, const float* sources, int source_stride, const float* targets, int target_stride, float* output) {
    product_untimed(sources + tile.source, 1, source_stride, tile.sources, width, targets + tile.target, target_stride, output, TARGETS_OF_TILE, tile.steps);
}

// Where a source step's vector of target steps is in a tile.
INLINE int at_tile(int source, int vector) { return source * TARGETS_OF_TILE + vector * LANES; }

// Runs `body(vectors, vector, sources, source)` for groups of a tile's vectors that are computed together; their numbers are known to the compiler.
template <int VECTORS, class Body>
INLINE void for_groups(const Tile& tile, Body body) {
    for_blocks<VECTORS == 1 ? 4 : VECTORS == 2 ? 2 : 1>(tile.sources, body);
}

// The sum of squares of each of a vector of columns.
INLINE Floats squares(const float* matrix, int stride, int width, int step) {
    Floats sum = {};
    for (int row = 0; row < width; row++) {
        const Floats value = load(matrix + long(row) * stride + step);
        sum += value * value;
    }
    return sum;
}

// What scores of target steps are less by, so that 2^x holds them: nothing where the lengths of queries and keys say that it does, else the largest
// score. Each lane decides for itself, so that no step's result depends on others.
INLINE void find_offsets(int width, const Head& head, int target, float longest_key, float* offsets, float* scores) {
    const int left = head.target_stride - target, steps = left < TARGETS_OF_TILE ? left : TARGETS_OF_TILE;
    const auto is_safe = [&](int step) { return squares(head.query, head.target_stride, width, target + step) * longest_key <= SAFE_SCORE * SAFE_SCORE; };
    Ints is_any_unsafe = {};
    for (int step = 0; step < steps; step += LANES) {
        is_any_unsafe |= ~is_safe(step);
        store(offsets + step, Floats{});
    }
    if (!is_any(is_any_unsafe)) return;
    for (int step = 0; step < steps; step += LANES) store(offsets + step, all(-__builtin_inff()));
    for_sources(head, target, [&](const Tile& tile) {
        product_of_tile(width, tile, head.key, head.source_stride, head.query, head.target_stride, scores);
        for (int step = 0; step < steps; step += LANES) {
            Floats offset = load(offsets + step);
            for (int index = 0; index < tile.sources; index++) offset = larger(offset, load(scores + index * TARGETS_OF_TILE + step));
            store(offsets + step, offset);
        }
    });
    for (int step = 0; step < steps; step += LANES) store(offsets + step, keep(load(offsets + step), ~is_safe(step)));
}

// Some vectors of a tile's scores become weights, dropped where the mask says so, and are added to each row's total before that.
template <bool DROPS, int VECTORS>
INLINE void exponentials(const Tile& tile, const Mask& mask, const uint32_t* columns, const float* offsets, int target, float* totals, float* weights) {
    Floats offset[VECTORS], total[VECTORS];
    Bits rows[VECTORS];
    for (int vector = 0; vector < VECTORS; vector++) {
        offset[vector] = load(offsets + vector * LANES), total[vector] = load(totals + vector * LANES);
        if (DROPS) rows[vector] = mask.rows_from(target + vector * LANES);
    }
    for_groups<VECTORS>(tile, [&](auto sources, int source) {
        Floats group[sources * VECTORS];
        for (int index = 0; index < sources * VECTORS; index++) group[index] = load(weights + at_tile(source + index / VECTORS, index % VECTORS)) - offset[index % VECTORS];
        to_exp2(group);
        for (int index = 0; index < sources * VECTORS; index++) {
            total[index % VECTORS] += group[index];
            if (DROPS) group[index] = keep(group[index], mask.kept(rows[index % VECTORS] ^ columns[tile.source + source + index / VECTORS]));
            store(weights + at_tile(source + index / VECTORS, index % VECTORS), group[index]);
        }
    });
    for (int vector = 0; vector < VECTORS; vector++) store(totals + vector * LANES, total[vector]);
}

// How many floats `attend` needs as scratch.
constexpr size_t ROOM_OF_ATTENTION = TILE + 2 * TARGETS_OF_TILE;

template <bool DROPS>
static void attend(int width, const Head& head, const Mask& mask, const uint32_t* columns, float* output, float* normalisers, float* scratch) {
    SPENT_ON(ATTENTION_FORWARD);
    Floats longest = {};
    for (int source = 0; source < padded(head.sources); source += LANES) longest = larger(longest, squares(head.key, head.source_stride, width, source));
    const float longest_key = largest_lane(longest);
    float *weights = scratch, *offsets = weights + TILE, *totals = offsets + TARGETS_OF_TILE;
    for (int target = 0; target < head.target_stride; target += TARGETS_OF_TILE) {
        const int left = head.target_stride - target, steps = left < TARGETS_OF_TILE ? left : TARGETS_OF_TILE;
        find_offsets(width, head, target, longest_key, offsets, weights);
        for (int step = 0; step < steps; step += LANES) store(totals + step, Floats{});
        for_sources(head, target, [&](const Tile& tile) {
            product_of_tile(width, tile, head.key, head.source_stride, head.query, head.target_stride, weights);
            for_blocks<3>(steps / LANES, [&](auto vectors, int vector) {
                exponentials<DROPS, decltype(vectors)::value>(tile, mask, columns, offsets + vector * LANES, target + vector * LANES, totals + vector * LANES, weights + vector * LANES);
            });
            product_untimed(head.value + tile.source, head.source_stride, 1, width, tile.sources, weights, TARGETS_OF_TILE, output + target, head.target_stride,
                            steps, nullptr, tile.source == 0 ? Into::replace : Into::add);
        });
        for (int step = 0; step < steps; step += LANES) {
            const Floats total = load(totals + step), factor = (DROPS ? mask.scale : 1.0f) / total;
            for (int row = 0; row < width; row++) {
                float* at = output + long(row) * head.target_stride + target + step;
                store(at, load(at) * factor);
            }
            if (normalisers) store(normalisers + target + step, load(offsets + step) + log2_of(total));
        }
    }
}

// What the backward pass of one head reads and writes. `above` is dO, `totals` is rowsum(dO * O).
struct HeadGradients {
    const float *normalisers, *totals, *above;  // (target): logarithm of a row's sum; (target); (width, target)
    float *query, *key, *value;              // (width, target), (width, source), (width, source)
};

// How many floats `attend_backward` needs as scratch.
INLINE size_t room_of_backward(int width, const Head& head) {
    return 2 * TILE + 2 * (size_t(head.targets) + head.sources) * ((width + LANES - 1) / LANES * LANES);
}

// Some vectors of a tile's scores become the weights that were kept, and dO V^T the gradients of the scores.
template <bool DROPS, int VECTORS>
INLINE void gradients_of_scores(const Tile& tile, const Mask& mask, const uint32_t* columns, const float* normalisers, const float* totals, int target,
                                float* of_values, float* of_scores) {
    Floats normaliser[VECTORS], total[VECTORS];
    Bits rows[VECTORS];
    const float scale = DROPS ? mask.scale : 1.0f;
    for (int vector = 0; vector < VECTORS; vector++) {
        normaliser[vector] = load(normalisers + vector * LANES), total[vector] = load(totals + vector * LANES);
        if (DROPS) rows[vector] = mask.rows_from(target + vector * LANES);
    }
    for_groups<VECTORS>(tile, [&](auto sources, int source) {
        Floats group[sources * VECTORS];
        for (int index = 0; index < sources * VECTORS; index++)
            group[index] = load(of_values + at_tile(source + index / VECTORS, index % VECTORS)) - normaliser[index % VECTORS];
        to_exp2(group);
        for (int index = 0; index < sources * VECTORS; index++) {
            const int place = at_tile(source + index / VECTORS, index % VECTORS);
            Floats gradient = load(of_scores + place) * scale, kept = group[index];
            if (DROPS) {
                const Ints is_kept = mask.kept(rows[index % VECTORS] ^ columns[tile.source + source + index / VECTORS]);
                gradient = keep(gradient, is_kept), kept = keep(kept, is_kept);
            }
            store(of_scores + place, group[index] * (gradient - total[index % VECTORS]));
            store(of_values + place, kept);
        }
    });
}

// Lanes that stand for no step come out zero where dO and totals are zero there.
template <bool DROPS>
static void attend_backward(int width, const Head& head, const Mask& mask, const uint32_t* columns, const HeadGradients& gradients, float* scratch) {
    SPENT_ON(ATTENTION_BACKWARD);
    const int stride = (width + LANES - 1) / LANES * LANES;  // of matrices whose rows are steps
    float *of_scores = scratch, *of_values = of_scores + TILE, *query_rows = of_values + TILE, *above_rows = query_rows + long(head.targets) * stride;
    float *key_sums = above_rows + long(head.targets) * stride, *value_sums = key_sums + long(head.sources) * stride;
    transpose_untimed(head.query, head.target_stride, width, head.targets, query_rows, stride);
    transpose_untimed(gradients.above, head.target_stride, width, head.targets, above_rows, stride);
    std::memset(key_sums, 0, sizeof(float) * 2 * head.sources * stride);
    const float scale = DROPS ? mask.scale : 1.0f;
    for (int target = 0; target < head.target_stride; target += TARGETS_OF_TILE)
        for_sources(head, target, [&](const Tile& tile) {
            product_of_tile(width, tile, head.key, head.source_stride, head.query, head.target_stride, of_values);
            product_of_tile(width, tile, head.value, head.source_stride, gradients.above, head.target_stride, of_scores);
            for_blocks<3>(tile.steps / LANES, [&](auto vectors, int vector) {
                const int step = target + vector * LANES;
                gradients_of_scores<DROPS, decltype(vectors)::value>(tile, mask, columns, gradients.normalisers + step, gradients.totals + step, step,
                                                                     of_values + vector * LANES, of_scores + vector * LANES);
            });
            product_untimed(head.key + tile.source, head.source_stride, 1, width, tile.sources, of_scores, TARGETS_OF_TILE, gradients.query + target,
                            head.target_stride, tile.steps, nullptr, tile.source == 0 ? Into::replace : Into::add);
            const long rows = long(target) * stride, sums = long(tile.source) * stride;
            add_outer_untimed(of_scores, TARGETS_OF_TILE, tile.sources, query_rows + rows, stride, stride, tile.targets, key_sums + sums, stride);
            add_outer_untimed(of_values, TARGETS_OF_TILE, tile.sources, above_rows + rows, stride, stride, tile.targets, value_sums + sums, stride);
        });
    transpose_untimed(key_sums, stride, head.sources, width, gradients.key, head.source_stride);
    transpose_untimed(value_sums, stride, head.sources, width, gradients.value, head.source_stride);
    for (int row = 0; row < width && DROPS; row++)
        for (int source = 0; source < head.source_stride; source += LANES)
            store(gradients.value + row * head.source_stride + source, load(gradients.value + row * head.source_stride + source) * scale);
}
