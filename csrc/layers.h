// What a stream is made of: layers one after the other, each of which owns its weights, its states
// and its output. No Python, no torch. All memory is taken when a layer is made; a step takes none.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "linked.h"
#include "stepper.h"

namespace unrolled {

// Numbers from a cache line's beginning on, zero at first.
template <class T>
class Buffer {
   public:
    explicit Buffer(Index count = 0) : count_(count) {
        if (count == 0) return;
        const auto bytes = static_cast<std::size_t>(times(count, sizeof(T)));
        data_ = static_cast<T*>(::operator new(bytes, line));
        std::memset(data_, 0, bytes);
    }
    Buffer(Buffer&& other) noexcept { *this = std::move(other); }
    Buffer& operator=(Buffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
        return *this;
    }
    ~Buffer() {
        if (data_) ::operator delete(data_, line);
    }
    T* get() const { return data_; }
    Index count() const { return count_; }

   private:
    static constexpr std::align_val_t line{64};
    T* data_ = nullptr;
    Index count_ = 0;
};

// How far apart rows of so many numbers lie: whole cache lines, and so whole vectors.
template <class T>
Index row_of(Index count) {
    constexpr Index line = 64 / sizeof(T);
    return times(count / line + (count % line != 0), line);
}

// A state of a layer: [B, count], in two places by turns, or twice in the same.
template <class T>
struct State {
    Rows<T> places[2];
    Index count;
};

// An input that is the same at every step of a row: [B, count].
template <class T>
struct Constant {
    Rows<T> place;
    Index count;
};

template <class T>
class Layer {
   public:
    explicit Layer(Index outputs) : outputs(outputs) {}
    virtual ~Layer() = default;
    // Rows first ... last - 1 of a step. States are read from place 1 - now and written to `now`.
    virtual Rows<const T> run(Rows<const T> in, int now, Index first, Index last) = 0;
    virtual std::vector<State<T>> states() const { return {}; }
    // What is the same at every step of a row.
    virtual std::vector<Constant<T>> constants() const { return {}; }
    const Index outputs;
};

template <class T>
class RecurrentLayer final : public Layer<T> {
   public:
    RecurrentLayer(const StepTable<T>& table, const Shape& shape, const Weights<const T>& weights,
                   Index batch)
        : Layer<T>(shape.state()), step_(table.step), packed_(table.packed_size(shape)),
          unit_row_(row_of<T>(table.units(shape))),
          state_row_(shape.projection ? row_of<T>(shape.projection) : unit_row_),
          cell_(kind_of(shape.cell).has_cell ? times(batch, unit_row_) : 0),
          raw_(shape.projection ? times(batch, unit_row_) : 0),
          copies_(times(batch, table.copied(shape))),
          layer_{shape,      packed_.get(), nullptr, 0,         nullptr,      nullptr,
                 state_row_, cell_.get(),   nullptr, unit_row_, copies_.get()} {
        table.pack(shape, weights, packed_.get());
        for (Buffer<T>& place : hidden_) place = Buffer<T>(times(batch, state_row_));
    }

    Rows<const T> run(Rows<const T> in, int now, Index first, Index last) override {
        layer_.input = in.data;
        layer_.input_row = in.row;
        layer_.hidden_before = hidden_[1 - now].get();
        layer_.hidden = hidden_[now].get();
        layer_.raw = raw_.get() ? raw_.get() : layer_.hidden;
        step_(layer_, first, last);
        return {layer_.hidden, state_row_};
    }

    std::vector<State<T>> states() const override {
        std::vector<State<T>> all = {
            {{{hidden_[0].get(), state_row_}, {hidden_[1].get(), state_row_}}, this->outputs}};
        const Rows<T> cell = {cell_.get(), unit_row_};
        if (cell.data) all.push_back({{cell, cell}, layer_.shape.hidden});
        return all;
    }

