// Random bits: Philox 4x64-10 (Salmon, Moraes, Dror and Shaw, SC 2011) as numpy.random.Philox has it.
//
// The test compiles this file as plain C too: keep to what C and CUDA share, and to __umul64hi.

#ifdef __cplusplus
extern "C"
#endif
// Each thread draws one block of four 64-bit words, and writes it as eight of 32 bits, low half first.
// The counter is read here, on the device, so that a captured launch draws anew each time it is replayed.
__global__ void layerkit_philox(unsigned long long key_0, unsigned long long key_1, const unsigned long long *counter,
                                unsigned int *bits, unsigned long long size)
{
    const unsigned long long block = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (8 * block >= size)
        return;

    // NumPy adds 1 before it draws a block.
    unsigned long long c0 = *counter + 1 + block;
    unsigned long long c1 = c0 < *counter;  // what the first of the counter's four words carries to the second
    unsigned long long c2 = 0;
    unsigned long long c3 = 0;
    for (int round = 0; round < 10; ++round) {
        const unsigned long long high_0 = __umul64hi(0xD2E7470EE14C6C93ull, c0);
        const unsigned long long low_0 = 0xD2E7470EE14C6C93ull * c0;
        const unsigned long long high_1 = __umul64hi(0xCA5A826395121157ull, c2);
        const unsigned long long low_1 = 0xCA5A826395121157ull * c2;
        c0 = high_1 ^ c1 ^ key_0;
        c1 = low_1;
        c2 = high_0 ^ c3 ^ key_1;
        c3 = low_0;
        key_0 += 0x9E3779B97F4A7C15ull;
        key_1 += 0xBB67AE8584CAA73Bull;
    }

    const unsigned long long words[4] = {c0, c1, c2, c3};
    for (int i = 0; i < 8 && 8 * block + i < size; ++i)
        bits[8 * block + i] = (unsigned int)(words[i / 2] >> 32 * (i % 2));
}
