// Python's arrays as the stepper takes them: never a copy, and checked before they are read.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "contract.h"

namespace unrolled::arrays {

namespace nb = nanobind;

// A dense array of Python's, of this type and so many dimensions.
template <class T, int... sizes>
using Array = nb::ndarray<T, nb::shape<sizes...>, nb::c_contig, nb::device::cpu>;
template <class T>
using Any = nb::ndarray<const T, nb::c_contig, nb::device::cpu>;  // of however many
template <class T>
using Matrix = Array<const T, -1, -1>;
template <class T>
using Vector = Array<const T, -1>;

inline void insist(bool right, const char* expected) {
    if (!right) throw std::invalid_argument(expected);
}

template <class T>
constexpr char letter = sizeof(T) == 4 ? 'f' : 'd';

template <class T>
bool is_aligned(const void* data) {
    return reinterpret_cast<std::uintptr_t>(data) % alignof(T) == 0;
}

// Whether two arrays share no byte.
template <class A, class B>
bool are_apart(const A& a, const B& b) {
    const auto begin = [](const auto& x) { return reinterpret_cast<std::uintptr_t>(x.data()); };
    return begin(a) + a.nbytes() <= begin(b) || begin(b) + b.nbytes() <= begin(a);
}

inline bool are_finite(const std::vector<double>& values) {
    return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

// The memory of an object for the time of a call, if it is a dense array of float32 or float64.
class View {
   public:
    View(nb::handle object, int more) {
        if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_ND | PyBUF_FORMAT | more)) PyErr_Clear();
        else is_there_ = true;
    }
    View(const View&) = delete;
    ~View() {
        if (is_there_) PyBuffer_Release(&view_);
    }

    char type() const {
        const char* f = is_there_ ? view_.format : nullptr;
        if (!f || (f[0] != 'f' && f[0] != 'd') || f[1] != 0) return 0;
        return f[0] == 'f' ? (is_aligned<float>(view_.buf) ? 'f' : 0)
                           : (is_aligned<double>(view_.buf) ? 'd' : 0);
    }
    bool is_vector(Index n) const { return view_.ndim == 1 && view_.shape[0] == n; }
    bool is_matrix(Index n, Index m) const {
        return view_.ndim == 2 && view_.shape[0] == n && view_.shape[1] == m;
    }
    void* data() const { return view_.buf; }

   private:
    Py_buffer view_;
    bool is_there_ = false;
};

}  // namespace unrolled::arrays
