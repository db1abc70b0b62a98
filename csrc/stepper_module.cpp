// unrolled._stepper: a stream's layers for Python. It needs neither OpenMP nor torch, so that a
// stream runs where there is no torch. deploy/stepping.py is the caller.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "arrays.h"
#include "chain.h"
#include "instruction_sets.h"

namespace nb = nanobind;

namespace unrolled {

UNROLLED_DECLARE(StepCore, step_core_)

namespace {

using arrays::Any, arrays::Array, arrays::Matrix, arrays::Vector, arrays::View;
using arrays::are_apart, arrays::are_finite, arrays::insist, arrays::is_aligned, arrays::letter;

const Builds<StepCore>& builds() {
    static const Builds<StepCore> all(UNROLLED_BUILDS(step_core_));
    return all;
}

template <class T>
const StepTable<T>& table(int isa) {
    if constexpr (sizeof(T) == 4) return builds().at(isa).f32;
    else return builds().at(isa).f64;
}

// The kernels for a layer: a few units are stepped faster in vectors of half the size, in which
// every number is the same fused sum.
template <class T>
const StepTable<T>& layer_table(int isa, Index hidden) {
    const bool are_few = hidden * Index(sizeof(T)) <= 32;
    return table<T>(are_few && isa == place_of_avx512 ? place_of_avx2 : isa);
}

// The same with products in 8 bits.
inline const StepTable<float>& bytes_table(int isa) {
    const StepCore& here = builds().at(isa);
    return isa == place_of_avx512 && has_vnni() ? here.vnni : here.bytes;
}

// Of these many steps a stream counts its rows; so many are never taken.
constexpr std::int64_t most_steps = std::int64_t(1) << 62;

template <class T, class Y>
class Stepper {
   public:
    Stepper(int isa, Index batch, Index inputs)
        : isa_(isa), table_(table<T>(isa)),
          chain_(checked(batch, "a batch"), checked(inputs, "an input")) {}

    void add_recurrent(const std::string& name, Matrix<T> ih, Matrix<T> hh,
                       std::optional<Vector<T>> bias_ih, std::optional<Vector<T>> bias_hh,
                       std::optional<Matrix<T>> hr, bool int8) {
        check_open();
        check_aligned(ih, hh, bias_ih, bias_hh, hr);
        const Cell cell = cell_named(name);
        const Index gates = kind_of(cell).gates, rows = ih.shape(0);
        const Index hidden = rows / gates, state = hh.shape(1);
        insist(hidden > 0 && state > 0 && rows == hidden * gates && Index(hh.shape(0)) == rows &&
                   Index(ih.shape(1)) == chain_.outputs(),
               "W_ih [G*H, I] and W_hh [G*H, P] were expected, I being what comes before");
        insist(bias_ih.has_value() == bias_hh.has_value() &&
                   (!bias_ih ||
                    (Index(bias_ih->shape(0)) == rows && Index(bias_hh->shape(0)) == rows)),
               "two biases [G*H] or none were expected");
        insist(hr ? kind_of(cell).may_be_projected && Index(hr->shape(0)) == state &&
                        Index(hr->shape(1)) == hidden
                  : state == hidden,
               "W_hh [G*H, H] was expected, or an LSTM's W_hh [G*H, P] and W_hr [P, H]");
        const Shape shape = {cell, chain_.outputs(), hidden, hr ? state : 0, bias_ih.has_value()};
        const Weights<const T> weights = {ih.data(), hh.data(), bias_ih ? bias_ih->data() : nullptr,
                                          bias_hh ? bias_hh->data() : nullptr,
                                          hr ? hr->data() : nullptr};
        const auto add = [&](const StepTable<T>& table) {
            chain_.add(std::make_unique<RecurrentLayer<T>>(table, shape, weights, chain_.batch));
        };
        if (!int8) return add(layer_table<T>(isa_, hidden));
        constexpr Index most = Index(1) << 16;
        insist(shape.inputs <= most && hidden <= most,
               "at most 65536 numbers in 8 bits were expected");
        if constexpr (sizeof(T) == 4) add(bytes_table(isa_));
        else insist(false, "float32 was expected for products in 8 bits");
    }

