// Cuts crops out of a frame, resamples and pads them, and writes the network's input planes.
//
// The same result as refdet_core.imaging.extract and to_blob, which call OpenCV: its linear
// interpolation in fixed point with 11 bits, its averaging over areas. Plain C apart from CUDA's
// own words, so that the tests can also compile and run it on a CPU.

// One row of the table of crops; what the host computes once need not be computed for every pixel.
struct Crop {
    int source_x, source_y, source_width, source_height;  // the visible part, in the frame
    int left, top, width, height;                         // where it comes to lie in the tile
    int area;                                             // 1: average over areas, 0: linear
    int border_blue, border_green, border_red;            // what fills the rest of the tile
};

struct Colour {
    float blue, green, red;
};

// The source pixels under one output pixel along one axis, interpolating linearly.
struct Pair {
    int first, second, first_weight, second_weight;  // weights in 1/2048
};

__device__ static Pair linear_pair(int position, int out_length, int source_length, int clamp)
{
    // (position + 0.5) * source_length / out_length - 0.5, rounded to float as OpenCV has it;
    // whole and fractional part apart, because a GPU's double precision is slow.
    int numerator = (2 * position + 1) * source_length - out_length;
    int denominator = 2 * out_length;
    int whole = numerator >= 0 ? numerator / denominator : -1;
    float centre = (float)whole + (float)(numerator - whole * denominator) / (float)denominator;
    int index = (int)floorf(centre);
    float fraction = centre - (float)index;
    if (clamp && (index < 0 || index >= source_length - 1))
        fraction = 0.0f;
    Pair pair;
    pair.first = index < 0 ? 0 : (index > source_length - 1 ? source_length - 1 : index);
    pair.second = index + 1 > source_length - 1 ? source_length - 1 : index + 1;
    pair.first_weight = (int)rintf((1.0f - fraction) * 2048.0f);
    pair.second_weight = (int)rintf(fraction * 2048.0f);
    return pair;
}

__device__ static float linear_value(int upper_left, int upper_right, int lower_left,
                                     int lower_right, Pair columns, Pair rows)
{
    int upper = upper_left * columns.first_weight + upper_right * columns.second_weight;
    int lower = lower_left * columns.first_weight + lower_right * columns.second_weight;
    return (float)((((rows.first_weight * (upper >> 4)) >> 16) +
                    ((rows.second_weight * (lower >> 4)) >> 16) + 2) >> 2);
}

__device__ static Colour linear(const unsigned char *source, int pitch, Crop crop, int x, int y)
{
    Pair columns = linear_pair(x, crop.width, crop.source_width, 1);
    Pair rows = linear_pair(y, crop.height, crop.source_height, 0);
    const unsigned char *upper = source + (long long)rows.first * pitch;
    const unsigned char *lower = source + (long long)rows.second * pitch;
    int left = 3 * columns.first, right = 3 * columns.second;
    Colour colour;
    colour.blue = linear_value(upper[left], upper[right], lower[left], lower[right],
                               columns, rows);
    colour.green = linear_value(upper[left + 1], upper[right + 1], lower[left + 1],
                                lower[right + 1], columns, rows);
    colour.red = linear_value(upper[left + 2], upper[right + 2], lower[left + 2],
                              lower[right + 2], columns, rows);
    return colour;
}

// The source pixels under one output pixel along one axis, averaging: the first and the last of
// them are covered in part.
struct Span {
    int first, last;
    float first_weight, inner_weight, last_weight;
};

__device__ static Span area_span(int position, int out_length, int source_length)
{
    int begin = position * source_length, end = begin + source_length;  // in 1/out_length
    Span span;
    span.first = begin / out_length;
    span.last = (end - 1) / out_length;
    span.inner_weight = (float)out_length / (float)source_length;
    span.first_weight = (float)((span.first + 1) * out_length - begin) / (float)source_length;
    span.last_weight = (float)(end - span.last * out_length) / (float)source_length;
    return span;
}

__device__ static float area_weight(Span span, int index)
{
    return index == span.first ? span.first_weight
                               : (index == span.last ? span.last_weight : span.inner_weight);
}

__device__ static Colour area(const unsigned char *source, int pitch, Crop crop, int x, int y)
{
    Span columns = area_span(x, crop.width, crop.source_width);
    Span rows = area_span(y, crop.height, crop.source_height);
    Colour sum = {0.0f, 0.0f, 0.0f};
    for (int row = rows.first; row <= rows.last; ++row) {
        const unsigned char *pixel =
            source + (long long)row * pitch + 3 * columns.first;
        Colour line = {0.0f, 0.0f, 0.0f};
        for (int column = columns.first; column <= columns.last; ++column, pixel += 3) {
            float weight = area_weight(columns, column);
            line.blue += weight * (float)pixel[0];
            line.green += weight * (float)pixel[1];
            line.red += weight * (float)pixel[2];
        }
        float weight = area_weight(rows, row);
        sum.blue += weight * line.blue;
        sum.green += weight * line.green;
        sum.red += weight * line.red;
    }
    // OpenCV rounds halves up where four pixels become one, else to even.
    if (crop.source_width == 2 * crop.width && crop.source_height == 2 * crop.height) {
        sum.blue = floorf(sum.blue + 0.5f);
        sum.green = floorf(sum.green + 0.5f);
        sum.red = floorf(sum.red + 0.5f);
    } else {
        sum.blue = rintf(sum.blue);
        sum.green = rintf(sum.green);
        sum.red = rintf(sum.red);
    }
    return sum;
}

// frame: rows of `pitch` bytes, BGR. crops: one for each tile, blockIdx.z. planes: (tiles, 3,
// out_height, out_width) RGB 0-255. One thread makes one pixel of one tile.
extern "C" __global__ void crop_tiles(const unsigned char *frame, int pitch, const Crop *crops,
                                      float *planes, int out_width, int out_height)
{
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= out_width || y >= out_height)
        return;
    Crop crop = crops[blockIdx.z];
    Colour colour = {(float)crop.border_blue, (float)crop.border_green, (float)crop.border_red};
    int inner_x = x - crop.left, inner_y = y - crop.top;
    if (inner_x >= 0 && inner_y >= 0 && inner_x < crop.width && inner_y < crop.height) {
        const unsigned char *source =
            frame + (long long)crop.source_y * pitch + 3 * crop.source_x;
        colour = crop.area ? area(source, pitch, crop, inner_x, inner_y)
                           : linear(source, pitch, crop, inner_x, inner_y);
    }
    long long plane = (long long)out_width * out_height;
    float *pixel = planes + (3 * (long long)blockIdx.z) * plane + (long long)y * out_width + x;
    pixel[0] = colour.red;
    pixel[plane] = colour.green;
    pixel[2 * plane] = colour.blue;
}
