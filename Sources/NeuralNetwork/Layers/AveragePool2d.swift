import CKernels
import Tensors

/// The mean of each window, padding counting as zeros or not at all: [c, h, w] → [c, h', w']. The stride's default is the
/// kernel's size.
struct AveragePool2d: PoolingLayer {
    static let type = "avg_pool2d"
    static let options = Window2D.options + ["count_include_pad"]

    var window: Window2D

    func build(
        _ layer: ResolvedLayer, _ x: Activations, _ network: inout NetworkBuilder
    ) throws(DeMLError) -> Activations {
        let input = try network.converted(x, to: .channelsLast)
        let y = try network.output(layer.output, .channelsLast, of: input)
        // y[b][oh][ow][c] = the mean of its window. Backward: the gradient is spread evenly over the window.
        network.append(
            ImageOperation(
                input, y, window.kernel(from: input, to: y), batch: \.batch, forward: deml_avg_pool2d_forward,
                backward: deml_avg_pool2d_backward))
        return y
    }
}

extension Layer {
    /// The mean of each window. The stride's default is the kernel's size.
    public static func averagePool2d(_ window: Window2D) -> Layer { Layer(AveragePool2d(window: window)) }
}