    // A cell that is given as a program: LinkedProgram's arguments, the weights that it multiplies
    // by, and the numbers that stand for its last constants.
    void add_program(HandedProgram handed, const std::vector<Any<T>>& weights,
                     const std::vector<double>& resting) {
        check_open();
        auto linked = LinkedProgram::of(std::move(handed));
        const Program& p = linked->program();
        insist(p.inputs.count == 1 && p.inputs.data[0] == chain_.outputs(),
               "one input, of the size of what comes before, was expected");
        insist(resting.size() <= static_cast<std::size_t>(p.constants.count),
               "no more resting values than constants were expected");
        insist(weights.size() == static_cast<std::size_t>(p.weight_rows.count),
               "the program's weights were expected");
        std::vector<const T*> data;
        for (const Any<T>& weight : weights) {
            const auto i = data.size();
            const Index rows = p.weight_rows.data[i], columns = p.weight_columns.data[i];
            check_aligned(weight);
            insist(weight.ndim() == (columns ? 2 : 1) && Index(weight.shape(0)) == rows &&
                       (!columns || Index(weight.shape(1)) == columns),
                   "a weight of the program's size was expected");
            data.push_back(weight.data());
        }
        for (int i = 0; i < p.infer.buffers.count; ++i)
            times(chain_.batch, p.infer.buffers.data[i]);
        chain_.add(std::make_unique<ProgramLayer<T>>(table_, std::move(linked), data, resting,
                                                     chain_.batch));
    }

    void add_linear(Matrix<T> weight, std::optional<Vector<T>> bias) {
        check_open();
        check_aligned(weight, bias);
        const Index outputs = weight.shape(0), inputs = weight.shape(1);
        insist(outputs > 0 && inputs == chain_.outputs() &&
                   (!bias || Index(bias->shape(0)) == outputs),
               "a weight [O, I] and a bias [O] or none were expected, I being what comes before");
        chain_.add(std::make_unique<LinearLayer<T>>(
            table_, weight.data(), bias ? bias->data() : nullptr, inputs, outputs, chain_.batch));
    }

    void add_layer_norm(std::optional<Vector<T>> weight, std::optional<Vector<T>> bias,
                        double epsilon) {
        check_open();
        check_aligned(weight, bias);
        const Index size = chain_.outputs();
        insist((!weight || Index(weight->shape(0)) == size) &&
                   (!bias || Index(bias->shape(0)) == size),
               "a weight and a bias of the size of what comes before were expected");
        chain_.add(std::make_unique<LayerNormLayer<T>>(weight ? weight->data() : nullptr,
                                                       bias ? bias->data() : nullptr, size, epsilon,
                                                       chain_.batch));
    }

    void add_activation(int kind, double parameter) {
        check_open();
        insist(kind >= 0 && kind <= static_cast<int>(Activation::gelu_tanh), "no such activation");
        chain_.add(std::make_unique<ActivationLayer<T>>(table_, static_cast<Activation>(kind),
                                                        parameter, chain_.outputs(), chain_.batch));
    }

    void scale(std::vector<double> input_mean, std::vector<double> input_scale,
               std::vector<double> output_mean, std::vector<double> output_scale,
               std::vector<double> limit, std::vector<bool> differs, std::vector<Index> base) {
        check_open();
        const std::size_t in = chain_.inputs, out = chain_.outputs();
        insist(input_mean.size() == in && input_scale.size() == in && limit.size() == in &&
                   differs.size() == in && output_mean.size() == out &&
                   output_scale.size() == out && base.size() == out,
               "one number for each input and one for each output were expected");
        for (Index column : base) insist(column >= -1 && column < chain_.inputs, "no such column");
        insist(are_finite(input_mean) && are_finite(input_scale) && are_finite(output_mean) &&
                   are_finite(output_scale) && are_finite(limit) &&
                   std::find(input_scale.begin(), input_scale.end(), 0.0) == input_scale.end(),
               "finite scalers with scales other than 0 were expected");
        chain_.scale({std::move(input_mean), std::move(input_scale), std::move(output_mean),
                      std::move(output_scale), std::move(limit), std::move(differs),
                      std::move(base)});
    }

    // The array [B, O] that a step fills where it is given none, to be copied as it is and, for one
    // row, without its first axis.
    void finish(Array<Y, -1, -1> y, nb::object copy, nb::object copy_of_row) {
        insist(!is_finished_, "this stepper is finished already");
        check_aligned(y);
        insist(PyCallable_Check(copy.ptr()) && PyCallable_Check(copy_of_row.ptr()),
               "two functions that copy y were expected");
        insist(Index(y.shape(0)) == chain_.batch && Index(y.shape(1)) == chain_.outputs(),
               "an array [B, O] was expected");
        y_ = y;
        copy_ = std::move(copy);
        copy_of_row_ = std::move(copy_of_row);
        is_finished_ = true;
    }

    // y of x, a float or an array [I] of a stream of one row, or [B, I]: a new array, or `out`,
    // filled. None where x or `out` is anything else, or has a mask: the caller makes it one of
    // these or says what is wrong.
    nb::object step(nb::handle x, nb::handle out) {
        check_free();
        if (PyFloat_Check(x.ptr())) {
            const double value = PyFloat_AS_DOUBLE(x.ptr());
            return chain_.batch * chain_.inputs == 1 ? step_on(&value, out, true) : nb::none();
        }
        if (is_masked(x)) return nb::none();
        const View view(x, 0);
        const char type = view.type();
        if (!type) return nb::none();
        const bool is_row = chain_.batch == 1 && view.is_vector(chain_.inputs);
        if (!is_row && !view.is_matrix(chain_.batch, chain_.inputs)) return nb::none();
        return type == 'f' ? step_on(static_cast<const float*>(view.data()), out, is_row)
                           : step_on(static_cast<const double*>(view.data()), out, is_row);
    }

