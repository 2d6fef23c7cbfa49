// The prototype of several template views: the mean of their kernels.

// kernels: (views, size). mean: (size). One thread makes one element.
extern "C" __global__ void mean_views(const float *kernels, float *mean, int views, int size)
{
    int element = blockIdx.x * blockDim.x + threadIdx.x;
    if (element >= size)
        return;
    float sum = 0.0f;
    for (int view = 0; view < views; ++view)
        sum += kernels[(long long)view * size + element];
    mean[element] = sum / (float)views;
}
