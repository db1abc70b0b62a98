// A stream's layers, run a step at a time. T is what the network computes in, Y what comes in and
// out: the same, or double where a run folder's scalers are around it.
#pragma once
#include <memory>
#include <stdexcept>

#include "layers.h"

namespace unrolled {

template <class T, class Y>
class Chain {
   public:
    Chain(Index batch, Index inputs)
        : batch(batch), inputs(inputs), input_(times(batch, row_of<T>(inputs))),
          values_(times(batch, inputs)), last_(times(batch, inputs)), steps_(batch, 0),
          outputs_(inputs) {
        std::fill(last_.get(), last_.get() + last_.count(), missing);
    }

    void add(std::unique_ptr<Layer<T>> layer) {
        layers_.push_back(std::move(layer));  // first, so that no state outlives its layer
        for (const State<T>& state : layers_.back()->states()) states_.push_back(state);
        for (const Constant<T>& constant : layers_.back()->constants())
            constants_.push_back(constant);
        outputs_ = layers_.back()->outputs;
    }

    void scale(Scaling scaling) {
        scaling_ = std::move(scaling);
        has_differences_ = scaling_.has_differences();
    }

    Index outputs() const { return outputs_; }
    bool is_scaled() const { return scaling_.is_there(); }

    // Whether a row x [B, I] may enter: a scaled stream takes no NaN, and nothing whose scaled
    // value the network can't hold, since its states would never be rid of it.
    template <class X>
    bool takes(const X* x) const {
        if (!scaling_.is_there()) return true;
        for (Index b = 0; b < batch; ++b)
            for (Index i = 0; i < inputs; ++i)
                if (!(std::abs(double(x[b * inputs + i])) <= scaling_.limit[i])) return false;
        return true;
    }

    // One step: x [B, I] to y [B, O], which may be the same memory.
    template <class X>
    void step(const X* x, Y* y) {
        if (scaling_.is_there()) {
            std::copy_n(x, batch * inputs, values_.get());
            return step_scaled(y);
        }
        const Index row = row_of<T>(inputs);
        for (Index b = 0; b < batch; ++b)
            for (Index i = 0; i < inputs; ++i) input_.get()[b * row + i] = T(x[b * inputs + i]);
        const Rows<const T> out = run(0, batch);
        for (Index b = 0; b < batch; ++b) std::copy_n(out.at(b), outputs_, y + b * outputs_);
        finish();
    }

    // A state [B, count], dense, out of its place and into it.
    const std::vector<State<T>>& states() const { return states_; }
    void read(const State<T>& state, T* to) const {
        for (Index b = 0; b < batch; ++b)
            std::copy_n(state.places[1 - now_].at(b), state.count, to + b * state.count);
    }
    void write(const State<T>& state, const T* from) {
        for (Index b = 0; b < batch; ++b)
            std::copy_n(from + b * state.count, state.count, state.places[1 - now_].at(b));
    }
    // What is the same at every step, [B, count], dense, into its place.
    const std::vector<Constant<T>>& constants() const { return constants_; }
    void write(const Constant<T>& constant, const T* from) {
        for (Index b = 0; b < batch; ++b)
            std::copy_n(from + b * constant.count, constant.count, constant.place.at(b));
    }
    double* last() { return last_.get(); }           // [B, I], NaN before a stream's first row
    std::int64_t* steps() { return steps_.data(); }  // [B]

    void reset(Index b) {
        for (const State<T>& state : states_)
            std::fill_n(state.places[1 - now_].at(b), state.count, T(0));
        std::fill_n(last_.get() + b * inputs, inputs, missing);
        steps_[b] = 0;
    }

    const Index batch, inputs;

   private:
    static constexpr double missing = std::numeric_limits<double>::quiet_NaN();

    Rows<const T> run(Index first, Index last) {
        Rows<const T> rows = {input_.get(), row_of<T>(inputs)};
        for (const auto& layer : layers_) rows = layer->run(rows, now_, first, last);
        return rows;
    }

    void finish() {
        for (std::int64_t& steps : steps_) ++steps;
        now_ = 1 - now_;
    }

    // With differences a stream's first row only tells where the next one starts from.
    bool is_first(Index b) const {
        if (!has_differences_) return false;
        for (Index i = 0; i < inputs; ++i)
            if (scaling_.differs[i] && std::isnan(last_.get()[b * inputs + i])) return true;
        return false;
    }

    void step_scaled(Y* y) {
        for (Index b = 0; b < batch; ++b) {
            const Index begin = b;
            while (b < batch && !is_first(b)) read_row(b++);
            if (b > begin) run_scaled(begin, b, y);
            if (b < batch) skip(b, y);
        }
        std::copy_n(values_.get(), batch * inputs, last_.get());
        finish();
    }

    // One row as the network meets it.
    void read_row(Index b) {
        const Scaling& s = scaling_;
        for (Index i = 0; i < inputs; ++i) {
            const double value = values_.get()[b * inputs + i];
            const double feature = s.differs[i] ? value - last_.get()[b * inputs + i] : value;
            input_.get()[b * row_of<T>(inputs) + i] =
                T((feature - s.input_mean[i]) / s.input_scale[i]);
        }
    }

    void run_scaled(Index first, Index last, Y* y) {
        const Scaling& s = scaling_;
        const Rows<const T> out = run(first, last);
        for (Index b = first; b < last; ++b)
            for (Index o = 0; o < outputs_; ++o) {
                const double base = s.base[o] < 0 ? 0 : values_.get()[b * inputs + s.base[o]];
                const double change = double(out.at(b)[o]) * s.output_scale[o] + s.output_mean[o];
                y[b * outputs_ + o] = Y(change + base);
            }
    }

    // A row that takes no step keeps its states where the next step looks for them.
    void skip(Index b, Y* y) {
        for (const State<T>& state : states_)
            if (state.places[now_].data != state.places[1 - now_].data)
                std::copy_n(state.places[1 - now_].at(b), state.count, state.places[now_].at(b));
        std::fill_n(y + b * outputs_, outputs_, Y(missing));
    }

    std::vector<std::unique_ptr<Layer<T>>> layers_;
    std::vector<State<T>> states_;
    std::vector<Constant<T>> constants_;
    Buffer<T> input_;
    Buffer<double> values_, last_;  // [B, I]: the step's row, and the one before
    std::vector<std::int64_t> steps_;
    Index outputs_;
    Scaling scaling_;
    bool has_differences_ = false;
    int now_ = 0;  // where the next step writes its states
};

}  // namespace unrolled