    void step_many(Array<const Y, -1, -1, -1> x, Array<Y, -1, -1, -1> y) {
        run_many(x, y, [&](Index t) { step_at(x, y, t); });
    }

    // The same, and how long each step took, in nanoseconds of the machine's clock.
    void step_timed(Array<const Y, -1, -1, -1> x, Array<Y, -1, -1, -1> y,
                    Array<std::int64_t, -1> nanoseconds) {
        using Clock = std::chrono::steady_clock;
        check_aligned(nanoseconds);
        insist(nanoseconds.shape(0) == x.shape(0), "a time for each step was expected");
        insist(are_apart(nanoseconds, x) && are_apart(nanoseconds, y),
               "times apart from x and y were expected");
        run_many(x, y, [&](Index t) {
            const auto start = Clock::now();
            step_at(x, y, t);
            const auto took = Clock::now() - start;
            nanoseconds.data()[t] =
                std::chrono::duration_cast<std::chrono::nanoseconds>(took).count();
        });
    }

    std::vector<Index> widths() const {
        std::vector<Index> all;
        for (const auto& state : chain_.states()) all.push_back(state.count);
        return all;
    }
    void read(std::size_t state, Array<T, -1, -1> to) {
        check_free();
        check_aligned(to);
        chain_.read(checked(state, to.shape(0), to.shape(1)), to.data());
    }
    void write(std::size_t state, Matrix<T> from) {
        check_free();
        check_aligned(from);
        chain_.write(checked(state, from.shape(0), from.shape(1)), from.data());
    }
    // A number that is the same at every step, of all rows: they are numbered through all layers.
    void write_constant(std::size_t constant, Matrix<T> from) {
        check_free();
        check_aligned(from);
        insist(constant < chain_.constants().size(), "no such constant");
        const Constant<T>& to = chain_.constants()[constant];
        insist(Index(from.shape(0)) == chain_.batch && Index(from.shape(1)) == to.count,
               "a constant [B, its size] was expected");
        chain_.write(to, from.data());
    }
    void read_rows(Array<double, -1, -1> last, Array<std::int64_t, -1> steps) {
        check_rows(last, steps);
        std::copy_n(chain_.last(), last.size(), last.data());
        std::copy_n(chain_.steps(), steps.size(), steps.data());
    }
    void write_rows(Matrix<double> last, Vector<std::int64_t> steps) {
        check_rows(last, steps);
        insist(std::all_of(steps.data(), steps.data() + steps.size(),
                           [](std::int64_t n) { return n >= 0 && n <= most_steps; }),
               "steps from 0 to 2^62 were expected");
        std::copy_n(last.data(), last.size(), chain_.last());
        std::copy_n(steps.data(), steps.size(), chain_.steps());
    }
    void reset(Index row) {
        check_free();
        if (row < 0 || row >= chain_.batch) throw nb::index_error("no such row");
        chain_.reset(row);
    }

   private:
    static Index checked(Index count, const char* what) {
        if (count < 1)
            throw std::invalid_argument(std::string(what) + " of at least 1 was expected");
        return count;
    }
    const State<T>& checked(std::size_t state, Index rows, Index count) const {
        insist(state < chain_.states().size(), "no such state");
        insist(rows == chain_.batch && count == chain_.states()[state].count,
               "a state [B, its size] was expected");
        return chain_.states()[state];
    }
    template <class Last, class Steps>
    void check_rows(const Last& last, const Steps& steps) const {
        check_free();
        check_aligned(last, steps);
        insist(Index(last.shape(0)) == chain_.batch && Index(last.shape(1)) == chain_.inputs &&
                   Index(steps.shape(0)) == chain_.batch,
               "a last row [B, I] and steps [B] were expected");
    }
    // Layers come first, then the scalers of what they made of it, then finish: the memory of what
    // comes later has the sizes of what came before.
    void check_open() const {
        insist(!is_finished_ && !chain_.is_scaled(),
               "layers before scale and finish were expected");
    }
    template <class A>
    static void check_one(const A& array) {
        insist(is_aligned<typename A::Scalar>(array.data()), "aligned arrays were expected");
    }
    template <class A>
    static void check_one(const std::optional<A>& array) {
        if (array) check_one(*array);
    }
    template <class... Arrays>
    static void check_aligned(const Arrays&... arrays) {
        (check_one(arrays), ...);
    }
    void check_free() const {
        insist(is_finished_, "a finished stepper was expected");
        if (is_busy_)
            throw std::runtime_error(
                "another thread is stepping this stream. Give each thread a stream of its own");
    }

