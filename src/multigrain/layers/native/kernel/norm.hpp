// Layer norm over features, lane by lane.
#pragma once
#include "profile.hpp"
#include "vector.hpp"

// Scale, shift and what is added to the variance; no scale means that nothing is normalised.
struct Norm {
    const float* scale;
    const float* shift;
    float epsilon;
};

// output = scale * unit + shift, unit = (input - mean) * inverse deviation. `unit` and `inverse` may be null where no gradient follows.
INLINE void normalise(const Norm& norm, const float* input, int stride, int dim, int steps, float* output, float* unit, float* inverse) {
    SPENT_ON(LAYER_NORMS);
    for (int step = 0; step < steps; step += LANES) {
        Floats mean = {}, variance = {};
        for (int row = 0; row < dim; row++) mean += load(input + row * stride + step);
        mean = mean / float(dim);
        for (int row = 0; row < dim; row++) {
            const Floats difference = load(input + row * stride + step) - mean;
            variance += difference * difference;
        }
        variance = variance / float(dim) + norm.epsilon;
        const Floats factor = 1.0f / root_of(variance);
        if (inverse) store(inverse + step, factor);
        for (int row = 0; row < dim; row++) {
            const Floats value = (load(input + row * stride + step) - mean) * factor;
            if (unit) store(unit + row * stride + step, value);
            store(output + row * stride + step, value * norm.scale[row] + norm.shift[row]);
        }
    }
}

// The gradient of `input`, in place of that of `output`; adds those of scale and shift. Lanes that stand for no step must be zero.
INLINE void normalise_backward(const Norm& norm, float* gradient, const float* unit, const float* inverse, int stride, int dim, int steps,
                               float* scale_gradient, float* shift_gradient) {
    SPENT_ON(LAYER_NORMS);
    for (int row = 0; row < dim; row++) {
        Floats of_scale = {}, of_shift = {};
        for (int step = 0; step < steps; step += LANES) {
            const Floats value = load(gradient + row * stride + step);
            of_scale += value * load(unit + row * stride + step);
            of_shift += value;
        }
        scale_gradient[row] += sum_of_lanes(of_scale);
        shift_gradient[row] += sum_of_lanes(of_shift);
    }
    for (int step = 0; step < steps; step += LANES) {
        Floats mean = {}, along = {};
        for (int row = 0; row < dim; row++) {
            const Floats value = load(gradient + row * stride + step) * norm.scale[row];
            mean += value;
            along += value * load(unit + row * stride + step);
        }
        mean = mean / float(dim), along = along / float(dim);
        const Floats factor = load(inverse + step);
        for (int row = 0; row < dim; row++) {
            float* at = gradient + row * stride + step;
            store(at, factor * (load(at) * norm.scale[row] - mean - load(unit + row * stride + step) * along));
        }
    }
}
