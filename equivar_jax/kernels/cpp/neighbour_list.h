// All pairs of atoms within a cutoff, periodic images included.

#ifndef EQUIVAR_NEIGHBOUR_LIST_H_
#define EQUIVAR_NEIGHBOUR_LIST_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace equivar {

// Atoms are sorted into bins as wide as the cutoff, or half of it if they are dense, and the bins around that of an
// atom are searched. Along a periodic direction the bins repeat: bin b of image s is number b + s n.
class NeighbourSearch {
 public:
  // `cell` has the cell vectors as rows; along directions that are not periodic it must contain all atoms.
  NeighbourSearch(const double* positions, int64_t atoms, const double* cell, const int32_t* periodic, double cutoff)
      : atoms_(atoms), cutoff_(cutoff), cell_(cell), periodic_(periodic), places_(positions, positions + 3 * atoms) {
    double reciprocal[3][3];  // rows: reciprocal vectors b_k with a_j . b_k = delta_jk
    const double volume = std::abs(Invert(reciprocal));
    const double in_half_bin = atoms / volume * cutoff * cutoff * cutoff / 8;
    const double fineness = in_half_bin < 1 ? 1 : 2;
    double heights[3];
    for (int k = 0; k < 3; ++k) {
      const double* b = reciprocal[k];
      heights[k] = 1 / std::sqrt(b[0] * b[0] + b[1] * b[1] + b[2] * b[2]);
      bins_[k] = std::max<int64_t>(1, int64_t(std::min(1e6, fineness * heights[k] / cutoff)));
    }
    while (bins_[0] * bins_[1] * bins_[2] > 8 * atoms + 27) {
      int64_t& most = *std::max_element(bins_, bins_ + 3);
      most = (most + 1) / 2;
    }
    for (int k = 0; k < 3; ++k) range_[k] = int64_t(std::ceil(cutoff * bins_[k] / heights[k]));
    SortIntoBins(reciprocal);
  }

  // Writes the neighbours of every atom as long as they fit, and returns the number of all pairs.
  int64_t Find(int64_t capacity, int32_t* senders, int32_t* counts, double* vectors) const {
    int64_t found = 0;
    for (int64_t i = 0; i < atoms_; ++i) {
      const int64_t before = found;
      const double* x = &places_[3 * i];
      int64_t at[3] = {bin_[i] / (bins_[1] * bins_[2]), bin_[i] / bins_[2] % bins_[1], bin_[i] % bins_[2]};
      for (int64_t a = at[0] - range_[0]; a <= at[0] + range_[0]; ++a)
        for (int64_t b = at[1] - range_[1]; b <= at[1] + range_[1]; ++b)
          for (int64_t c = at[2] - range_[2]; c <= at[2] + range_[2]; ++c) {
            double origin[3] = {-x[0], -x[1], -x[2]};
            int64_t index = 0;
            bool home = true;
            if (!Enter(0, a, index, home, origin) || !Enter(1, b, index, home, origin) ||
                !Enter(2, c, index, home, origin))
              continue;
            for (int64_t place = start_[index]; place < start_[index + 1]; ++place) {
              const int32_t j = order_[place];
              double r[3];
              for (int d = 0; d < 3; ++d) r[d] = places_[3 * j + d] + origin[d];
              if (r[0] * r[0] + r[1] * r[1] + r[2] * r[2] >= cutoff_ * cutoff_ || (home && j == i)) continue;
              if (found < capacity) {
                senders[found] = j;
                std::copy(r, r + 3, vectors + 3 * found);
              }
              ++found;
            }
          }
      counts[i] = int32_t(found - before);
    }
    return found;
  }

 private:
  double Invert(double reciprocal[3][3]) const {
    const double* m = cell_;
    double volume = 0;
    for (int k = 0; k < 3; ++k) {
      const double *p = m + 3 * ((k + 1) % 3), *q = m + 3 * ((k + 2) % 3);
      for (int d = 0; d < 3; ++d)
        reciprocal[k][d] = p[(d + 1) % 3] * q[(d + 2) % 3] - p[(d + 2) % 3] * q[(d + 1) % 3];
      if (k == 0) volume = m[0] * reciprocal[0][0] + m[1] * reciprocal[0][1] + m[2] * reciprocal[0][2];
      for (int d = 0; d < 3; ++d) reciprocal[k][d] /= volume;
    }
    return volume;
  }

  void SortIntoBins(const double reciprocal[3][3]) {
    bin_.resize(atoms_);
    start_.assign(bins_[0] * bins_[1] * bins_[2] + 1, 0);
    for (int64_t i = 0; i < atoms_; ++i) {
      double* x = &places_[3 * i];
      int64_t index = 0;
      for (int k = 0; k < 3; ++k) {
        const double* b = reciprocal[k];
        double share = x[0] * b[0] + x[1] * b[1] + x[2] * b[2];
        if (periodic_[k]) {
          const double image = std::floor(share);
          share -= image;
          // This changes no other share, as a_j . b_k = 0.
          for (int d = 0; d < 3; ++d) x[d] -= image * cell_[3 * k + d];
        }
        const int64_t along = std::clamp<int64_t>(int64_t(std::floor(share * bins_[k])), 0, bins_[k] - 1);
        index = index * bins_[k] + along;
      }
      bin_[i] = index;
      ++start_[index + 1];
    }
    for (size_t b = 1; b < start_.size(); ++b) start_[b] += start_[b - 1];
    std::vector<int64_t> next(start_.begin(), start_.end() - 1);
    order_.resize(atoms_);
    for (int64_t i = 0; i < atoms_; ++i) order_[next[bin_[i]]++] = int32_t(i);
  }

  // Goes to bin number `b` along direction k: extends `index`, shifts `origin` by the image, and clears `home` if it
  // is not the cell itself. Returns false if there is no such bin.
  bool Enter(int k, int64_t b, int64_t& index, bool& home, double origin[3]) const {
    int64_t image = 0;
    if (b < 0 || b >= bins_[k]) {
      if (!periodic_[k]) return false;
      image = b >= 0 ? b / bins_[k] : -((bins_[k] - 1 - b) / bins_[k]);
      b -= image * bins_[k];
      home = false;
      for (int d = 0; d < 3; ++d) origin[d] += double(image) * cell_[3 * k + d];
    }
    index = index * bins_[k] + b;
    return true;
  }

  int64_t atoms_;
  double cutoff_;
  const double* cell_;
  const int32_t* periodic_;
  std::vector<double> places_;  // positions, moved into the cell along periodic directions
  int64_t bins_[3], range_[3];
  std::vector<int64_t> bin_, start_;
  std::vector<int32_t> order_;
};

}  // namespace equivar

#endif  // EQUIVAR_NEIGHBOUR_LIST_H_