    // Whether it may be one of NumPy's masked arrays, whose memory shows what the mask hides. Told
    // by an attribute of theirs, so that numpy.ma need not be imported.
    bool is_masked(nb::handle object) {
        const nb::handle kind = object.type();
        if (kind.is(plain_)) return false;
        if (nb::hasattr(kind, "mask")) return true;
        plain_ = nb::borrow(kind);
        return false;
    }

    template <class X>
    nb::object step_on(const X* x, nb::handle out, bool is_row) {
        if (!chain_.takes(x)) return nb::none();
        if (out.is_none()) {
            chain_.step(x, y_.data());
            return is_row ? copy_of_row_() : copy_();
        }
        if (is_masked(out)) return nb::none();
        const View view(out, PyBUF_WRITABLE);
        const Index outputs = chain_.outputs();
        if (view.type() != letter<Y> ||
            !(is_row ? view.is_vector(outputs) : view.is_matrix(chain_.batch, outputs)))
            return nb::none();
        chain_.step(x, static_cast<Y*>(view.data()));
        return nb::borrow(out);
    }

    template <class X, class OutArray>
    void step_at(const X& x, const OutArray& y, Index t) {
        chain_.step(x.data() + t * chain_.batch * chain_.inputs,
                    y.data() + t * chain_.batch * chain_.outputs());
    }

    template <class X, class OutArray, class Step>
    void run_many(const X& x, const OutArray& y, Step step) {
        check_free();
        check_aligned(x, y);
        insist(x.shape(0) == y.shape(0) && Index(x.shape(1)) == chain_.batch &&
                   Index(y.shape(1)) == chain_.batch && Index(x.shape(2)) == chain_.inputs &&
                   Index(y.shape(2)) == chain_.outputs(),
               "x [T, B, I] and y [T, B, O] were expected");
        insist(are_apart(x, y), "a y apart from x was expected");
        const Index row = chain_.batch * chain_.inputs;
        for (Index t = 0; t < Index(x.shape(0)); ++t)
            insist(chain_.takes(x.data() + t * row),
                   "finite numbers within the limits were expected");
        is_busy_ = true;
        {
            nb::gil_scoped_release free;
            for (Index t = 0; t < Index(x.shape(0)); ++t) step(t);
        }
        is_busy_ = false;
    }

    int isa_;
    const StepTable<T>& table_;
    Chain<T, Y> chain_;
    Array<Y, -1, -1> y_;
    nb::object copy_, copy_of_row_;
    nb::object plain_;  // a class of arrays without a mask
    bool is_finished_ = false;
    bool is_busy_ = false;  // read and written with the interpreter's lock held
};

template <class T, class Y>
void bind(nb::module_& m, const char* name) {
    using S = Stepper<T, Y>;
    // No array is converted: a result would be written into a copy that nobody sees.
    const auto array = [] { return nb::arg().noconvert(); };
    const auto array_or_none = [] { return nb::arg().noconvert().none(); };
    nb::class_<S>(m, name)
        .def(nb::init<int, Index, Index>())
        .def("add_recurrent", &S::add_recurrent, nb::arg(), array(), array(), array_or_none(),
             array_or_none(), array_or_none(), nb::arg("int8") = false)
        .def("add_program", &S::add_program, nb::arg(), array(), nb::arg())
        .def("add_linear", &S::add_linear, array(), array_or_none())
        .def("add_layer_norm", &S::add_layer_norm, array_or_none(), array_or_none(), nb::arg())
        .def("add_activation", &S::add_activation)
        .def("scale", &S::scale)
        .def("finish", &S::finish, array(), nb::arg(), nb::arg())
        .def("step", &S::step, nb::arg().none(), nb::arg().none())
        .def("step_many", &S::step_many, array(), array())
        .def("step_timed", &S::step_timed, array(), array(), array())
        .def("widths", &S::widths)
        .def("read", &S::read, nb::arg(), array())
        .def("write", &S::write, nb::arg(), array())
        .def("write_constant", &S::write_constant, nb::arg(), array())
        .def("read_rows", &S::read_rows, array(), array())
        .def("write_rows", &S::write_rows, array(), array())
        .def("reset", &S::reset);
}

}  // namespace

NB_MODULE(_stepper, m) {
    nb::set_leak_warnings(false);
    m.def("isas", [] { return builds().names(); });
    bind<float, float>(m, "StepperF32");
    bind<double, double>(m, "StepperF64");
    bind<float, double>(m, "StepperF32InF64");
}

}  // namespace unrolled
