// What the expressions of expressions.py call, beyond CUDA's own functions. A test compiles it as C++ too, for the host.

typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned int uint32;
typedef unsigned long long uint64;
typedef signed char int8;
typedef short int16;
typedef int int32;
typedef long long int64;

// Numbers of 16 bits are kept in memory alone: what is computed with them is computed in float, and rounded.
#ifdef __CUDACC__
__device__ uint16 bits_of_float16(float x)
{
    uint16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
__device__ uint16 bits_of_float16(double x)
{
    uint16 bits;
    asm("cvt.rn.f16.f64 %0, %1;" : "=h"(bits) : "d"(x));
    return bits;
}
__device__ float value_of_float16(uint16 bits)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
#endif
struct float16 {
    uint16 bits;
    float16() = default;
    __device__ float16(float x) : bits(bits_of_float16(x)) {}
    __device__ float16(double x) : bits(bits_of_float16(x)) {}
    template <class T> __device__ float16(T x) : bits(bits_of_float16((float)x)) {}
    __device__ operator float() const { return value_of_float16(bits); }
};

// The upper half of a float, rounded to even; GPUs before compute capability 8.0 have no instruction for it.
__device__ uint16 bits_of_bfloat16(float x)
{
    const uint32 bits = __float_as_uint(x);
    return x != x ? (bits >> 16) | 0x40 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
struct bfloat16 {
    uint16 bits;
    bfloat16() = default;
    __device__ bfloat16(float x) : bits(bits_of_bfloat16(x)) {}
    template <class T> __device__ bfloat16(T x) : bits(bits_of_bfloat16((float)x)) {}
    __device__ operator float() const { return __uint_as_float((uint32)bits << 16); }
};

// Neighbouring elements that are read and written together: up to 128 bits, the widest access of a thread.
template <class T, int N> struct alignas(sizeof(T) * N) Pack { T at[N]; };

// As NumPy has them, NaN where either operand is.
template <class T> __device__ T larger(T a, T b) { return a >= b || a != a ? a : b; }
template <class T> __device__ T smaller(T a, T b) { return a <= b || a != a ? a : b; }

// As Python has them: the remainder has the sign of the divisor. Integers give 0 where the divisor is 0.
template <class T> __device__ T whole_remainder(T a, T b)
{
    if (b == 0 || b == (T)-1)
        return 0;
    const T rest = a % b;
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
template <class T> __device__ T whole_quotient(T a, T b)
{
    if (b == 0)
        return 0;
    if (b == (T)-1 && (T)-1 < (T)1)
        return -a;
    const T quotient = a / b;
    return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}
template <class T> __device__ T real_remainder(T a, T b)
{
    const T rest = fmod(a, b);
    if (rest == 0)
        return copysign((T)0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}
template <class T> __device__ T real_quotient(T a, T b)
{
    if (b == 0)
        return a / b;
    const T rest = fmod(a, b);
    T quotient = (a - rest) / b;
    if (rest != 0 && (rest < 0) != (b < 0))
        quotient -= 1;
    if (quotient == 0)
        return copysign((T)0, a / b);
    const T whole = floor(quotient);
    return quotient - whole > (T)0.5 ? whole + 1 : whole;
}

// A shift by as many bits as there are, or more, shifts out all of them.
template <class T> __device__ T shifted_left(T a, T b) { return b >= 0 && b < (T)(8 * sizeof(T)) ? (T)(a << b) : (T)0; }
template <class T> __device__ T shifted_right(T a, T b)
{
    return b >= 0 && b < (T)(8 * sizeof(T)) ? (T)(a >> b) : (T)(a < 0 ? -1 : 0);
}

// log(exp(a) + exp(b)).
template <class T> __device__ T log_of_sum(T a, T b)
{
    if (a == b)
        return a + (T)0.693147180559945309417232121458176568;  // and for infinities of one sign
    return a != a || b != b ? a + b : larger(a, b) + log1p(exp(-fabs(a - b)));
}
