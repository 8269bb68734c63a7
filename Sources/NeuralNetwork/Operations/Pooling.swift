import CKernels

extension deml_pool2d {
    /// Windows over images [batch][height][width][channels]; the batch is set with each pass.
    fileprivate init(_ x: Activations, _ window: Window2D) {
        self.init(
            batch: 0, height: x.height, width: x.width, channels: x.channels,
            kernel_height: window.kernelSize.height, kernel_width: window.kernelSize.width,
            stride_height: window.stride.height, stride_width: window.stride.width,
            padding_height: window.padding.height, padding_width: window.padding.width)
    }
}

/// y[b][oh][ow][c] = the largest of its window. Backward: the gradient goes to the first of the largest.
final class MaxPool: Operation {
    private let x: Activations
    private let y: Activations
    /// As y: which element of the window was the largest.
    private let position: UnsafeMutablePointer<UInt16>
    private var shape: deml_pool2d

    init(_ x: Activations, _ y: Activations, _ window: Window2D, position: UnsafeMutablePointer<UInt16>) {
        self.x = x
        self.y = y
        self.position = position
        shape = deml_pool2d(x, window)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_max_pool2d_forward(pass.pool, &shape, x.values, y.values, position)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        shape.batch = pass.batch
        deml_max_pool2d_backward(pass.pool, &shape, dy, position, dx)
    }
}

/// y[b][oh][ow][c] = the mean of its window. Backward: the gradient is spread evenly over the window.
final class AveragePool: Operation {
    private let x: Activations
    private let y: Activations
    private var shape: deml_pool2d

    init(_ x: Activations, _ y: Activations, _ window: Window2D) {
        self.x = x
        self.y = y
        shape = deml_pool2d(x, window)
    }

    func forward(_ pass: Pass) {
        shape.batch = pass.batch
        deml_avg_pool2d_forward(pass.pool, &shape, x.values, y.values)
    }

    func backward(_ pass: Pass) {
        guard let dy = y.gradient, let dx = x.gradient else { return }
        shape.batch = pass.batch
        deml_avg_pool2d_backward(pass.pool, &shape, dy, dx)
    }
}
