import CKernels

/// y[b][oh][ow][out] = f(b[out] + Σ over (kh, kw, in) of x padded · W[kh][kw][in][out]); f: identity or relu. The kernels
/// know the gradients by x, W and b.
final class Convolution: Operation {
    private let x: Activations
    private let y: Activations
    private let weight: Parameter
    private let bias: Parameter?
    private let activation: deml_activation
    private var shape: deml_conv2d

    init(
        _ x: Activations, _ y: Activations, kernel: Size2D, stride: Size2D, padding: Size2D, weight: Parameter,
        bias: Parameter?, activation: deml_activation
    ) {
        self.x = x
        self.y = y
        self.weight = weight
        self.bias = bias
        self.activation = activation
        shape = deml_conv2d(
            batch: 0, height: x.height, width: x.width, in_channels: x.channels, out_channels: y.channels,
            kernel_height: kernel.height, kernel_width: kernel.width, stride_height: stride.height,
            stride_width: stride.width, padding_height: padding.height, padding_width: padding.width)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_conv2d_forward(pass.pool, &shape, x.values, weight.values, bias?.values, activation, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient else { return }
        shape.batch = pass.batch
        if activation != DEML_IDENTITY {
            deml_activation_backward(pass.pool, activation, 0, pass.batch * y.size, nil, y.values, dy, dy)
        }
        // Before the weights change.
        if let dx = x.gradient {
            deml_conv2d_input_gradient(pass.pool, &shape, dy, weight.values, dx)
        }
        deml_conv2d_weight_gradient(pass.pool, &shape, x.values, dy, weight.sink, bias?.sink)
    }
}