   private:
    void (*step_)(const LayerStep<T>&, Index, Index);
    Buffer<T> packed_;
    Index unit_row_, state_row_;
    Buffer<T> hidden_[2], cell_, raw_;
    Buffer<std::uint8_t> copies_;
    LayerStep<T> layer_;
};

// A cell that is given as a program. The first state has two places by turns, since every unit may
// read all of it; the program writes the others in place.
template <class T>
class ProgramLayer final : public Layer<T> {
   public:
    // `weights` are the program's; of its constants the last ones are `resting`, each one number
    // for all rows and units.
    ProgramLayer(const StepTable<T>& table, std::unique_ptr<const LinkedProgram> linked,
                 const std::vector<const T*>& weights, const std::vector<double>& resting,
                 Index batch)
        : Layer<T>(linked->program().states.data[0]), linked_(std::move(linked)),
          step_(table.program_step), memory_(table.program_size(linked_->program(), batch)) {
        const Program& p = linked_->program();
        for (int i = 0; i < p.states.count; ++i) states_.push_back(rows(p.states.data[i], batch));
        other_output_ = rows(this->outputs, batch);
        given_ = p.constants.count - static_cast<int>(resting.size());
        for (int i = 0; i < p.constants.count; ++i) {
            const T value = i < given_ ? T(0) : T(resting[static_cast<std::size_t>(i - given_)]);
            constants_.push_back(rows(p.constants.data[i], batch));
            std::fill_n(constants_.back().get(), constants_.back().count(), value);
        }
        const auto states = places(states_, p.states), constants = places(constants_, p.constants);
        table.program_start(p, weights.data(), {states.data(), constants.data(), batch},
                            memory_.get());
    }

    Rows<const T> run(Rows<const T> in, int now, Index first, Index last) override {
        const Rows<T> before = output(1 - now), after = output(now);
        step_(memory_.get(), {in, {before.data, before.row}, after}, first, last);
        return {after.data, after.row};
    }

    std::vector<State<T>> states() const override {
        std::vector<State<T>> all = {{{output(0), output(1)}, this->outputs}};
        const List<Index>& units = linked_->program().states;
        for (int i = 1; i < units.count; ++i) {
            const Rows<T> place = {states_[static_cast<std::size_t>(i)].get(),
                                   row_of<T>(units.data[i])};
            all.push_back({{place, place}, units.data[i]});
        }
        return all;
    }

    std::vector<Constant<T>> constants() const override {
        std::vector<Constant<T>> all;
        const List<Index>& units = linked_->program().constants;
        for (int i = 0; i < given_; ++i)
            all.push_back(
                {{constants_[static_cast<std::size_t>(i)].get(), row_of<T>(units.data[i])},
                 units.data[i]});
        return all;
    }

   private:
    static Buffer<T> rows(Index units, Index batch) {
        return Buffer<T>(times(batch, row_of<T>(units)));
    }
    static std::vector<Rows<T>> places(const std::vector<Buffer<T>>& buffers,
                                       const List<Index>& units) {
        std::vector<Rows<T>> all;
        for (std::size_t i = 0; i < buffers.size(); ++i)
            all.push_back({buffers[i].get(), row_of<T>(units.data[i])});
        return all;
    }
    Rows<T> output(int place) const {
        return {place ? other_output_.get() : states_[0].get(), row_of<T>(this->outputs)};
    }

    std::unique_ptr<const LinkedProgram> linked_;
    void (*step_)(void*, const ProgramStep<T>&, Index, Index);
    Buffer<char> memory_;
    std::vector<Buffer<T>> states_, constants_;
    Buffer<T> other_output_;  // of the first state
    int given_ = 0;           // so many constants are the cell's
};

template <class T>
class LinearLayer final : public Layer<T> {
   public:
    LinearLayer(const StepTable<T>& table, const T* weight, const T* bias, Index inputs,
                Index outputs, Index batch)
        : Layer<T>(outputs), run_(table.linear), packed_(table.linear_size(inputs, outputs)),
          bias_(outputs), output_(times(batch, row_of<T>(outputs))),
          linear_{inputs,  outputs, packed_.get(), bias_.get(),
                  nullptr, 0,       output_.get(), row_of<T>(outputs)} {
        table.pack_linear(weight, inputs, outputs, packed_.get());
        if (bias) std::copy(bias, bias + outputs, bias_.get());
    }

    Rows<const T> run(Rows<const T> in, int, Index first, Index last) override {
        linear_.input = in.data;
        linear_.input_row = in.row;
        run_(linear_, first, last);
        return {linear_.output, linear_.output_row};
    }

