// Softmax attention of one head with dropout, whose weights exist in registers only.
//
//     P = softmax(Q^T K),  O = (M * P) V,  M the dropout mask
//     dV = (M * P)^T dO;  dS = P * (M * (dO V^T) - rowsum(dO * O));  dQ = dS K;  dK = dS^T Q
//
// Lanes are target steps; sources pass one by one. Backward, weights are computed again from the kept logarithm of each row's sum, and
// those of a tile of sources stay in the first-level cache until dK and dV are summed up. Scores are in units of log2(e).
// After Dao et al. 2022, "FlashAttention", with a tile as narrow as a register.
#pragma once
#include <type_traits>

#include "layout.hpp"
#include "random.hpp"

// Scores up to this need no maximum taken off before 2^x.
constexpr float SAFE_SCORE = 60.0f;

// The matrices of one head: rows are features of the head, columns steps; `sources` are real, whatever the stride.
struct Head {
    const float *query, *key, *value;
    int targets, sources, target_stride, source_stride;
};

// Runs `body(width)` with the head's width known to the compiler where it is a usual one.
template <class Body>
INLINE void with_width(int width, Body body) {
    switch (width) {
#define CASE(number) case number: body(std::integral_constant<int, number>{}); break;
        CASE(4) CASE(5) CASE(6) CASE(8) CASE(10) CASE(12) CASE(15) CASE(16) CASE(20)
#undef CASE
        default: body(width);
    }
}

constexpr int WIDEST_HEAD = 128;

template <bool DROPS, class Width>
static void attend(Width width, const Head& head, const Mask& mask, const uint32_t* columns, float* output, float* normalisers) {
    SPENT_ON(ATTENTION_FORWARD);
    const int target_stride = head.target_stride, source_stride = head.source_stride;
    float longest_key = 0.0f;
    {
        Floats longest = {};
        for (int step = 0; step < padded(head.sources); step += LANES) {
            Floats square = {};
            for (int row = 0; row < width; row++) {
                const Floats value = load(head.key + row * source_stride + step);
                square += value * value;
            }
            longest = larger(longest, square);
        }
        longest_key = largest_lane(longest);
    }
    for (int step = 0; step < padded(head.targets); step += LANES) {
        Floats query[Width() == 0 ? WIDEST_HEAD : int(Width())], sums[Width() == 0 ? WIDEST_HEAD : int(Width())];
        Floats square = {};
        for (int row = 0; row < width; row++) {
            query[row] = load(head.query + row * target_stride + step);
            square += query[row] * query[row];
            sums[row] = Floats{};
        }
        Floats offset = {};
        if (!(largest_lane(square) * longest_key <= SAFE_SCORE * SAFE_SCORE)) {
            offset = all(-__builtin_inff());
            for (int source = 0; source < head.sources; source++) {
                Floats score = {};
                for (int row = 0; row < width; row++) score += head.key[row * source_stride + source] * query[row];
                offset = larger(offset, score);
            }
        }
        const Bits rows = DROPS ? mask.rows_from(step) : Bits{};
        Floats total = {};
        for (int source = 0; source < head.sources; source++) {
            Floats score = -offset;
            for (int row = 0; row < width; row++) score += head.key[row * source_stride + source] * query[row];
            Floats weight = exp2_of(score);
            total += weight;
            if (DROPS) weight = keep(weight, mask.kept(rows ^ columns[source]));
            for (int row = 0; row < width; row++) sums[row] += head.value[row * source_stride + source] * weight;
        }
        const Floats factor = (DROPS ? mask.scale : 1.0f) / total;
        for (int row = 0; row < width; row++) store(output + row * target_stride + step, sums[row] * factor);
        store(normalisers + step, offset + log2_of(total));
    }
}

// Weights of a few source steps and one vector of target steps, on their way from the scores to the sums over target steps.
constexpr int SOURCES_OF_TILE = 64;

// One source step's gradients as a vector of features, so that a sum over target steps is one product and sum for each weight.
template <int WIDTH>
struct Row {
    typedef float Features __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
};

// sums (source, WIDTH) += weights (source, LANES target steps) states (target step, WIDTH), for keys and for values at once.
template <int WIDTH>
static void add_over_targets(const float* of_scores, const float* of_values, int sources, const float* query, const float* above, int targets,
                             float* key_sums, float* value_sums, int stride) {
    typedef typename Row<WIDTH>::Features Features;
    constexpr int AT_ONCE = 4;
    for (int source = 0; source < sources; source += AT_ONCE) {
        Features keys[AT_ONCE], values[AT_ONCE];
        for (int index = 0; index < AT_ONCE; index++) {
            keys[index] = *reinterpret_cast<const Features*>(key_sums + long(source + index) * stride);
            values[index] = *reinterpret_cast<const Features*>(value_sums + long(source + index) * stride);
        }
        for (int target = 0; target < targets; target++) {
            const Features asked = *reinterpret_cast<const Features*>(query + long(target) * stride);
            const Features answered = *reinterpret_cast<const Features*>(above + long(target) * stride);
            for (int index = 0; index < AT_ONCE; index++) {
                keys[index] += of_scores[(source + index) * LANES + target] * asked;
                values[index] += of_values[(source + index) * LANES + target] * answered;
            }
        }
        for (int index = 0; index < AT_ONCE; index++) {
            *reinterpret_cast<Features*>(key_sums + long(source + index) * stride) = keys[index];
            *reinterpret_cast<Features*>(value_sums + long(source + index) * stride) = values[index];
        }
    }
}

