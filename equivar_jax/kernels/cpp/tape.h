// The description of a network: three lists, read from the front in the order in which `network/compiled.py`
// writes them.

#ifndef EQUIVAR_TAPE_H_
#define EQUIVAR_TAPE_H_

#include <cstdint>

namespace equivar {

template <typename T>
class Tape {
 public:
  Tape(const int32_t* integers, const double* numbers, const T* weights)
      : integers_(integers), numbers_(numbers), weights_(weights) {}
  int Integer() { return *integers_++; }
  const int32_t* Integers(int64_t n) { return Advance(integers_, n); }
  double Number() { return *numbers_++; }
  const double* Numbers(int64_t n) { return Advance(numbers_, n); }
  const T* Weights(int64_t n) { return Advance(weights_, n); }

 private:
  template <typename U>
  static const U* Advance(const U*& place, int64_t n) {
    const U* here = place;
    place += n;
    return here;
  }
  const int32_t* integers_;
  const double* numbers_;
  const T* weights_;
};

}  // namespace equivar

#endif  // EQUIVAR_TAPE_H_