   private:
    void (*run_)(const LinearStep<T>&, Index, Index);
    Buffer<T> packed_, bias_, output_;
    LinearStep<T> linear_;
};

// Each row less its mean, by its standard deviation (N in the denominator), as torch's.
template <class T>
class LayerNormLayer final : public Layer<T> {
   public:
    LayerNormLayer(const T* weight, const T* bias, Index size, double epsilon, Index batch)
        : Layer<T>(size), epsilon_(epsilon), weight_(size), bias_(size),
          output_(times(batch, row_of<T>(size))) {
        for (Index i = 0; i < size; ++i) {
            weight_.get()[i] = weight ? weight[i] : T(1);
            bias_.get()[i] = bias ? bias[i] : T(0);
        }
    }

    Rows<const T> run(Rows<const T> in, int, Index first, Index last) override {
        const Index size = this->outputs;
        const Rows<T> out = {output_.get(), row_of<T>(size)};
        for (Index b = first; b < last; ++b) {
            const T* x = in.at(b);
            double sum = 0, squares = 0;
            for (Index i = 0; i < size; ++i) sum += x[i];
            const double mean = sum / size;
            for (Index i = 0; i < size; ++i) squares += (x[i] - mean) * (x[i] - mean);
            const double scale = 1 / std::sqrt(squares / size + epsilon_);
            for (Index i = 0; i < size; ++i)
                out.at(b)[i] = T((x[i] - mean) * scale) * weight_.get()[i] + bias_.get()[i];
        }
        return {out.data, out.row};
    }

   private:
    double epsilon_;
    Buffer<T> weight_, bias_, output_;
};

// The activations between layers. Those of the cells come from the instruction set's build.
enum class Activation { tanh, sigmoid, relu, leaky_relu, elu, silu, softplus, gelu, gelu_tanh };

template <class T>
class ActivationLayer final : public Layer<T> {
   public:
    ActivationLayer(const StepTable<T>& table, Activation kind, double parameter, Index size,
                    Index batch)
        : Layer<T>(size), table_(table), kind_(kind), parameter_(T(parameter)),
          output_(times(batch, row_of<T>(size))) {}

    Rows<const T> run(Rows<const T> in, int, Index first, Index last) override {
        const Index row = row_of<T>(this->outputs);
        for (Index b = first; b < last; ++b) apply(in.at(b), output_.get() + b * row, row);
        return {output_.get(), row};
    }

   private:
    // Over whole vectors: what stands past the real numbers comes to something, and nobody reads
    // it.
    void apply(const T* x, T* y, Index row) const {
        if (kind_ == Activation::tanh) return table_.tanh(x, y, row);
        if (kind_ == Activation::sigmoid) return table_.sigmoid(x, y, row);
        for (Index i = 0; i < this->outputs; ++i) y[i] = of(x[i]);
    }

    T of(T x) const {
        const T a = parameter_;
        switch (kind_) {
            case Activation::relu: return x < 0 ? T(0) : x;
            case Activation::leaky_relu: return x > 0 ? x : x * a;
            case Activation::elu: return x > 0 ? x : a * std::expm1(x);
            case Activation::silu: return x / (1 + std::exp(-x));
            case Activation::softplus: return x * a > 20 ? x : std::log1p(std::exp(x * a)) / a;
            case Activation::gelu:
                return x * T(0.5) * (1 + std::erf(x * T(0.70710678118654752440)));
            default:
                return x * T(0.5) *
                       (1 + std::tanh(T(0.79788456080286535588) * (x + T(0.044715) * x * x * x)));
        }
    }

    const StepTable<T>& table_;
    Activation kind_;
    T parameter_;
    Buffer<T> output_;
};

// What a run folder adds around the network: its scalers, and changes in place of values. In
// double, without fused operations, in the order in which NumPy does it: the same bits as
// `predict`.
struct Scaling {
    std::vector<double> input_mean, input_scale;    // [I]
    std::vector<double> output_mean, output_scale;  // [O]
    std::vector<double> limit;  // [I]: the greatest magnitude that a number may enter with
    std::vector<bool> differs;  // [I]: whether the column enters as its change from the row before
    std::vector<Index> base;    // [O]: the column whose value the output is added to, or -1

    bool is_there() const { return !input_mean.empty(); }
    bool has_differences() const {
        return std::find(differs.begin(), differs.end(), true) != differs.end();
    }
};

}  // namespace unrolled
