import CKernels
import Tensors

/// The largest of each window, padding counting as -∞: [c, h, w] → [c, h', w']. The stride's default is the kernel's size.
struct MaxPool2d: PoolingLayer {
    static let type = "max_pool2d"
    static let options = Window2D.options + ["dilation"]

    var window: Window2D

    static func demand(of options: StrictContainer) throws {
        try options.demand("dilation", 1)
    }

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let y = try network.output(layer.output, .channelsLast, of: input)
        let position = try network.array(of: UInt16.self, perExample: y.size, for: .activations)
        network.append(MaxPool2dOperation(input, y, window, position: position))
        return y
    }
}

extension Layer {
    /// The largest of each window, padding counting as -∞. The stride's default is the kernel's size.
    public static func maxPool2d(_ window: Window2D) -> Layer { Layer(MaxPool2d(window: window)) }
}

/// y[b][oh][ow][c] = the largest of its window. Backward: the gradient goes to the first of the largest.
private final class MaxPool2dOperation: Operation {
    private let x: Activations
    private let y: Activations
    /// As y: which element of the window was the largest.
    private let position: UnsafeMutablePointer<UInt16>
    private var shape: deml_pool2d

    init(_ x: Activations, _ y: Activations, _ window: Window2D, position: UnsafeMutablePointer<UInt16>) {
        self.x = x
        self.y = y
        self.position = position
        shape = window.kernel(from: x, to: y)
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