// Runs `body(columns, first)` for blocks of a head's features, in buffers whose rows are filled up to 16; the block's width is known to the compiler.
template <class Body>
INLINE void for_blocks_of_features(int width, Body body) {
    for (int first = 0; first < width;) {
        if (width - first > 8)
            body(std::integral_constant<int, 16>{}, first), first += 16;
        else if (width - first > 4)
            body(std::integral_constant<int, 8>{}, first), first += 8;
        else
            body(std::integral_constant<int, 4>{}, first), first += 4;
    }
}

// What the backward pass of one head reads and writes. `above` is dO, `totals` is rowsum(dO * O).
struct HeadGradients {
    const float *normalisers, *totals, *above;  // (target): logarithm of a row's sum; (target); (width, target)
    float *query, *key, *value;              // (width, target), (width, source), (width, source)
};

// `scratch` holds twice (targets + sources + SOURCES_OF_TILE) times (width filled up to 16) floats, and 2 * SOURCES_OF_TILE * LANES more.
// Lanes that stand for no step come out zero where dO and totals are zero there.
template <bool DROPS, class Width>
static void attend_backward(Width width, const Head& head, const Mask& mask, const uint32_t* columns, const HeadGradients& gradients, float* scratch) {
    SPENT_ON(ATTENTION_BACKWARD);
    constexpr int most = Width() == 0 ? WIDEST_HEAD : int(Width());
    const int target_stride = head.target_stride, source_stride = head.source_stride, stride = (width + 15) / 16 * 16;
    const int rows_of_sums = (head.sources + SOURCES_OF_TILE - 1) / SOURCES_OF_TILE * SOURCES_OF_TILE;
    float *query_rows = scratch, *above_rows = query_rows + long(head.targets) * stride;
    float *key_sums = above_rows + long(head.targets) * stride, *value_sums = key_sums + long(rows_of_sums) * stride;
    float *of_scores = value_sums + long(rows_of_sums) * stride, *of_values = of_scores + SOURCES_OF_TILE * LANES;
    transpose_untimed(head.query, target_stride, width, head.targets, query_rows, stride);
    transpose_untimed(gradients.above, target_stride, width, head.targets, above_rows, stride);
    std::memset(key_sums, 0, sizeof(float) * 2 * rows_of_sums * stride);
    std::memset(of_scores, 0, sizeof(float) * 2 * SOURCES_OF_TILE * LANES);
    for (int step = 0; step < padded(head.targets); step += LANES) {
        const int targets = head.targets - step < LANES ? head.targets - step : LANES;
        Floats query[most], above[most], sums[most];
        for (int row = 0; row < width; row++) {
            query[row] = load(head.query + row * target_stride + step);
            above[row] = load(gradients.above + row * target_stride + step) * (DROPS ? mask.scale : 1.0f);
            sums[row] = Floats{};
        }
        const Floats normaliser = load(gradients.normalisers + step), total = load(gradients.totals + step);
        const Bits rows = DROPS ? mask.rows_from(step) : Bits{};
        for (int first = 0; first < head.sources; first += SOURCES_OF_TILE) {
            const int count = head.sources - first < SOURCES_OF_TILE ? head.sources - first : SOURCES_OF_TILE;
            for (int index = 0; index < count; index++) {
                const int source = first + index;
                Floats score = -normaliser, gradient = {};
                for (int row = 0; row < width; row++) {
                    score += head.key[row * source_stride + source] * query[row];
                    gradient += head.value[row * source_stride + source] * above[row];
                }
                const Floats weight = exp2_of(score);
                Floats kept = weight;
                if (DROPS) {
                    const Ints is_kept = mask.kept(rows ^ columns[source]);
                    gradient = keep(gradient, is_kept), kept = keep(weight, is_kept);
                }
                gradient = weight * (gradient - total);
                for (int row = 0; row < width; row++) sums[row] += head.key[row * source_stride + source] * gradient;
                store(of_scores + index * LANES, gradient);
                store(of_values + index * LANES, kept);
            }
            if (targets > 0)
                for_blocks_of_features(width, [&](auto block, int feature) {
                    const long target = long(step) * stride + feature, source = long(first) * stride + feature;
                    add_over_targets<decltype(block)::value>(of_scores, of_values, count, query_rows + target, above_rows + target, targets,
                                                             key_sums + source, value_sums + source, stride);
                });
        }
        for (int row = 0; row < width; row++) store(gradients.query + row * target_stride + step, sums[row]);
    }
    const float scale = DROPS ? mask.scale : 1.0f;
    transpose_untimed(key_sums, stride, head.sources, width, gradients.key, source_stride);
    transpose_untimed(value_sums, stride, head.sources, width, gradients.value, source_stride);
    for (int row = 0; row < width && DROPS; row++)
        for (int source = 0; source < source_stride; source += LANES)
            store(gradients.value + row * source_stride + source, load(gradients.value + row * source_stride + source) * scale);
}
