// Softmax attention of one head with dropout, whose weights exist in registers only.
//
//     P = softmax(Q^T K),  O = (M * P) V,  M the dropout mask
//     dV = (M * P)^T dO;  dS = P * (M * (dO V^T) - rowsum(dO * O));  dQ = dS K;  dK = dS^T Q
//
// Forward: lanes are target steps; sources pass one by one. Backward: the same once for dQ, and once more with lanes as source
// steps for dK and dV; weights are computed again from the kept logarithm of each row's sum. Scores are in units of log2(e).
// After Dao et al. 2022, "FlashAttention", with a tile as narrow as a register.
#pragma once
#include <type_traits>

#include "random.hpp"
#include "vector.hpp"

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
static void attend(Width width, const Head& head, const Mask& mask, const uint32_t* columns, float* output, float* log_sums) {
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
        Floats logarithm;
        for (int lane = 0; lane < LANES; lane++) logarithm[lane] = __builtin_log2f(total[lane]);
        store(log_sums + step, offset + logarithm);
    }
}

// `totals` is rowsum(dO * O). Lanes of `query_gradient` that stand for no step come out zero where dO and totals are zero there.
template <bool DROPS, class Width>
static void query_gradients(Width width, const Head& head, const Mask& mask, const uint32_t* columns, const float* log_sums, const float* totals,
                            const float* output_gradient, float* query_gradient) {
    const int target_stride = head.target_stride, source_stride = head.source_stride;
    for (int step = 0; step < padded(head.targets); step += LANES) {
        constexpr int most = Width() == 0 ? WIDEST_HEAD : int(Width());
        Floats query[most], above[most], sums[most];
        for (int row = 0; row < width; row++) {
            query[row] = load(head.query + row * target_stride + step);
            above[row] = load(output_gradient + row * target_stride + step) * (DROPS ? mask.scale : 1.0f);
            sums[row] = Floats{};
        }
        const Floats log_sum = load(log_sums + step), total = load(totals + step);
        const Bits rows = DROPS ? mask.rows_from(step) : Bits{};
        for (int source = 0; source < head.sources; source++) {
            Floats score = -log_sum, gradient = {};
            for (int row = 0; row < width; row++) {
                score += head.key[row * source_stride + source] * query[row];
                gradient += head.value[row * source_stride + source] * above[row];
            }
            if (DROPS) gradient = keep(gradient, mask.kept(rows ^ columns[source]));
            gradient = exp2_of(score) * (gradient - total);
            for (int row = 0; row < width; row++) sums[row] += head.key[row * source_stride + source] * gradient;
        }
        for (int row = 0; row < width; row++) store(query_gradient + row * target_stride + step, sums[row]);
    }
}

template <bool DROPS, class Width>
static void source_gradients(Width width, const Head& head, const Mask& mask, const uint32_t* rows, const float* log_sums, const float* totals,
                             const float* output_gradient, float* key_gradient, float* value_gradient) {
    const int target_stride = head.target_stride, source_stride = head.source_stride;
    for (int step = 0; step < padded(head.sources); step += LANES) {
        constexpr int most = Width() == 0 ? WIDEST_HEAD : int(Width());
        Floats key[most], value[most], key_sums[most], value_sums[most];
        for (int row = 0; row < width; row++) {
            key[row] = load(head.key + row * source_stride + step);
            value[row] = load(head.value + row * source_stride + step) * (DROPS ? mask.scale : 1.0f);
            key_sums[row] = value_sums[row] = Floats{};
        }
        const Bits columns = DROPS ? mask.columns_from(step) : Bits{};
        for (int target = 0; target < head.targets; target++) {
            Floats score = all(-log_sums[target]), gradient = {};
            for (int row = 0; row < width; row++) {
                score += head.query[row * target_stride + target] * key[row];
                gradient += output_gradient[row * target_stride + target] * value[row];
            }
            Floats weight = exp2_of(score), kept = weight;
            if (DROPS) {
                const Ints is_kept = mask.kept(columns ^ rows[target]);
                gradient = keep(gradient, is_kept), kept = keep(weight, is_kept);
            }
            gradient = weight * (gradient - totals[target]);
            for (int row = 0; row < width; row++) {
                key_sums[row] += head.query[row * target_stride + target] * gradient;
                value_sums[row] += output_gradient[row * target_stride + target] * kept;
            }
        }
        const Ints is_real = (Ints)((Ints)(lane_numbers() + step) < head.sources);
        for (int row = 0; row < width; row++) {
            store(key_gradient + row * source_stride + step, keep(key_sums[row], is_real));
            store(value_gradient + row * source_stride + step, keep(value_sums[row] * (DROPS ? mask.scale : 1.0f), is_real));
        }
    }
}
